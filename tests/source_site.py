"""A little source database on the session's MariaDB or PostgreSQL, made and changed by the test itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.sql import SqlSource
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.warehouse.embedded import EmbeddedPostgres

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
class PgSite(Site):
    """The same on PostgreSQL."""

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def fresh_site(mariadb: MariaDb) -> Iterator[Site]:
    """An empty source database, gone afterwards."""
    name = f"test_{uuid.uuid4().hex[:10]}"
    admin = connect(mariadb.dsn)
    try:
        admin.cursor().execute(f"create database {name} character set utf8mb4")
        dsn = mariadb.dsn.rstrip("/") + f"/{name}"
        source = SqlSource(dsn, ZONE)
        yield Site(dsn, source)
        source.close()
        admin.cursor().execute(f"drop database {name}")
    finally:
        admin.close()


@contextmanager
def fresh_pg_site(postgres: EmbeddedPostgres, *, encoding: str = "UTF8") -> Iterator[PgSite]:
    """An empty PostgreSQL source database, gone afterwards."""
    name = f"test_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(
            f"create database {name} template template0 encoding '{encoding}' locale 'C' locale_provider libc"
        )
    dsn = postgres.dsn(name)
    source = SqlSource(dsn, ZONE)
    yield PgSite(dsn, source)
    source.close()
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


EntryMaker = Callable[..., TableEntry]


def make_entry(name: str, strategy: str = "full", **settings: Any) -> TableEntry:
    """A catalogue entry with the least a test has to say."""
    defaults: dict[str, Any] = {"key": ("id",), "range_by": "id", "description": "One row per thing.", "why": "-"}
    if strategy == "append":
        defaults["tail"] = 5
    return TableEntry(name=name, strategy=strategy, **{**defaults, **settings})  # type: ignore[arg-type]
