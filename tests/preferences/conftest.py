"""A warehouse with links in it, and the pages in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import conninfo
from tests.conftest import TEMPLATE
from tests.inbox.conftest import Answer, MemoryStore, asking

from lettertrail.clock import fixed_clock
from lettertrail.inbox.accounts import read_webhooks
from lettertrail.inbox.app import Inbox, create_app
from lettertrail.preferences.choices import PostgresChoices
from lettertrail.preferences.links import Links
from lettertrail.preferences.page import Pages
from lettertrail.preferences.routes import PageLimits, PreferenceRoutes
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.roles import apply_roles

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SECRET = "k" * 32
URL = "https://hooks.example.com/inbox"
LINKS = Links((SECRET.encode(),), URL)
PASSWORD = "not-a-secret"
ANN = "ann@example.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MART = """
    create schema if not exists marts;
    create table if not exists marts.mart_preference_page (
        email text primary key, person_id text, wanted text, has_left boolean, may_return boolean, built_at timestamptz
    )
"""


@dataclass
class House:
    """A warehouse, its links, and requests to the pages before it."""

    dsn: str
    now: datetime = NOW
    links: Links = LINKS

    @property
    def inbox_dsn(self) -> str:
        """As the role that faces the internet."""
        return conninfo.make_conninfo(self.dsn, user="lettertrail_inbox", password=PASSWORD)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a query, as the owner."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, values or None).fetchall()

    def run(self, statement: str, *values: object) -> None:
        """A statement, as the owner."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement, values or None)

    def link(self, email: str = ANN) -> UUID:
        """A number for an address."""
        return self.rows("insert into ops.links (email, made_at) values (%s, %s) returning link_id", email, NOW)[0][0]

    def built(
        self, email: str = ANN, wanted: str | None = None, *, has_left: bool = False, may_return: bool = True
    ) -> None:
        """What the last build made of an address, an hour ago."""
        self.run(MART)
        self.run(
            "insert into marts.mart_preference_page values (%s, 'p', %s, %s, %s, %s::timestamptz - interval '1 hour')",
            email, wanted, has_left, may_return, self.now,
        )  # fmt: skip

    def choices(self) -> list[tuple[Any, ...]]:
        """What was stored, oldest first: address, way, wanted."""
        return self.rows("select email, way, wanted from raw_inbox.choices order by choice_id")

    @asynccontextmanager
    async def app(self, limits: PageLimits | None = None) -> AsyncIterator[Inbox]:
        """The receiver with the pages, as the role lettertrail_inbox."""
        choices = PostgresChoices(self.inbox_dsn)
        clock = fixed_clock(self.now)
        routes = PreferenceRoutes(self.links, choices, Pages("Shop & Co"), clock=clock, limits=limits)
        yield create_app(MemoryStore(), read_webhooks({}), clock=clock, preferences=routes)
        await routes.close()

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request."""

        async def asked() -> Answer:
            async with self.app() as app:
                return await asking(app, method, path, body, headers if headers is not None else FORM)

        return asyncio.run(asked())

    def save(self, link: UUID, *categories: str, do: str = "save", text: str | None = None) -> Answer:
        """The page's form, sent."""
        version = text or Pages("Shop & Co").wording("en").version
        body = "&".join([f"text={version}", *(f"category={category}" for category in categories), f"do={do}"])
        return self.ask("POST", f"/preferences/{self.links.token('preferences', link)}", body.encode())


@pytest.fixture(scope="module")
def shared_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A warehouse with its roles, for all tests of a file: making one takes longer than most of them."""
    name = f"preferences_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy".encode())
    apply_roles(postgres.dsn(name), dict.fromkeys(("lettertrail_inbox", "lettertrail_sync"), PASSWORD))
    yield postgres.dsn(name)
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def house(shared_dsn: str) -> House:
    """It, with nothing in it."""
    found = House(shared_dsn)
    found.run("truncate raw_inbox.choices, raw_inbox.choice_texts, ops.links")
    found.run("drop table if exists marts.mart_preference_page")
    return found
