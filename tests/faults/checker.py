"""Counts, row by row, how a copy differs from its source. Shares no code with the product, on purpose.

It reads every row of both databases, so it is for tables of test size. Whoever calls it stops all writers before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import MySQLdb
import psycopg

OUR_COLUMNS = frozenset({"_row_hash", "_loaded_at", "_load_id", "_deleted_at"})
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of both databases, and the columns that tell its rows apart."""

    name: str
    key: tuple[str, ...] = ("id",)


@dataclass(slots=True)
class Counts:
    """What is wrong with the copy of one table, in rows."""

    lost: int = 0
    """In the source, not (or not alive) in the copy."""
    duplicated: int = 0
    """Further rows of a key that the copy has already."""
    different: int = 0
    """In both, with other values."""
    undeleted: int = 0
    """Alive in the copy, not in the source."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def total(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, each.name)} {each.name}" for each in fields(self))


@dataclass(slots=True)
class Report:
    """What was found in all tables, and in the books beside them."""

    rows: int = 0
    """Rows of the source that were compared."""
    tables: dict[str, Counts] = field(default_factory=dict)
    books: list[str] = field(default_factory=list)
    """Sums that do not balance, rows no load accounts for, tables that should have gone."""

    @property
    def counts(self) -> Counts:
        return sum(self.tables.values(), Counts())

    @property
    def is_clean(self) -> bool:
        return not self.counts.total and not self.books

    def __str__(self) -> str:
        wrong = [f"{name}: {counts}" for name, counts in self.tables.items() if counts.total]
        return "; ".join([f"{self.rows} rows", *(wrong or ["no row differs"]), *self.books])


def check(source_dsn: str, warehouse_dsn: str, tables: Sequence[Table]) -> Report:
    """Compares the tables and audits the ledger. A table the warehouse does not have yet counts as empty."""
    report = Report()
    with psycopg.connect(warehouse_dsn, autocommit=True) as warehouse:
        source = _open_mysql(source_dsn)
        try:
            source.cursor().execute("start transaction with consistent snapshot, read only")
            for table in tables:
                rows, counts = _compare(source, warehouse, table)
                report.rows += rows
                report.tables[table.name] = counts
        finally:
            source.close()
        report.books = [*_imbalances(warehouse), *_unaccounted(warehouse, tables), *_leftovers(warehouse)]
    return report


def _open_mysql(dsn: str) -> Any:
    parts = urlsplit(dsn)
    return MySQLdb.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        passwd=unquote(parts.password or ""),
        db=parts.path.lstrip("/"),
        charset="utf8mb4",
        use_unicode=True,
        # No conversions: zero dates and everything else as the server prints them.
        conv={},
        init_command="set sql_mode = ''",
    )


def _compare(source: Any, warehouse: psycopg.Connection[Row], table: Table) -> tuple[int, Counts]:
    kinds = _kinds(source, table.name)
    theirs = _source_rows(source, table, kinds)
    alive, held = _warehouse_rows(warehouse, table, kinds)
    return len(theirs), Counts(
        lost=len(theirs.keys() - alive.keys()),
        duplicated=held,
        different=sum(1 for key in theirs.keys() & alive.keys() if theirs[key] != alive[key]),
        undeleted=len(alive.keys() - theirs.keys()),
    )


def _kinds(source: Any, table: str) -> dict[str, str]:
    cursor = source.cursor()
    cursor.execute(
        "select lower(column_name), data_type from information_schema.columns"
        f" where table_schema = database() and table_name = '{table}' order by ordinal_position"
    )
    return {_decoded(name): _decoded(kind) for name, kind in cursor.fetchall()}


def _source_rows(source: Any, table: Table, kinds: dict[str, str]) -> dict[Row, Row]:
    cursor = source.cursor()
    cursor.execute(f"select {', '.join(f'`{name}`' for name in kinds)} from `{table.name}`")
    rows = [_canonical(row, kinds) for row in cursor.fetchall()]
    by_key = {_key(row, table, kinds): row for row in rows}
    assert len(by_key) == len(rows), f"{table.name}: {table.key} is no key of the source"
    return by_key


def _warehouse_rows(
    warehouse: psycopg.Connection[Row], table: Table, kinds: dict[str, str]
) -> tuple[dict[Row, Row], int]:
    """The living rows by key, and how many rows (living or deleted) share their key with another one."""
    found = warehouse.execute("select to_regclass(%s) is not null", [f"raw_bitrix.{table.name}"]).fetchone()
    if found != (True,):
        return {}, 0
    names = ", ".join(f'"{name}"::text' for name in kinds)
    rows = warehouse.execute(f"select _deleted_at is null, {names} from raw_bitrix.{table.name}").fetchall()
    alive: dict[Row, Row] = {}
    keys: set[Row] = set()
    for is_alive, *values in rows:
        row = _canonical(tuple(values), kinds)
        key = _key(row, table, kinds)
        keys.add(key)
        if is_alive:
            alive[key] = row
    return alive, len(rows) - len(keys)


def _key(row: Row, table: Table, kinds: dict[str, str]) -> Row:
    names = list(kinds)
    return tuple(row[names.index(name)] for name in table.key)


def _canonical(row: Row, kinds: dict[str, str]) -> Row:
    return tuple(_value(value, kind) for value, kind in zip(row, kinds.values(), strict=True))


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    text = _decoded(value)
    match kind:
        case "datetime" | "timestamp":
            return None if text.startswith("0000") else datetime.fromisoformat(text)
        case "date":
            return None if text.startswith("0000") else date.fromisoformat(text)
        case "decimal":
            return Decimal(text)
        case "double" | "float":
            return float(text)
        case "int" | "bigint" | "tinyint" | "smallint" | "mediumint":
            return int(text)
        case _:
            return text.replace("\0", "")


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _imbalances(warehouse: psycopg.Connection[Row]) -> list[str]:
    unbalanced = warehouse.execute(
        "select load_id, target, read, inserted + updated + unchanged + quarantined from ops.loads"
        " where read <> inserted + updated + unchanged + quarantined"
    )
    found = [f"load {load} of {target} read {read} and accounts for {sums}" for load, target, read, sums in unbalanced]
    twice = warehouse.execute("select load_id from ops.loads group by 1 having count(*) > 1").fetchall()
    return found + [f"load {load} is in the ledger twice" for (load,) in twice]


def _unaccounted(warehouse: psycopg.Connection[Row], tables: Sequence[Table]) -> list[str]:
    """Rows never leave a raw table, so it holds what its loads inserted, and each row names a load that exists."""
    said = []
    for table in tables:
        name = f"raw_bitrix.{table.name}"
        if warehouse.execute("select to_regclass(%s) is null", [name]).fetchone() == (True,):
            continue
        held, orphans = warehouse.execute(
            f"select count(*), count(*) filter (where not exists (select from ops.loads"
            f" where loads.load_id = held._load_id and loads.target = %s)) from {name} as held",
            [name],
        ).fetchone() or (0, 0)
        row = warehouse.execute("select coalesce(sum(inserted), 0) from ops.loads where target = %s", [name]).fetchone()
        inserted = int(row[0]) if row else 0
        if inserted != held:
            said.append(f"{name} holds {held} rows, its loads inserted {inserted}")
        if orphans:
            said.append(f"{orphans} rows of {name} name a load that is not in the ledger")
    return said


def _leftovers(warehouse: psycopg.Connection[Row]) -> list[str]:
    found = warehouse.execute(
        "select oid::regclass::text from pg_class where relkind in ('r', 'p', 'm')"
        " and (relpersistence <> 'p' or relname ~ '(landing|loading|staged|_new$|_old$|_tmp$)')"
        " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
    )
    return [f"{name} was left behind" for (name,) in found]
