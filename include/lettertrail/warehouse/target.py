"""The raw table a source table is copied into: made, widened, never narrowed; nothing in it is dropped.

What was said about a column is kept as the column's comment, so it is said once and not with every load; until a load
that tells it is committed, it waits in ops.untold_notices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from lettertrail.bitrix.catalog import CONTENT_KEY, TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.reference import reference_columns
from lettertrail.errors import ContractError
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.drift import aside_name, fit
from lettertrail.warehouse.indexes import index_raw_table

SCHEMA = "raw_bitrix"
OUR_COLUMNS = {
    "_row_hash": "bigint",
    "_loaded_at": "timestamptz",
    "_load_id": "bigint",
    "_deleted_at": "timestamptz",
}
_ALIASES = {"timestamp without time zone": "timestamp"}
_GONE = "Gone from the source since "
_ERASED = "Not copied any more since "
_ASIDE = "Values until "
_TABLE_GONE = " Not in the source since "


@dataclass(frozen=True, slots=True)
class Target:
    """A raw table and the columns the source has for it now; `types` are those the warehouse holds."""

    schema: str
    table: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    types: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"

    @property
    def relation(self) -> sql.Composable:
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class _Held:
    """A column of the raw table, and what its comment remembers."""

    type: str
    comment: str


def signature(columns: Sequence[Column]) -> str:
    """A short name for a column list. When it changes, every stored row hash is out of date."""
    facts = [[column.name, column.pg_type, column.digest] for column in columns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def ensure_target(
    connection: Connection, entry: TableEntry, columns: tuple[Column, ...], *, at: datetime
) -> tuple[Target, list[str]]:
    """Makes the raw table, or lets it follow the source's columns; returns it with what no load has told yet.

    A new column is added. One whose type grew is widened in place; when a view stands on it, or its old values do not
    fit the new type, it moves aside under `<name>__until_<yyyymmdd>` and a new one takes its name, which the next
    load fills, since the list of columns has changed. Views follow the old column until dbt builds them anew. A column
    that is gone stays.

    Args:
        at: now, for the names and the comments.

    Raises:
        ContractError: the table's key in the warehouse is not the entry's, or its type cannot follow.
    """
    held = _held_columns(connection, entry.name)
    if not held:
        _create(connection, entry, _plain(columns))
        notices = [f"table created with {len(columns)} columns"]
    else:
        _check_key(connection, entry)
        table = _Table(connection, entry, at, held)
        notices = _came_back(connection, entry)
        for column in columns:
            notices += table.follow(column)
        for name in sorted(set(held) - {column.name for column in columns} - set(OUR_COLUMNS)):
            notices += table.keep(name)
    after = _held_columns(connection, entry.name) if notices else held
    target = Target(SCHEMA, entry.name, entry.key, columns, {name: column.type for name, column in after.items()})
    return target, _untold(connection, target.name, notices, at)


def ensure_missing(connection: Connection, entry: TableEntry, *, at: datetime) -> list[str]:
    """For a table the source does not have: makes it empty, so that models build, and says so once.

    A table that was copied before keeps its rows as they are: an uninstalled module is no proof that they were deleted.
    """
    if not _held_columns(connection, entry.name):
        columns = [column for column in reference_columns(entry.name) if entry.extracts(column.name)]
        if not columns:
            return ["table is neither in the source nor in the reference; nothing to copy"]
        parsed = [(f"{name}__json", "jsonb") for name in entry.php]
        _create(connection, entry, [*_plain(columns), *parsed], note=f"{_TABLE_GONE}{at:%Y-%m-%d}.")
        return ["table is not in the source (module not installed, or not shown by the cloud); made empty"]
    if _TABLE_GONE in _table_comment(connection, entry):
        return []
    _comment_table(connection, entry, f"{_TABLE_GONE}{at:%Y-%m-%d}.")
    return ["table is gone from the source; its rows are kept as they are"]


@dataclass(frozen=True, slots=True)
class _Table:
    """A raw table that is there, and the changes that let it follow its source."""

    connection: Connection
    entry: TableEntry
    at: datetime
    held: dict[str, _Held]

    def follow(self, column: Column) -> list[str]:
        """Adds, widens or replaces the column."""
        held = self.held.get(column.name)
        if held is None:
            # Another worker may have been quicker.
            self._alter("add column if not exists {} {}", sql.Identifier(column.name), sql.SQL(column.pg_type))
            return [f"column {column.name} {column.pg_type} is new in the source; added"]
        notices = []
        if held.comment.startswith((_GONE, _ERASED)):
            self._comment(column.name, None)
            notices.append(f"column {column.name} is back in the source")
        match fit(held.type, column.pg_type):
            case "widens":
                notices.append(self._widen(column, held.type))
            case "differs":
                notices.append(self._replace(column, held.type))
        return notices

    def keep(self, name: str) -> list[str]:
        """A column the source's list no longer has: stays; the values of one that must not be copied are erased."""
        if self.held[name].comment.startswith((_GONE, _ERASED, _ASIDE)):
            return []
        if self.entry.extracts(name):
            self._comment(name, f"{_GONE}{self.at:%Y-%m-%d}.")
            return [f"column {name} is gone from the source; kept here"]
        self._comment(name, f"{_ERASED}{self.at:%Y-%m-%d}.")
        self._run("update {table} set {name} = null where {name} is not null", name=sql.Identifier(name))
        return [f"column {name} must not be copied; its values were erased"]

    def _widen(self, column: Column, before: str) -> str:
        """Every value held fits the new type."""
        name, kind = sql.Identifier(column.name), sql.SQL(column.pg_type)
        try:
            with self.connection.transaction():
                self._alter("alter column {0} type {1} using {0}::{1}", name, kind)
        except psycopg.errors.FeatureNotSupported:
            # A view (staging) stands on it.
            aside = self._move_aside(column, before)
            self._run("update {table} set {0} = {1}::{2}", name, sql.Identifier(aside), kind)
            self._key_again(column.name)
            change = f"column {column.name} widened from {before} to {column.pg_type}"
            return f"{change}; views read {aside} until they are built anew"
        return f"column {column.name} changed from {before} to {column.pg_type}"

    def _replace(self, column: Column, before: str) -> str:
        """What is held and what comes cannot share a column: the table is copied anew into a new one."""
        if column.name in self.entry.key:
            raise ContractError(
                f"{SCHEMA}.{self.entry.name}: the key {column.name} changed from {before} to {column.pg_type};"
                " drop the raw table to copy it anew"
            )
        aside = self._move_aside(column, before)
        # The source's hash of a value does not depend on its type: without this the next copy would see no change.
        # Rows known by their content alone end as deleted, with the values they had.
        nothing = sql.SQL("~ _row_hash" if self.entry.key == CONTENT_KEY else "null")
        self._run("update {table} set _row_hash = {}", nothing)
        return f"column {column.name} changed from {before} to {column.pg_type}; old values are in {aside}, copied anew"

    def _move_aside(self, column: Column, before: str) -> str:
        aside = aside_name(column.name, self.at, self.held)
        self._alter("rename column {} to {}", sql.Identifier(column.name), sql.Identifier(aside))
        self._alter("add column {} {}", sql.Identifier(column.name), sql.SQL(column.pg_type))
        self._comment(aside, f"{_ASIDE}{self.at:%Y-%m-%d}, when {column.name} was {before}.")
        return aside

    def _key_again(self, name: str) -> None:
        """The primary key went aside with its old column; it is made again on the new one."""
        if name not in self.entry.key:
            return
        held = _primary_key(self.connection, self.entry)
        self._alter("drop constraint {}", sql.Identifier(held.constraint))
        for column in held.columns - set(self.entry.key):
            self._alter("alter column {} drop not null", sql.Identifier(column))
        self._alter("add primary key ({})", _names(self.entry.key))

    def _comment(self, name: str, text: str | None) -> None:
        self.connection.execute(
            sql.SQL("comment on column {} is {}").format(
                sql.Identifier(SCHEMA, self.entry.name, name), sql.Literal(text)
            )
        )

    def _alter(self, change: str, *parts: sql.Composable) -> None:
        self._run("alter table {table} " + change, *parts)

    def _run(self, statement: str, *parts: sql.Composable, **named: sql.Composable) -> None:
        table = sql.Identifier(SCHEMA, self.entry.name)
        self.connection.execute(sql.SQL(statement).format(*parts, table=table, **named))


