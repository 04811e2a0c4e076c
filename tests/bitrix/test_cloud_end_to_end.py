"""From a cloud portal into the warehouse through the real engine, against the database of the same site."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.bitrix.cloud_portal import ENTRIES, NOW, Portal, cloned, running
from tests.conftest import WORLD_AS_OF, WORLD_SCALE, WORLD_SEED
from tests.dbt.dbt_runs import NO_UNIT_TESTS, dbt
from tests.dbt.world_mailchimp import WorldMailchimp

from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.cloud_tables import TABLES
from lettertrail.bitrix.port import Source
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import MariaDb
from lettertrail.sandbox.world import generate
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.ledger import LoadResult, check_balance
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.load_esp import load_account
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.verify import verify_table

CLOCK = fixed_clock(NOW)
LAYERS = ("staging", "intermediate", "marts", "segments")
HIDDEN = {
    # Rows the database has and REST does not list.
    "b_crm_field_multi": "entity_id like 'SUS_%'",
    "b_crm_utm": "entity_type_id not in (1, 2, 3, 4)",
    "b_crm_product_row": "not (owner_type = 'D' and owner_id in (select ID from b_crm_deal)"
    " or owner_type = 'L' and owner_id in (select ID from b_crm_lead))",
    "b_sale_basket": "order_id is null",
    "b_user": "external_auth_id is not null",
}
NO_ARRAY = ("a:0:{}", "b:0;")


class Copy:
    """A warehouse with a copy of the site in it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._runs = 0

    def load(self, source: Source, names: Mapping[str, Any] = ENTRIES) -> dict[str, LoadResult]:
        """One run over the tables; the sums balance."""
        self._runs += 1
        run_id = f"run {self._runs}"
        results = {name: load_table(source, ENTRIES[name], self.dsn, run_id=run_id, clock=CLOCK) for name in names}
        check_balance(self.dsn, run_id=run_id)
        source.close()
        return results

    def rows(self, query: str) -> list[dict[str, Any]]:
        """All rows of a query."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def portal(mariadb: MariaDb, bitrix_site_small: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A copy of the sample site as a portal, changed by one test after the other."""
    with running(cloned(mariadb.dsn, bitrix_site_small.owner_dsn), tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture(scope="module")
def from_cloud(portal: Portal, postgres: EmbeddedPostgres) -> Copy:
    """The whole catalogue from the portal, by the application."""
    dsn = postgres.ensure_database("copy_from_cloud")
    migrate(dsn)
    copy = Copy(dsn)
    copy.load(portal.application())
    return copy


def differences(portal: Portal, cloud: Copy, *, but: Collection[str] = ()) -> list[str]:
    """Where the copy is not the database behind the portal, in the columns the cloud gives and the rows it lists."""
    found = []
    for name, table in TABLES.items():
        if name in but:
            continue
        theirs = portal.rows(f"select * from {name} where not coalesce({HIDDEN.get(name, 'false')}, false)")
        ours = cloud.rows(f"select * from raw_bitrix.{name} where _deleted_at is null")
        given = [
            column
            for column in (ours or theirs or [{}])[0]
            if (column in table.fields or column.startswith("uf_"))
            # Their ids are ours.
            and not (column == "id" and name.startswith("b_utm_"))
        ]
        sides = [
            Counter(tuple(_seen(name, row[column]) for column in given) for row in rows) for rows in (ours, theirs)
        ]
        found += [f"{name}: only in the copy: {row}" for row in sides[0] - sides[1]]
        found += [f"{name}: only in the database: {row}" for row in sides[1] - sides[0]]
    return found


def _seen(name: str, value: Any) -> Any:
    """A value as both sides can know it; see docs/cloud.md."""
    return None if value in NO_ARRAY or (value == "" and TABLES[name].empty_is_null) else value


def test_the_copy_is_the_site_s_database(portal: Portal, from_cloud: Copy) -> None:
    """Counts and contents, for the columns the cloud gives."""
    assert differences(portal, from_cloud) == []
    assert from_cloud.rows("select count(*) as n from raw_bitrix.b_crm_deal")[0]["n"] > 0


def test_what_the_cloud_lacks_is_there_and_empty(from_cloud: Copy) -> None:
    """So that the models build."""
    missing = set(ENTRIES) - set(TABLES)
    assert {"b_sender_posting_recipient", "b_sender_mailing", "b_recyclebin"} <= missing
    for name in missing:
        assert from_cloud.rows(f"select 1 from raw_bitrix.{name} limit 1") == []


def test_a_second_run_changes_nothing(portal: Portal, from_cloud: Copy) -> None:
    """Not a row, in any table."""
    second = from_cloud.load(portal.application(), TABLES)
    assert {
        name: result for name, result in second.items() if result.inserted or result.updated or result.deleted
    } == {}


def test_an_edited_an_added_and_a_deleted_deal_arrive(portal: Portal, from_cloud: Copy) -> None:
    """With what hangs on them: tags, links, custom fields, history; the deleted one is marked."""
    edited, gone = (row["id"] for row in portal.rows("select ID from b_crm_deal order by ID limit 2"))
    contact = portal.one("select min(ID) from b_crm_contact")
    portal.call("crm.deal.update", id=edited, fields={"TITLE": "Изменённая", "OPPORTUNITY": "1234.56"})
    fields = {"title": "Новая", "utmSource": "letter", "contactId": contact, "contactIds": [contact]}
    added = portal.call("crm.item.add", entityTypeId=2, fields=fields)["item"]["id"]
    portal.call("crm.deal.delete", id=gone)
    results = from_cloud.load(portal.application(), TABLES)
    assert results["b_crm_deal"].deleted == 1
    found = {row["id"]: row for row in from_cloud.rows("select * from raw_bitrix.b_crm_deal")}
    assert (found[edited]["title"], str(found[edited]["opportunity"])) == ("Изменённая", "1234.56")
    assert (found[added]["title"], found[added]["_deleted_at"]) == ("Новая", None)
    assert found[gone]["_deleted_at"] == NOW
    (tag,) = from_cloud.rows(f"select * from raw_bitrix.b_crm_utm where entity_type_id = 2 and entity_id = {added}")
    assert (tag["code"], tag["value"]) == ("UTM_SOURCE", "letter")
    # Activities of a deleted deal get another owner without a word; the night finds that.
    assert differences(portal, from_cloud, but=["b_crm_act", "b_crm_act_comm"]) == []
    assert portal.rows("select * from b_rest_event_offline") == []


DIE = """
import os, signal, sys
from pathlib import Path
from tests.bitrix.cloud_portal import CLIENT, ENTRIES, ZONE, NOW
from lettertrail.bitrix.cloud import CloudSource
from lettertrail.clock import fixed_clock
from lettertrail.esps.port import AccountConnection
from lettertrail.warehouse.load import load_table
base, state_dir, dsn, fatal = sys.argv[1:]
extra = {"refresh_token": CLIENT.refresh_token, "oauth_server": base}
connection = AccountConnection("bitrix24", base, CLIENT.client_id, CLIENT.client_secret, extra)
hosts = [base.removeprefix("http://")]
source = CloudSource.connect(
    connection, timezone=ZONE, clock=fixed_clock(NOW), state_dir=Path(state_dir), allowed_hosts=hosts
)
def stage(name):
    if name == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
load_table(source, ENTRIES["b_crm_deal"], dsn, run_id="killed", clock=fixed_clock(NOW), on_stage=stage)
"""


@pytest.mark.parametrize("fatal", ["rows landing", "before commit", "committed", "compared"])
def test_a_task_that_is_killed_loses_no_event(portal: Portal, from_cloud: Copy, fatal: str) -> None:
    """Nor does it have any effect twice: before the commit nothing happened, after it the events come again."""
    deal = portal.one("select max(ID) from b_crm_deal")
    title = f"Перед смертью: {fatal}"
    portal.call("crm.deal.update", id=deal, fields={"TITLE": title})
    # The event alone tells of it.
    portal.run(f"update b_crm_deal set DATE_MODIFY = '2026-01-01 00:00:00' where ID = {deal}")
    command = [sys.executable, "-c", DIE, portal.base, str(portal.state_dir), from_cloud.dsn, fatal]
    died = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(portal.rows("select * from b_rest_event_offline")) == 1
    held = f"select title, _deleted_at from raw_bitrix.b_crm_deal where id = {deal}"
    if fatal in ("committed", "compared"):
        assert from_cloud.rows(held) == [{"title": title, "_deleted_at": None}]
    result = from_cloud.load(portal.application(), {"b_crm_deal": ENTRIES["b_crm_deal"]})["b_crm_deal"]
    assert result.inserted == 0
    assert result.deleted == 0
    assert from_cloud.rows(held) == [{"title": title, "_deleted_at": None}]
    assert portal.rows("select * from b_rest_event_offline") == []
    assert from_cloud.rows("select id from raw_bitrix.b_crm_deal group by id having count(*) > 1") == []


def test_a_silent_edit_and_a_silent_delete_are_found_at_night(portal: Portal, from_cloud: Copy) -> None:
    """Past REST, so that no time, no id and no event tells of them; afterwards every table is proven."""
    card, gone = (row["id"] for row in portal.rows("select ID from b_crm_contact order by ID desc limit 2"))
    portal.run(f"update b_crm_contact set SOURCE_ID = 'CALL-2' where ID = {card}")
    portal.run(f"delete from b_crm_field_multi where ENTITY_ID = 'CONTACT' and ELEMENT_ID = {gone}")
    source: CloudSource = portal.application()
    for name in TABLES:
        verify_table(source, ENTRIES[name], from_cloud.dsn, run_id="night", clock=CLOCK, whole_rows=True)
    (found,) = from_cloud.rows(f"select source_id from raw_bitrix.b_crm_contact where id = {card}")
    assert found["source_id"] == "CALL-2"
    assert (
        from_cloud.rows(
            f"select 1 from raw_bitrix.b_crm_field_multi where element_id = {gone} and entity_id = 'CONTACT'"
            " and _deleted_at is null"
        )
        == []
    )
    again = portal.application()
    for name in TABLES:
        proof = verify_table(again, ENTRIES[name], from_cloud.dsn, run_id="next night", clock=CLOCK, whole_rows=True)
        assert proof.is_proven, proof
    # The owner of an activity's addresses is shown with the activity; the database keeps another one beside them.
    assert differences(portal, from_cloud, but=["b_crm_act_comm"]) == []


def test_the_models_build_on_a_copy_from_the_cloud(from_cloud: Copy, tmp_path: Path) -> None:
    """All layers with all their tests; the marts know letters of the e-mail service and deals of the portal."""
    world = generate(seed=WORLD_SEED, scale=WORLD_SCALE, as_of=WORLD_AS_OF)
    load_account(WorldMailchimp(world), from_cloud.dsn, run_id="mailchimp", clock=CLOCK)
    paths = [part for layer in LAYERS for part in ("--select", f"path:models/{layer}")]
    paths += ["--select", "path:seeds"]
    run = dbt(
        "build", *paths, *NO_UNIT_TESTS, "--indirect-selection", "buildable", dsn=from_cloud.dsn, work_dir=tmp_path
    )
    assert run.returncode == 0, run.output[-4000:]
    kinds = from_cloud.rows("select distinct conversion_type from marts.fct_conversions")
    assert {row["conversion_type"] for row in kinds} >= {"lead_created", "deal_won"}
    # REST does not show the amount in the base currency: it is converted, not zero.
    worth = from_cloud.rows(
        "select sum(amount) as amount from marts.fct_conversions where conversion_type = 'deal_won'"
    )
    typed = from_cloud.rows(
        "select sum(round(opportunity * rate.amount / rate.amount_cnt, 2)) as amount from raw_bitrix.b_crm_deal as deal"
        " join raw_bitrix.b_catalog_currency as rate on rate.currency = deal.currency_id"
        " where deal._deleted_at is null and stage_semantic_id = 'S' and coalesce(is_recurring, 'N') <> 'Y'"
    )
    assert worth == typed
    assert worth[0]["amount"] > 0
