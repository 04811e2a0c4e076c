"""A site with cards behind a running webhook, and a warehouse with the marts that are told to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.crm.scene import CARDS, SECRET, Crm

from lettertrail.sandbox.bitrix_methods.batch import asks_for_change
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import create_app
from lettertrail.sandbox.bitrix_schema import tables
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.server import served

TABLES = ("b_crm_", "b_uts_crm_", "b_utm_crm_", "b_user_field", "b_sender_contact")


@pytest.fixture(scope="module")
def site_dsn(mariadb: MariaDb) -> str:
    """An empty site with contacts, leads and deals 1 to CARDS."""
    with connect(mariadb.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create or replace database crm_site character set utf8mb4 collate utf8mb4_unicode_ci")
        cursor.execute("use crm_site")
        for table in tables().values():
            if table.name.startswith(TABLES):
                cursor.execute(table.ddl())
        for kind in ("contact", "lead", "deal"):
            cursor.executemany(
                f"insert into b_crm_{kind} (ID, DATE_CREATE, DATE_MODIFY, ASSIGNED_BY_ID) "
                "values (%s, '2026-01-01 00:00:00', '2026-01-02 03:04:05', 7)",
                [(number,) for number in range(1, CARDS + 1)],
            )
        connection.commit()
    return f"{mariadb.dsn.rstrip('/')}/crm_site"


@pytest.fixture
def crm(site_dsn: str, warehouse_dsn: str, tmp_path: Path) -> Iterator[Crm]:
    """As before the first push: nobody has made a field, nothing is on the cards."""
    with connect(site_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("select ENTITY_ID, FIELD_NAME from b_user_field")
        for entity, name in cursor.fetchall():
            cursor.execute(f"alter table b_uts_{entity.lower()} drop column if exists `{name}`")
        for table in ("b_user_field", "b_crm_act", "b_crm_act_bind", *(f"b_uts_crm_{kind}" for kind in KINDS)):
            cursor.execute(f"delete from {table}")
        for kind in KINDS:
            cursor.execute(f"update b_crm_{kind} set DATE_MODIFY = '2026-01-02 03:04:05'")
        connection.commit()
    app = create_app(site_dsn, secret=SECRET, timezone=ZoneInfo("Europe/Moscow"), limits=Limits(burst=10_000))
    journal = tmp_path / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=SECRET), Journal(journal), service="bitrix", is_write=asks_for_change, mask=lambda path: path
    )
    with served(whole) as base:
        yield Crm(base, journal, site_dsn, warehouse_dsn)
    app.close()


KINDS = ("contact", "lead", "deal")
