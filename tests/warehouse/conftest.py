"""A little source database per test, made by the test itself, on the session's MariaDB."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.warehouse.ledger import LoadResult, check_balance
from lettertrail.warehouse.load import load_table

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Moscow")


@dataclass(frozen=True)
class Site:
    """A source database and what a test does to it."""

    dsn: str
    source: SqlSource

    def run(self, *statements: str) -> None:
        """Runs statements and commits."""
        connection = connect(self.dsn)
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query, as MySQLdb reads them."""
        connection = connect(self.dsn)
        try:
            cursor = connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall())
        finally:
            connection.close()


@dataclass(frozen=True)
class Warehouse:
    """A warehouse and what a test asks of it."""

    dsn: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query).fetchall()

    def load(self, site: Site, entry: TableEntry, *, run_id: str = "run", **options: Any) -> LoadResult:
        """One load, with its sums checked."""
        result = load_table(
            site.source, entry, self.dsn, run_id=run_id, clock=options.pop("clock", fixed_clock(NOW)), **options
        )
        check_balance(self.dsn, run_id=run_id)
        assert result.read == result.inserted + result.updated + result.unchanged + result.quarantined
        return result


@pytest.fixture
def site(mariadb: MariaDb) -> Iterator[Site]:
    """An empty source database, gone after the test."""
    name = f"test_{uuid.uuid4().hex[:10]}"
    admin = connect(mariadb.dsn)
    try:
        admin.cursor().execute(f"create database {name} character set utf8mb4")
        dsn = mariadb.dsn.rstrip("/") + f"/{name}"
        yield Site(dsn, SqlSource(dsn, ZONE))
        admin.cursor().execute(f"drop database {name}")
    finally:
        admin.close()


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Warehouse:
    """A migrated, empty warehouse."""
    return Warehouse(warehouse_dsn)


EntryMaker = Callable[..., TableEntry]


@pytest.fixture
def entry() -> EntryMaker:
    """Makes catalogue entries with the least a test has to say."""

    def make(name: str, strategy: str = "full", **settings: Any) -> TableEntry:
        defaults: dict[str, Any] = {"key": ("id",), "range_by": "id", "description": "One row per thing.", "why": "-"}
        if strategy == "append":
            defaults["tail"] = 5
        return TableEntry(name=name, strategy=strategy, **{**defaults, **settings})  # type: ignore[arg-type]

    return make