def _untold(connection: Connection, target: str, notices: Sequence[str], at: datetime) -> list[str]:
    """These notices behind those that a load which never was committed should have told; `ledger.record` tells them."""
    before: list[tuple[str]] = connection.execute(
        "select notice from ops.untold_notices where target = %s order by noticed_at, notice", [target]
    ).fetchall()
    if notices:
        connection.cursor().executemany(
            "insert into ops.untold_notices (target, notice, noticed_at) values (%s, %s, %s) on conflict do nothing",
            [(target, notice, at) for notice in notices],
        )
    return list(dict.fromkeys([*(notice for (notice,) in before), *notices]))


def _held_columns(connection: Connection, table: str) -> dict[str, _Held]:
    rows: list[tuple[str, str, str]] = connection.execute(
        "select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')"
        " from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [f"{SCHEMA}.{table}"],
    ).fetchall()
    return {name: _Held(_ALIASES.get(kind, kind), comment) for name, kind, comment in rows}


def _plain(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return [(column.name, column.pg_type) for column in columns]


def _create(connection: Connection, entry: TableEntry, columns: Sequence[tuple[str, str]], *, note: str = "") -> None:
    lines = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in [*columns, *OUR_COLUMNS.items()]
    ]
    lines.append(sql.SQL("primary key ({})").format(_names(entry.key)))
    connection.execute(
        sql.SQL("create table {} ({})").format(sql.Identifier(SCHEMA, entry.name), sql.SQL(", ").join(lines))
    )
    index_raw_table(connection, SCHEMA, entry.name)
    _comment_table(connection, entry, note)


