"""The three promises of the design: an ESP, a segment and a Bitrix table are each one new thing in one place.

Each test drops that one thing into a copy of the house and asks the copy, in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.dbt.dbt_runs import dbt
from tests.source_site import NOW, ZONE

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.settings import BITRIX_SOURCES_FILE, DBT_PROJECT_DIR, PROJECT_ROOT
from lettertrail.warehouse.load import load_table

if TYPE_CHECKING:
    from lettertrail.sandbox.bitrix_site import Site as BitrixSite

RECIPE = PROJECT_ROOT / "docs" / "adding-an-esp.md"
TWIN = """
    Twin(
        name="fifthmail",
        title="FifthMail",
        port=8098,
        store=fifthmail.FifthMailStore,
        seed=fifthmail.seed_fifthmail,
        app=fifthmail.create_app,
        asks_for_change=fifthmail.asks_for_change,
        secrets={"api_key": "SANDBOX_FIFTHMAIL_KEY"},
    ),
)
"""
A_DAYS_WORK = """
import json, sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
import psycopg
from lettertrail import esps
from lettertrail.audiences.push import sync_suppressions
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.server import served
from lettertrail.sandbox.twins import TWINS
from lettertrail.sandbox.world import generate
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.load_esp import load_account

dsn, state = sys.argv[1], Path(sys.argv[2])
NOW = lambda: datetime(2026, 11, 1, 12, tzinfo=UTC)
(twin,) = [twin for twin in TWINS if twin.name == "fifthmail"]
store = twin.store(state / "fifthmail.sqlite3")
twin.seed(generate(seed=7, scale=0.02, as_of=date(2026, 11, 1)), store)
with served(twin.app(store, api_key="k" * 32)) as base:
    adapter = esps.load("fifthmail")
    connection = AccountConnection("fifthmail__shop", base, password="k" * 32)
    esp = adapter.connect(connection, clock=NOW, allowed_hosts=[base.partition("://")[2]])
    steps = [step.message for step in esp.check()]
    first = load_account(esp, dsn, run_id="first", clock=NOW)
    second = load_account(esp, dsn, run_id="second", clock=NOW)
    with psycopg.connect(dsn) as db:
        (email,) = db.execute("select email from raw_esp.contacts where status = 'subscribed' limit 1").fetchone()
        db.execute("create table marts.dim_suppression (email text, scope text, state text)")
        db.execute("insert into marts.dim_suppression values (%s, 'everything', 'unsubscribed')", [email])
        db.execute("insert into ops.segments values ('s', 's', '{}', %s)", [NOW()])
    pushed = sync_suppressions(esp, dsn, run_id="push", clock=NOW, dry_run=False)
    off = email in set(esp.suppressed())
for run_id in ("first", "second", "push"):
    check_balance(dsn, run_id=run_id)
json.dump({
    "steps": steps,
    "first": {result.table: result.inserted for result in first},
    "second": sum(result.inserted + result.updated for result in second),
    "contacts": store.number("select count(*) from contacts"),
    "events": store.number("select count(*) from events"),
    "pushed": [pushed.planned, pushed.applied],
    "is_off": off,
}, sys.stdout)
"""
READ_FORMS = """
import json, sys
from lettertrail.airflow.provider import get_provider_info
types = {each["connection-type"]: each for each in get_provider_info()["connection-types"]}
json.dump({
    "form": types["fifthmail"],
    "hook": __import__("lettertrail.airflow.hooks", fromlist=["fifthmail"]).fifthmail.hook_name,
}, sys.stdout)
"""
SEGMENT = """{{ config(meta = {'push': {'to': ['mailchimp'], 'mode': 'upsert', 'max_removed_pct': 5}}) }}

select
    primary_email as email,
    person_id

from {{ ref('dim_person') }}
where primary_email is not null
"""
TABLE = """
      - name: b_crm_dp_comm_mcd
        description: One row per card and normalised e-mail or phone.
        config:
          meta:
            extract:
              area: matching
              strategy: full
              key: [id]
              why: Rewritten with the card.
