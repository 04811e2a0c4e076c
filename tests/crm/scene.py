"""Both sides of a push to the CRM, each readable by itself: the marts and ledger here, the site's own tables there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import MySQLdb.cursors
import psycopg
from psycopg.rows import dict_row
from tests.push_ledger import PushLedger
from tests.running_service import RunningService

from lettertrail.audiences.audit import AuditResult
from lettertrail.audiences.push import SyncResult
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.crm.audit import audit_card_fields
from lettertrail.crm.fields import CONTACTS, CardFields
from lettertrail.crm.follow_ups import FollowUps, sync_follow_ups
from lettertrail.crm.sync import sync_card_fields
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.mariadb import connect

SECRET = "wh00ksecret"
CARDS = 150
ZONE = ZoneInfo("Europe/Moscow")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

MARTS = """
create schema if not exists marts;
create table marts.dim_suppression (email text, scope text, state text);
create table marts.dim_person_redirect (old_person_id text, person_id text);
create table marts.mart_crm_contact_fields (
    contact_id bigint, last_opened_at timestamptz, last_clicked_at timestamptz, best_letter text,
    consented_at timestamptz, consent_source text, consent_text text
);
create table marts.mart_crm_lead_fields (
    lead_id bigint, is_marketing_allowed boolean, suppression_state text, last_opened_at timestamptz,
    last_clicked_at timestamptz, best_letter text, consented_at timestamptz, consent_source text, consent_text text
);
create table marts.mart_crm_deal_letters (
    deal_id bigint, letter text, letter_id text, credit_percent integer, model text
);
create table marts.mart_crm_follow_ups (
    follow_up_id text, letter_id text, letter text, letter_number integer, person_id text, card_type text,
    card_id bigint, responsible_id bigint, opened_at timestamptz, place bigint
);
"""


class Crm(RunningService, PushLedger):
    """A portal, the warehouse that tells it things, and a clock."""

    secret = SECRET

    def __init__(self, base: str, journal: Path, site_dsn: str, warehouse_dsn: str) -> None:
        super().__init__(base, journal)
        self.site_dsn = site_dsn
        self.warehouse_dsn = warehouse_dsn
        self.sync_dsn = warehouse_dsn
        self.now = NOON
        self.execute(MARTS)
        self.build()

    # the warehouse

    def execute(self, statement: str, values: Any = None) -> None:
        with psycopg.connect(self.warehouse_dsn) as connection:
            connection.execute(statement, values)

    def query(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        with psycopg.connect(self.warehouse_dsn, row_factory=dict_row) as connection:
            return connection.execute(statement, values).fetchall()

    def build(self) -> None:
        """Marks the marts as built now."""
        self.execute("delete from ops.segments")
        self.execute("insert into ops.segments values ('s', 's', '{}', %s)", [self.now])

    def later(self, **delta: float) -> None:
        """Moves the clock and builds the marts again."""
        self.now += timedelta(**delta)
        self.build()

    def show(self, cards: CardFields, card: int, **values: Any) -> None:
        """What the mart says about one card from now on."""
        table = ".".join(cards.relation)
        self.execute(f"delete from {table} where {cards.key} = %s", [card])
        names = [cards.key, *values]
        marks = ", ".join(["%s"] * len(names))
        self.execute(f"insert into {table} ({', '.join(names)}) values ({marks})", [card, *values.values()])

    def fill_contacts(self, number: int) -> None:
        """Contacts 1 to `number`, each with values of its own."""
        self.execute(
            """
            insert into marts.mart_crm_contact_fields (contact_id, last_opened_at, best_letter, consent_source)
            select card, %s - card * interval '1 day', 'Скидка ' || card || ' %% & «ещё»', 'bitrix'
            from generate_series(1, %s) as card
            """,
            [NOON, number],
        )

    def unanswered(self, person: str, letter: str = "bitrix:5", **facts: Any) -> None:
        """One row of the mart of follow-ups."""
        row = {
            "follow_up_id": f"{letter}:{person}",
            "letter_id": letter,
            "letter": "Осенняя [распродажа]",
            "letter_number": 5,
            "person_id": person,
            "card_type": "contact",
            "card_id": 1,
            "responsible_id": 7,
            "opened_at": NOON - timedelta(days=4),
            "place": 1,
        } | facts
        marks = ", ".join(["%s"] * len(row))
        self.execute(f"insert into marts.mart_crm_follow_ups ({', '.join(row)}) values ({marks})", list(row.values()))

    def erased(self, **cards: list[int]) -> None:
        """The proof that whoever has these cards was erased."""
        self.execute(
            "insert into ops.erasures (run_id, person_hash, reference, cards, services, places, approved_by,"
            " approved_at, started_at, finished_at) values ('run', 'h', 'T-1', %s, '{}', '{}', '7', %s, %s, %s)",
            [json.dumps(cards), *[self.now] * 3],
        )

    # the push

    def rest(self) -> BitrixRest:
        """As production connects, except that it does not wait."""
        connection = AccountConnection("bitrix24", f"{self.base}/rest/1/{SECRET}/")
        rest = BitrixRest.connect(connection, clock=lambda: self.now, allowed_hosts=[self.base.removeprefix("http://")])
        rest.api._sleep = lambda seconds: None
        rest.api._throttle._bucket = None
        return rest

    def push(self, cards: CardFields = CONTACTS, rest: BitrixRest | None = None, **options: Any) -> SyncResult:
        options = {"dry_run": False, **options}
        return sync_card_fields(
            cards, rest or self.rest(), self.sync_dsn, run_id="run", clock=lambda: self.now, **options
        )

    def audit(self, cards: CardFields = CONTACTS) -> AuditResult | None:
        return audit_card_fields(cards, self.rest(), self.sync_dsn, run_id="run", clock=lambda: self.now)

    def follow_up(self, rest: BitrixRest | None = None, *, per_day: int = 10, dry_run: bool = False) -> SyncResult:
        return sync_follow_ups(
            FollowUps(per_day, ZONE, dry_run),
            rest or self.rest(),
            self.sync_dsn,
            run_id="run",
            clock=lambda: self.now,
        )

    # the site, in its own words

    def site(self, query: str) -> list[dict[str, Any]]:
        with connect(self.site_dsn) as connection, connection.cursor(MySQLdb.cursors.DictCursor) as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def change_site(self, *statements: str) -> None:
        with connect(self.site_dsn) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def on_cards(self, cards: CardFields) -> dict[int, dict[str, Any]]:
        """What the site holds: card → field → value, empty ones left out; times in UTC."""
        there = {row["FIELD_NAME"] for row in self.site("select FIELD_NAME from b_user_field")}
        names = [field.name for field in cards.columns.values() if field.name in there]
        rows = self.site(f"select * from b_uts_crm_{cards.entity}")
        found = {row["VALUE_ID"]: {name: _utc(row[name]) for name in names if row[name] is not None} for row in rows}
        return {card: values for card, values in found.items() if values}

    def in_mart(self, cards: CardFields) -> dict[int, dict[str, Any]]:
        """What it should hold, told the same way."""
        return {
            row[cards.key]: {
                field.name: row[column] for column, field in cards.columns.items() if row[column] is not None
            }
            for row in self.query(f"select * from {'.'.join(cards.relation)}")
        }

    def todos(self) -> list[dict[str, Any]]:
        return self.site("select * from b_crm_act where PROVIDER_ID = 'CRM_TODO' order by ID")


def commands(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The commands of the batches among these requests."""
    return [command for line in lines if line["path"].endswith("/batch") for command in line["body"]["cmd"].values()]


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=ZONE).astimezone(UTC) if isinstance(value, datetime) else value
