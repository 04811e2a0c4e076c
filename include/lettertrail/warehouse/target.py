"""The raw table a source table is copied into: made, widened, never narrowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.errors import ContractError
from lettertrail.warehouse.connect import Connection

SCHEMA = "raw_bitrix"
OUR_COLUMNS = {
    "_row_hash": "bigint",
    "_loaded_at": "timestamptz",
    "_load_id": "bigint",
    "_deleted_at": "timestamptz",
}
_ALIASES = {"timestamp without time zone": "timestamp"}


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


def signature(columns: Sequence[Column]) -> str:
    """A short name for a column list. When it changes, every stored row hash is out of date."""
    facts = [[column.name, column.pg_type, column.digest] for column in columns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def ensure_target(connection: Connection, entry: TableEntry, columns: tuple[Column, ...]) -> tuple[Target, list[str]]:
    """Makes the raw table, or adds what the source has gained; returns it with what a person should know.

    Raises:
        ContractError: when the table's key in the warehouse is not the entry's.
    """
    held = _held_columns(connection, entry.name)
    if not held:
        _create(connection, entry, columns)
        notices = [f"table created with {len(columns)} columns"]
    else:
        _check_key(connection, entry)
        notices = _add_missing(connection, entry.name, columns, held)
        notices += _change_types(connection, entry.name, columns, held)
        gone = sorted(set(held) - {column.name for column in columns} - set(OUR_COLUMNS))
        notices += [f"column {name} is gone from the source; kept here" for name in gone]
    types = _held_columns(connection, entry.name) if notices else held
    return Target(SCHEMA, entry.name, entry.key, columns, types), notices


def _held_columns(connection: Connection, table: str) -> dict[str, str]:
    rows: list[tuple[str, str]] = connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [f"{SCHEMA}.{table}"],
    ).fetchall()
    return {name: _ALIASES.get(kind, kind) for name, kind in rows}


def _create(connection: Connection, entry: TableEntry, columns: Sequence[Column]) -> None:
    lines = [sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.pg_type)) for column in columns]
    lines += [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in OUR_COLUMNS.items()]
    lines.append(sql.SQL("primary key ({})").format(_names(entry.key)))
    relation = sql.Identifier(SCHEMA, entry.name)
    connection.execute(sql.SQL("create table {} ({})").format(relation, sql.SQL(", ").join(lines)))
    connection.execute(
        sql.SQL("comment on table {} is {}").format(relation, sql.Literal(" ".join(entry.description.split())))
    )


def _check_key(connection: Connection, entry: TableEntry) -> None:
    rows = connection.execute(
        "select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)"
        " where indrelid = %s::regclass and indisprimary",
        [f"{SCHEMA}.{entry.name}"],
    ).fetchall()
    held = {name for (name,) in rows}
    if held != set(entry.key):
        raise ContractError(
            f"{SCHEMA}.{entry.name} is keyed by {', '.join(sorted(held))}, the catalogue says"
            f" {', '.join(entry.key)}; drop the raw table to copy it anew"
        )


def _add_missing(connection: Connection, table: str, columns: Sequence[Column], held: dict[str, str]) -> list[str]:
    notices = []
    for column in columns:
        if column.name not in held:
            connection.execute(
                sql.SQL("alter table {} add column {} {}").format(
                    sql.Identifier(SCHEMA, table), sql.Identifier(column.name), sql.SQL(column.pg_type)
                )
            )
            notices.append(f"column {column.name} {column.pg_type} is new in the source; added")
    return notices


def _change_types(connection: Connection, table: str, columns: Sequence[Column], held: dict[str, str]) -> list[str]:
    notices = []
    for column in columns:
        before = held.get(column.name, column.pg_type)
        if before == column.pg_type:
            continue
        change = sql.SQL("alter table {0} alter column {1} type {2} using {1}::text::{2}").format(
            sql.Identifier(SCHEMA, table), sql.Identifier(column.name), sql.SQL(column.pg_type)
        )
        try:
            with connection.transaction():
                connection.execute(change)
            notices.append(f"column {column.name} changed from {before} to {column.pg_type}")
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.DataError) as error:
            # A view (staging) stands on it, or old values do not fit: the copy goes on in the old type,
            # and fails by itself as soon as a value does not fit that.
            reason = error.diag.message_primary
            notices.append(f"column {column.name} is {column.pg_type} in the source, kept as {before}: {reason}")
    return notices


def _names(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