"""
READ_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
import lettertrail
from lettertrail import esps
bag = DagBag("dags")
assert bag.import_errors == {}, bag.import_errors
json.dump({
    "package": lettertrail.__file__,
    "esps": esps.names(),
    "adapters": {name: esps.load(name).__name__ for name in esps.names()},
    "tasks": {dag.dag_id: sorted(dag.task_ids) for dag in bag.dags.values()},
    "starts": {dag.dag_id: repr(dag.timetable.asset_condition) for dag in bag.dags.values()},
}, sys.stdout)
"""
PUBLISH_AND_LIST = """
import json, sys
from datetime import datetime, UTC
from pathlib import Path
from lettertrail.airflow.connections import warehouse_dsn
from lettertrail.airflow.tasks import list_segments
from lettertrail.audiences.segments import publish
manifest = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
publish(manifest, warehouse_dsn("warehouse_sync"), at=datetime(2026, 11, 1, tzinfo=UTC))
json.dump(list_segments("mailchimp"), sys.stdout)
"""


@dataclass(frozen=True)
class House:
    """A copy of what is deployed: DAGs, plugins, package and dbt project."""

    root: Path

    def ask(self, code: str, *arguments: str, **environment: str) -> Any:
        """Runs Python in the copy; gives the JSON it prints last."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("LETTERTRAIL_", "AIRFLOW"))}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.root,
            env={
                **ours,
                "PYTHONPATH": str(self.root / "include"),
                "AIRFLOW_HOME": str(self.root / "airflow"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The copy, as it is in the repository."""
    left_behind = shutil.ignore_patterns("__pycache__", "target", "logs", ".user.yml")
    for name in ("dags", "plugins", "include", DBT_PROJECT_DIR.name):
        shutil.copytree(PROJECT_ROOT / name, tmp_path / "house" / name, ignore=left_behind)
    return House(tmp_path / "house")


