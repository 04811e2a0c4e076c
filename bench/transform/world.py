"""A warehouse as the loaders would have filled it: tables of the real shape, rows of a made-up history (history.sql).

The raw tables are made by the real loaders from a small sample site, and emptied; dictionaries keep their few rows.
Every later load of the made-up history is a transaction with a row of its own in ops.loads, as the loaders write it.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Template
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.bitrix_site import DATABASE as SITE
from lettertrail.sandbox.postgres_site import load_postgres_site
from lettertrail.sandbox.world import generate
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.migrate import migrate

log = logging.getLogger("bench")

HERE = Path(__file__).parent
TEMPLATE = "transform_template"
ZONE = "Europe/Moscow"
START = datetime(2024, 11, 1)  # noqa: DTZ001  # wall time of the site, as Bitrix writes it
DAYS = 730
MORE_DAYS = 10
STRIDE = 24
"""A letter goes to every so many-th person."""
DICTIONARIES = re.compile(
    r"b_(catalog_currency|catalog_currency_rate|crm_status|crm_deal_category|crm_item_category|lang|sale_status|"
    r"sale_status_lang|sale_person_type|sale_order_props|user_field|user_field_enum|user_field_lang|"
    r"consent_agreement|consent_field|crm_tracking_source|crm_tracking_source_field)$"
)
"""Raw tables that keep the sample site's rows: without currencies, say, there is no revenue."""
_LOAD = re.compile(r"^-- load (\S+) (\S+)\n(.*?)(?=^-- load |\Z)", re.MULTILINE | re.DOTALL)
_RECORD = (
    "insert into ops.loads (load_id, run_id, target, strategy, read, inserted, updated, unchanged, quarantined,"
    " deleted, started_at, finished_at) values (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much happened. Everything grows with the number of events, but for the letters: one a day."""

    events: int

    @property
    def facts(self) -> dict[str, object]:
        """What history.sql and loads.sql are filled in with."""
        return {
            "people": self.events // 50,
            "leads": self.events * 64 // 10_000,
            "direct_deals": self.events * 35 // 10_000,
            "orders": self.events * 52 // 10_000,
            "stride": STRIDE,
            "days": DAYS,
            "more_days": MORE_DAYS,
            "start": START.isoformat(sep=" "),
            "zone": ZONE,
        }


@dataclass
class World:
    """One database with a history of one size; `day` says how many days have passed since the first load."""

    server: EmbeddedPostgres
    size: Size
    day: int = 0
    database_name: str = ""

    @property
    def database(self) -> str:
        return self.database_name or f"transform_{self.size.events}"

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.database)

    @property
    def run_at(self) -> str:
        """The time of a run after the last load."""
        return (START + timedelta(days=DAYS + self.day)).replace(tzinfo=ZoneInfo(ZONE)).isoformat()

    def prepare(self) -> None:
        """Makes the database anew and loads the history."""
        ensure_template(self.server)
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            admin.execute(_named("drop database if exists {} with (force)", self.database))
            admin.execute(_named("create database {} template {} strategy file_copy", self.database, TEMPLATE))
        began = time.monotonic()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("set synchronous_commit = off")
            connection.execute("set max_parallel_workers_per_gather = 1")
            for statement in (
                Template((HERE / "history.sql").read_text(encoding="utf-8")).substitute(self.size.facts).split(";\n")
            ):
                if statement.strip():
                    connection.execute(statement)
        self._load("-infinity", START + timedelta(days=DAYS))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("vacuum analyze")
            connection.execute("checkpoint")
        log.info("%s events: history made and loaded in %.0f s", self.size.events, time.monotonic() - began)

    def another_day(self) -> None:
        """What a day's loads bring."""
        until = START + timedelta(days=DAYS + self.day + 1)
        self.day += 1
        self._load((until - timedelta(days=1)).isoformat(sep=" "), until)

    def forget_models(self) -> None:
        """So that the next build is a first one."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for schema in ("staging", "intermediate", "marts", "segments"):
                connection.execute(_named("drop schema if exists {} cascade", schema))

    def count(self, query: str) -> int:
        """The number a query gives."""
        with psycopg.connect(self.dsn) as connection:
            ((number,),) = connection.execute(query.encode()).fetchall()
        return int(number)

    def _load(self, since: str, until: datetime) -> None:
        is_first = since == "-infinity"
        facts = {
            **self.size.facts,
            "from": since,
            "until": until.isoformat(sep=" "),
            "oldest": "timestamp '-infinity'" if is_first else f"(timestamp '{since}' - interval '60 days')",
            "day": self.day,
        }
        at = until.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
        for target, strategy, statement in _LOAD.findall((HERE / "loads.sql").read_text(encoding="utf-8")):
            if is_first and statement.lstrip().startswith("update"):
                continue
            self._one_load(target, "first_copy" if is_first else strategy, Template(statement), {**facts, "at": at})

    def _one_load(self, target: str, strategy: str, statement: Template, facts: dict[str, object]) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute("set synchronous_commit = off")
            ((load_id,),) = connection.execute("select nextval('ops.loads_load_id_seq')").fetchall()
            text = statement.substitute(facts, load_id=load_id)
            rows = connection.execute(text.encode()).rowcount
            inserted, updated = (0, rows) if text.lstrip().startswith("update") else (rows, 0)
            values = (
                load_id,
                f"bench {facts['until']}",
                target,
                strategy,
                rows,
                inserted,
                updated,
                facts["at"],
                facts["at"],
            )
            connection.execute(_RECORD, values)
        log.debug("%s %s: %s rows", target, strategy, rows)


def ensure_template(server: EmbeddedPostgres) -> None:
    """A database whose raw tables are those that the loaders make of the sample site, without its rows."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        if admin.execute("select from pg_database where datname = %s", [TEMPLATE]).fetchone() is not None:
            return
    log.info("making the tables")
    world = generate(seed=7, scale=0.02, as_of=date(2026, 11, 1))
    site = load_postgres_site(world, server.dsn(), owner_password=uuid.uuid4().hex, reader_password=uuid.uuid4().hex)
    unfinished = f"{TEMPLATE}_new"
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(_named("drop database if exists {} with (force)", unfinished))
    dsn = server.ensure_database(unfinished)
    migrate(dsn)
    source = SqlSource(site.reader_dsn, ZoneInfo(ZONE))
    try:
        for entry in load_catalog():
            load_table(source, entry, dsn, run_id="bench", clock=fixed_clock(datetime(2026, 11, 1, tzinfo=UTC)))
    finally:
        source.close()
    _empty(dsn)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(_named("drop database {} with (force)", SITE))
        admin.execute(_named("alter database {} rename to {}", unfinished, TEMPLATE))


def _empty(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'raw_bitrix'").fetchall()
        for (table,) in tables:
            if not DICTIONARIES.match(table):
                connection.execute(sql.SQL("truncate {}").format(sql.Identifier("raw_bitrix", table)))


def _named(statement: str, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))  # type: ignore[arg-type]
