"""The sample site as a cloud portal: REST on top of a copy of its database that a test may change."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import requests

from lettertrail.bitrix.catalog import TableEntry, load_catalog
from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import KeyRange, Rows
from lettertrail.clock import fixed_clock
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_methods.tokens import Application
from lettertrail.sandbox.bitrix_rest import BitrixRest, create_app
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.server import served

ZONE = ZoneInfo("Europe/Moscow")
NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
SECRET = "wh00ksecret"
CLIENT = Application("app.5f0c", "cl1entsecret", frozenset({"crm", "sale", "user", "userconsent"}), "first-refresh")
ENTRIES: Mapping[str, TableEntry] = {entry.name: entry for entry in load_catalog()}


class Portal:
    """A running portal and the database behind it."""

    def __init__(self, base: str, dsn: str, app: BitrixRest, state_dir: Path, clock: SimpleNamespace) -> None:
        self.base = base
        self.dsn = dsn
        self.state_dir = state_dir
        self._gate = app.gate
        self._clock = clock
        self._opened: list[CloudSource] = []

    def source(self, **extra: object) -> CloudSource:
        """A new source through the webhook, which does not wait."""
        return self._connected(AccountConnection("bitrix24", f"{self.base}/rest/1/{SECRET}", extra=extra))

    def application(self, **extra: object) -> CloudSource:
        """A new source as the application, which does not wait."""
        given = {"refresh_token": CLIENT.refresh_token, "oauth_server": self.base, **extra}
        return self._connected(
            AccountConnection("bitrix24", self.base, CLIENT.client_id, CLIENT.client_secret, extra=given)
        )

    def _connected(self, connection: AccountConnection) -> CloudSource:
        source = CloudSource.connect(
            connection,
            timezone=ZONE,
            clock=fixed_clock(NOW),
            state_dir=self.state_dir,
            allowed_hosts=[self.base.removeprefix("http://")],
        )
        self._opened.append(source)
        api = source._pages._client._api
        api._throttle._bucket = None
        api._sleep = lambda seconds: None
        return source

    def close(self) -> None:
        """Lets go of what its sources keep."""
        for source in self._opened:
            source.close()

    def call(self, method: str, **params: Any) -> Any:
        """What a user of the portal does, through the webhook."""
        answer = requests.post(f"{self.base}/rest/1/{SECRET}/{method}", json=params, timeout=30)
        assert answer.ok, answer.text
        return answer.json()["result"]

    def run(self, *statements: str) -> None:
        """What happens past REST."""
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of the database by lower-case column name."""
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            names = [column[0].lower() for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, query: str) -> Any:
        """The only value of a query."""
        ((value,),) = (row.values() for row in self.rows(query))
        return value

    def expire_tokens(self) -> None:
        """Lets so much time pass that access tokens are worth nothing any more."""
        self._clock.now += timedelta(hours=2)

    def hits(self) -> Counter[str]:
        """Calls by method since this was last asked; a batch counts as `batch`, its commands as themselves."""
        found = Counter(self._gate.calls)
        self._gate.calls.clear()
        return found

    @property
    def refusals(self) -> Counter[str]:
        """What the portal refused because of its limits, by code."""
        return self._gate.violations


@contextmanager
def running(
    dsn: str, directory: Path, *, limits: Limits | None = None, application: Application | None = CLIENT
) -> Iterator[Portal]:
    """The portal of a site's database, as webhook and as application; the latter adds tables to it."""
    clock = SimpleNamespace(now=NOW)
    app = create_app(
        dsn,
        secret=SECRET,
        timezone=ZONE,
        limits=limits or Limits(burst=100_000),
        application=application,
        state=directory / "tokens.json" if application else None,
        clock=lambda: clock.now,
    )
    with served(app) as base:
        portal = Portal(base, dsn, app, directory / "state", clock)
        try:
            yield portal
        finally:
            portal.close()
    app.close()


def cloned(root_dsn: str, site_dsn: str) -> str:
    """A copy of a site's database on the same server, to be changed; its DSN."""
    original, name = site_dsn.rpartition("/")[2], f"cloud_{uuid.uuid4().hex[:8]}"
    with connect(root_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {name} character set utf8mb4 collate utf8mb4_unicode_ci")
        cursor.execute(f"show tables from {original}")
        for (table,) in list(cursor.fetchall()):
            cursor.execute(f"create table {name}.`{table}` like {original}.`{table}`")
            cursor.execute("set session sql_mode = ''")  # zero dates are to come along
            cursor.execute(f"insert into {name}.`{table}` select * from {original}.`{table}`")
        connection.commit()
    return f"{root_dsn.rstrip('/')}/{name}"


def read(source: CloudSource, entry: TableEntry, *ranges: KeyRange) -> list[dict[str, Any]]:
    """All rows of some ranges, or of the whole table."""
    columns = source.columns(entry)
    return dicts(source.read_ranges(entry, columns, list(ranges) or [KeyRange()]))


def dicts(rows: Rows) -> list[dict[str, Any]]:
    """Rows by column name; none may be unreadable."""
    found = [row for batch in rows for row in batch.to_pylist()]
    assert rows.unreadable == []
    return found


def changes(
    source: CloudSource, entry: TableEntry, columns: tuple[Column, ...], marks: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What changed since the marks."""
    return dicts(source.read_changes(entry, columns, dict(marks), now=NOW))
