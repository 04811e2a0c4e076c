"""Finding rows without holding anybody up: a search that only reads, and what was written since, looked at again.

Reading every text of a large warehouse takes minutes. In one transaction with the changes, all rows that were changed
would stay locked that long, and no build could put a table in the place of another. So the search comes first, in a
transaction of its own for each table. Whatever a transaction wrote that had not ended when the search began can be told
by its number (`xmin`), without reading a text; a table in which one was put in the place of another is all new by that,
and where the file of a table is another one (`vacuum full`), its rows lie elsewhere and all are looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.erasure.catalogue import Table, storage_of, tables
from lettertrail.erasure.search import Search
from lettertrail.erasure.unreadable import UNREADABLE, unreadable
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

OWN_COLUMNS = ("_load_id", "_loaded_at")
"""Whoever builds from raw tables finds changed rows by these."""
LOADED_BY = {"raw_inbox.deliveries": "load_id"}
"""Where the column that says which load wrote a row is not called `_load_id`."""
PROGRESS_EVERY = timedelta(seconds=10)
ALL = sql.SQL("true")


@dataclass(frozen=True, slots=True)
class Seen:
    """The rows of one table that a search found."""

    storage: str
    """As `storage_of`, before the table was read."""
    rows: tuple[str, ...]
    """Where they lie (`ctid`)."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search of all tables found."""

    since: str
    """The oldest transaction that had not ended when the search began (`xid`)."""
    seen: Mapping[str, Seen]
    """By table."""

    def rows(self, table: Table) -> tuple[str, ...]:
        return self.seen[table.full_name].rows if table.full_name in self.seen else ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are looked at: all, or those that some loads wrote; and the load that says they changed.

    Rows that do not say which load wrote them are looked at whenever a load of their table is.
    """

    load_id: int
    at: datetime
    loads: tuple[int, ...] | None = None
    findings: Findings | None = field(default=None, repr=False)
    """Of a search that went before: what it saw without finding anything is not read again."""

    def condition(self, table: Table) -> sql.Composable:
        """Of the rows that are looked at."""
        column = LOADED_BY.get(table.full_name, "_load_id")
        if self.loads is None or column not in table.columns:
            return ALL
        return sql.SQL("{} = any({})").format(sql.Identifier(column), sql.Literal([*self.loads, self.load_id]))

    def reach(self, connection: Connection, table: Table) -> list[sql.Composable]:
        """Conditions that between them reach every row that is looked at and may hold the person."""
        if self.findings is None:
            return [self.condition(table)]
        connection.execute(sql.SQL("lock table only {} in row exclusive mode").format(table.relation))
        return not_seen_through(connection, table, self.findings)

    def marks(self, table: Table) -> list[sql.Composable]:
        """What says in a row that it was changed."""
        if not all(name in table.columns for name in OWN_COLUMNS):
            return []
        return [
            sql.SQL("_load_id = {}").format(sql.Literal(self.load_id)),
            sql.SQL("_loaded_at = {}").format(sql.Literal(self.at)),
        ]


@contextmanager
def reading(dsn: str, *, purpose: str) -> Iterator[Connection]:
    """A connection that cannot change anything and holds nothing between two statements."""
    with connect(dsn, purpose=purpose, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = on")
        yield connection


def find_rows(connection: Connection, search: Search, *, clock: Clock) -> Findings:
    """Looks at every text of every row.

    Args:
        connection: of `reading`.
    """
    (since,) = connection.execute("select pg_snapshot_xmin(pg_current_snapshot())::xid::text").fetchone() or ("",)
    seen: dict[str, Seen] = {}
    present = tables(connection) if search.strong else []
    found, told = 0, clock()
    for number, table in enumerate(present, 1):
        storage = storage_of(connection, table)
        seen[table.full_name] = Seen(storage, tuple(_search(connection, table, search)))
        found += len(seen[table.full_name].rows)
        if number == len(present) or clock() - told >= PROGRESS_EVERY:
            told = clock()
            log.info("searched %d of %d tables, last %s; %d rows found", number, len(present), table.full_name, found)
    return Findings(since, seen)


def not_seen_through(connection: Connection, table: Table, findings: Findings) -> list[sql.Composable]:
    """Conditions that between them reach what a search found and what it cannot have seen.

    Args:
        table: locked, so that no other takes its place.
    """
    seen = findings.seen.get(table.full_name)
    if seen is None or seen.storage != storage_of(connection, table):
        return [ALL]
    return [at(seen.rows), sql.SQL("age(each.xmin) <= age({}::xid)").format(sql.Literal(findings.since))]


def at(rows: Sequence[str]) -> sql.Composable:
    """The condition that a row, named `each`, lies at one of these places."""
    listed = ",".join(f'"{row}"' for row in rows)
    return sql.SQL("each.ctid = any({}::tid[])").format(sql.Literal(f"{{{listed}}}"))


def lock_rows(
    connection: Connection, table: Table, condition: sql.Composable, values: Mapping[str, object] | None = None
) -> dict[str, bool]:
    """Locks the rows of a table, named `each`; gives the place of each -> whether this transaction wrote it before."""
    statement = sql.SQL(
        "select ctid::text, coalesce(xmin = pg_current_xact_id_if_assigned()::xid, false) from {} as each"
        " where {} for update"
    ).format(table.relation, condition)
    return dict(connection.execute(statement, values).fetchall())


def rows_of(connection: Connection, table: Table, search: Search, scope: Scope) -> dict[str, bool]:
    """As `lock_rows`, for the rows in which a strong token stands."""
    rows: dict[str, bool] = {}
    for condition in scope.reach(connection, table) if search.strong else ():
        both = sql.SQL("{} and {}").format(condition, search.finds(table, "each"))
        rows |= lock_rows(connection, table, both)
    return rows


def fresh(rows: Mapping[str, bool]) -> int:
    """How many rows this transaction had not written before."""
    return sum(not is_written for is_written in rows.values())


def _search(connection: Connection, table: Table, search: Search) -> list[str]:
    statement = sql.SQL("select ctid::text from {} as each where {}").format(
        table.relation, search.finds(table, "each")
    )
    rows = {row for (row,) in connection.execute(statement)}
    if table.full_name == UNREADABLE:
        rows |= set(unreadable(connection, search, ALL))
    return sorted(rows)
