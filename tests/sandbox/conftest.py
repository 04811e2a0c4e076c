"""The sandbox services, running over a small world and over an almost empty site."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from tests.sandbox.services import CONTACTS, FLAG, MOSCOW, START, Account, Portal
from tests.sandbox.small import KEY, SECRET, small_world

from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import create_app as create_bitrix
from lettertrail.sandbox.bitrix_schema import tables
from lettertrail.sandbox.esps.mailchimp import MailchimpStore, create_app, seed_mailchimp
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.server import served


@pytest.fixture
def account() -> Iterator[Account]:
    """The small world behind a real socket."""
    clock = SimpleNamespace(now=START)
    store = MailchimpStore(":memory:", clock=lambda: clock.now)
    seed_mailchimp(small_world(), store)
    app = create_app(store, api_key=KEY, batch_step_seconds=0.05)
    with served(app) as base:
        yield Account(base, store, clock)
    app.close()
    store.close()


@pytest.fixture(scope="session")
def rest_site_dsn(mariadb: MariaDb) -> str:
    """An empty site with the tables REST knows, the dictionaries filled."""
    with connect(mariadb.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create database rest_site character set utf8mb4 collate utf8mb4_unicode_ci")
        cursor.execute("use rest_site")
        for name, table in tables().items():
            if name.startswith(
                ("b_crm_", "b_ut", "b_user", "b_catalog_currency", "b_sale_", "b_recyclebin", "b_consent_")
            ):
                cursor.execute(table.ddl())
        for stage, semantics in (("NEW", None), ("WON", "S"), ("LOSE", "F")):
            cursor.execute(
                "insert into b_crm_status (ENTITY_ID, STATUS_ID, NAME, SORT, `SYSTEM`, SEMANTICS) "
                "values ('DEAL_STAGE', %s, %s, 10, 'Y', %s)",
                (stage, stage, semantics),
            )
        cursor.execute(
            "insert into b_catalog_currency (CURRENCY, AMOUNT, DATE_UPDATE, BASE) values ('RUB', 1, now(), 'Y')"
        )
        connection.commit()
    return f"{mariadb.dsn.rstrip('/')}/rest_site"


@pytest.fixture(scope="module")
def service(rest_site_dsn: str) -> Iterator[Portal]:
    """The webhook, running."""
    clock = SimpleNamespace(now=datetime(2026, 11, 1, 9, tzinfo=UTC), ticks=0.0)
    app = create_bitrix(
        rest_site_dsn,
        secret=SECRET,
        timezone=MOSCOW,
        clock=lambda: clock.now,
        monotonic=lambda: clock.ticks,
        limits=Limits(burst=50, drain_per_second=2, operating_seconds=480),
    )
    with served(app) as base:
        portal = Portal(base, rest_site_dsn, clock)
        yield portal
        portal.connection.close()
    app.close()


@pytest.fixture
def portal(service: Portal, rest_site_dsn: str) -> Portal:
    """120 contacts with one e-mail each, one lead, one deal, nothing else; an empty bucket."""
    service.clock.now = datetime(2026, 11, 1, 9, tzinfo=UTC)
    service.clock.ticks += 1000.0
    service.connection.rollback()
    with connect(rest_site_dsn) as connection, connection.cursor() as cursor:
        for table in (
            "b_crm_contact", "b_crm_lead", "b_crm_deal", "b_crm_company", "b_crm_field_multi", "b_crm_utm", "b_crm_act",
            "b_crm_dp_comm_mcd", "b_crm_deal_stage_history", "b_crm_deal_contact", "b_user_field", "b_uts_crm_contact",
            "b_crm_lead_status_history", "b_crm_lead_contact", "b_crm_contact_company", "b_crm_act_bind",
            "b_recyclebin", "b_recyclebin_data", "b_utm_crm_contact",
        ):  # fmt: skip
            cursor.execute(f"delete from {table}")
        cursor.execute(f"alter table b_uts_crm_contact drop column if exists {FLAG}")
        cursor.executemany(
            "insert into b_crm_contact (ID, NAME, LAST_NAME, BIRTHDATE, DATE_CREATE, DATE_MODIFY, HAS_EMAIL) "
            "values (%s, %s, %s, %s, %s, '2026-02-01 10:00:00', 'Y')",
            [
                (n, f"Name{n}", "100% sure" if n == 7 else f"Last{n}", "1990-05-17" if n == 1 else None,
                 datetime(2026, 1, 1, 10) + timedelta(hours=n))
                for n in range(1, CONTACTS + 1)
            ],
        )  # fmt: skip
        cursor.executemany(
            "insert into b_crm_field_multi (ENTITY_ID, ELEMENT_ID, TYPE_ID, VALUE_TYPE, COMPLEX_ID, VALUE) "
            "values ('CONTACT', %s, 'EMAIL', 'WORK', 'EMAIL_WORK', %s)",
            [(n, f"Person{n}@example.com") for n in range(1, CONTACTS + 1)],
        )
        cursor.execute("insert into b_crm_utm values (3, 1, 'UTM_SOURCE', 'newsletter')")
        cursor.execute("insert into b_crm_lead (ID, TITLE, STATUS_ID, STATUS_SEMANTIC_ID) values (1, 'L', 'NEW', 'P')")
        cursor.execute(
            "insert into b_crm_deal (ID, TITLE, STAGE_ID, STAGE_SEMANTIC_ID, CLOSED, OPPORTUNITY, CURRENCY_ID, "
            "DATE_MODIFY) "
            "values (1, 'D', 'NEW', 'P', 'N', 1234.50, 'RUB', '2026-02-01 10:00:00')"
        )
        cursor.execute("insert into b_crm_deal_contact values (1, 5, 10, 0, 'Y'), (1, 6, 20, 0, 'N')")
        connection.commit()
    return service