def _comment_table(connection: Connection, entry: TableEntry, note: str) -> None:
    text = " ".join(entry.description.split()) + note
    connection.execute(
        sql.SQL("comment on table {} is {}").format(sql.Identifier(SCHEMA, entry.name), sql.Literal(text))
    )


def _table_comment(connection: Connection, entry: TableEntry) -> str:
    row = connection.execute("select obj_description(%s::regclass, 'pg_class')", [f"{SCHEMA}.{entry.name}"]).fetchone()
    return "" if row is None or row[0] is None else str(row[0])


def _came_back(connection: Connection, entry: TableEntry) -> list[str]:
    if _TABLE_GONE not in _table_comment(connection, entry):
        return []
    _comment_table(connection, entry, "")
    return ["table is in the source now"]


@dataclass(frozen=True, slots=True)
class _PrimaryKey:
    constraint: str
    columns: set[str]


def _primary_key(connection: Connection, entry: TableEntry) -> _PrimaryKey:
    rows: list[tuple[str, str]] = connection.execute(
        "select conname, attname from pg_constraint join pg_attribute on attrelid = conrelid and attnum = any (conkey)"
        " where conrelid = %s::regclass and contype = 'p'",
        [f"{SCHEMA}.{entry.name}"],
    ).fetchall()
    return _PrimaryKey(rows[0][0] if rows else "", {column for _, column in rows})


def _check_key(connection: Connection, entry: TableEntry) -> None:
    held = _primary_key(connection, entry).columns
    if held != set(entry.key):
        raise ContractError(
            f"{SCHEMA}.{entry.name} is keyed by {', '.join(sorted(held))}, the catalogue says"
            f" {', '.join(entry.key)}; drop the raw table to copy it anew"
        )


def _names(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