@pytest.fixture
def house_with_five(house: House) -> House:
    """The recipe followed: its listings where they say they belong, and the twin's entry."""
    listings = re.findall(
        r"^```python\n(# (\S+)\n.*?)^```$", RECIPE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert [Path(path).parent.as_posix() for _, path in listings] == [
        "include/lettertrail/sandbox/esps", "include/lettertrail/esps"
    ]  # fmt: skip
    for code, path in listings:
        (house.root / path).write_text(code, encoding="utf-8")
    twins = house.root / "include/lettertrail/sandbox/twins.py"
    text = twins.read_text(encoding="utf-8").rstrip().removesuffix(")")
    text = text.replace("sandbox.esps import", "sandbox.esps import fifthmail,")
    twins.write_text(text.rstrip() + TWIN, encoding="utf-8")
    return house


def test_an_esp_is_one_file(house_with_five: House) -> None:
    """It is listed, copied by a DAG of its own, waited for by the build, and told whom not to write to."""
    house = house_with_five
    found = house.ask(READ_DAGS)
    assert Path(found["package"]).is_relative_to(house.root)
    assert "fifthmail" in found["esps"]
    assert found["adapters"]["fifthmail"] == "FifthMail"
    assert found["tasks"]["ingest_fifthmail"] == ["check_ledger", "load_account", "start_exports", "wait_for_exports"]
    assert "suppress_fifthmail" in found["tasks"]["sync_suppressions"]
    assert "push_fifthmail" in found["tasks"]["sync_segments"]
    assert "raw_esp__fifthmail" in found["starts"]["build_marts"]


def test_an_esp_is_offered_as_a_connection(house_with_five: House) -> None:
    """With the form its class declares and a button that tests it."""
    found = house_with_five.ask(READ_FORMS)
    assert found["form"]["hook-name"] == found["hook"] == "FifthMail"
    assert found["form"]["ui-field-behaviour"]["hidden-fields"] == ["host", "port", "login", "schema"]


def test_an_esp_does_a_days_work(house_with_five: House, warehouse_dsn: str, tmp_path: Path) -> None:
    """Checked, copied twice, told whom not to write to; every sum of the ledger holds."""
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("create schema marts")
    found = house_with_five.ask(A_DAYS_WORK, warehouse_dsn, str(tmp_path))
    assert found["steps"] == ["letters: 1"]
    assert found["first"] == {
        "raw_esp.lists:fifthmail__shop": 0,
        "raw_esp.campaigns:fifthmail__shop": 1,
        "raw_esp.campaign_totals:fifthmail__shop": 0,
        "raw_esp.links:fifthmail__shop": 0,
        "raw_esp.contacts:fifthmail__shop": found["contacts"],
        "raw_esp.events:fifthmail__shop": found["events"],
        "raw_esp.bodies:fifthmail__shop": 0,
    }
    assert min(found["contacts"], found["events"]) > 100
    assert found["second"] == 0
    assert (found["pushed"], found["is_off"]) == ([1, 1], True)


def test_a_segment_is_one_file(house: House, warehouse_dsn: str, tmp_path: Path) -> None:
    """dbt's manifest carries it, publishing finds it there, and the push is mapped over it.

    That it also builds, and where, is tested in tests/dbt.
    """
    project = house.root / DBT_PROJECT_DIR.name
    (project / "models/segments/seg_xyz.sql").write_text(SEGMENT, encoding="utf-8")
    parsed = dbt("parse", dsn=warehouse_dsn, work_dir=tmp_path, project=project)
    assert parsed.returncode == 0, parsed.output[-3000:]
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute("create schema segments")
        for name in (path.stem for path in (project / "models/segments").glob("*.sql")):
            connection.execute(f"create table segments.{name} (email text, person_id text, city text)")
    manifest = str(parsed.target / "manifest.json")
    listed = house.ask(PUBLISH_AND_LIST, manifest, AIRFLOW_CONN_WAREHOUSE_SYNC=warehouse_dsn)
    assert "seg_xyz" in listed
    with psycopg.connect(warehouse_dsn) as connection:
        (stored,) = connection.execute("select config from ops.segments where name = 'seg_xyz'").fetchall()
    assert stored[0]["mode"] == "upsert"
    assert stored[0]["audience"] == "xyz"
    assert stored[0]["attributes"] == ["city"]


def test_a_bitrix_table_is_one_entry(house: House, bitrix_site_small: BitrixSite, warehouse_dsn: str) -> None:
    """The catalogue reads it, the copying DAG has a task for it, and the copy is the table."""
    assert "b_crm_dp_comm_mcd" not in {entry.name for entry in load_catalog()}
    sources = house.root / BITRIX_SOURCES_FILE.relative_to(PROJECT_ROOT)
    with sources.open("a", encoding="utf-8") as file:
        file.write(TABLE)
    assert "load_matching" in house.ask(READ_DAGS)["tasks"]["ingest_bitrix"]

    entry = next(entry for entry in load_catalog(sources) if entry.name == "b_crm_dp_comm_mcd")
    source = SqlSource(bitrix_site_small.reader_dsn, ZONE)
    result = load_table(source, entry, warehouse_dsn, run_id="promise", clock=fixed_clock(NOW))
    with psycopg.connect(warehouse_dsn) as connection:
        copied = connection.execute("select id, value from raw_bitrix.b_crm_dp_comm_mcd order by id").fetchall()
    assert copied == match_codes(bitrix_site_small)
    assert result.inserted == len(copied) > 0


def match_codes(site: BitrixSite) -> list[tuple[Any, ...]]:
    """The table as the site has it, by another driver."""
    from lettertrail.sandbox.mariadb import connect  # noqa: PLC0415  # most tests need no MariaDB client

    connection = connect(site.owner_dsn)
    try:
        cursor = connection.cursor()
        cursor.execute("select ID, VALUE from b_crm_dp_comm_mcd order by ID")
        return list(cursor.fetchall())
    finally:
        connection.close()
