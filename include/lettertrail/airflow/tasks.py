"""The task bodies: each resolves connections, calls the product and returns a small summary.

A summary is counts and names, never rows: it ends in XCom, which many can read. The heavy imports happen inside the
functions, so that parsing a DAG file stays quick.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk import get_current_context

from lettertrail import esps
from lettertrail.airflow.accounts import WAREHOUSE_LOADER, WAREHOUSE_SYNC
from lettertrail.clock import Clock, fixed_clock, system_clock
from lettertrail.errors import BrakeApplied
from lettertrail.settings import Settings

if TYPE_CHECKING:
    from lettertrail.audiences.push import SyncResult
    from lettertrail.audiences.state import Marks
    from lettertrail.bitrix.catalog import TableEntry
    from lettertrail.warehouse.ledger import LoadResult

log = logging.getLogger(__name__)


def run_label() -> str:
    """`<dag id>/<run id>`: what ties a ledger row to the run that wrote it."""
    context = get_current_context()
    return f"{context['dag'].dag_id}/{context['run_id']}"


def run_moment() -> datetime:
    """The run's time. Runs triggered by an asset have no logical date, so it is `run_after`."""
    moment = get_current_context()["dag_run"].run_after
    if not isinstance(moment, datetime):
        raise TypeError("the DAG run carries no run_after")
    return moment


def plan_bitrix_copy() -> list[dict[str, Any]]:
    """The key ranges of large tables that were never copied whole: what `copy_bitrix_range` is mapped over.

    Also leaves how each table is kept fresh here, for the DAG's docs.
    """
    from lettertrail.airflow.connections import bitrix_source, warehouse_dsn
    from lettertrail.airflow.docs import write_freshness
    from lettertrail.bitrix.catalog import load_catalog
    from lettertrail.warehouse.freshness import read_freshness
    from lettertrail.warehouse.ranges import plan_copies

    dsn = warehouse_dsn(WAREHOUSE_LOADER)
    with closing(bitrix_source()) as source:
        parts = plan_copies(source, load_catalog(), dsn, run_id=run_label(), clock=system_clock)
    write_freshness(read_freshness(dsn))
    return [
        {"name": f"{part.table} {part.number}/{part.of}", "table": part.table, "low": part.low, "high": part.high}
        for part in parts
    ]


def copy_bitrix_range(part: dict[str, Any]) -> dict[str, Any]:
    """Copies one key range of a large table, in one transaction."""
    from lettertrail.airflow.connections import bitrix_source, warehouse_dsn
    from lettertrail.bitrix.port import KeyRange
    from lettertrail.warehouse.ranges import copy_range

    with closing(bitrix_source()) as source:
        result = copy_range(
            source,
            _entry(part["table"]),
            warehouse_dsn(WAREHOUSE_LOADER),
            KeyRange(part["low"], part["high"]),
            run_id=run_label(),
            clock=system_clock,
        )
    return _summary(result)


def load_bitrix_area(area: str) -> list[dict[str, Any]]:
    """Brings the tables of one area up to date, one after the other; see `lettertrail.warehouse.load.load_table`."""
    from lettertrail.airflow.connections import bitrix_source, warehouse_dsn
    from lettertrail.bitrix.areas import tables_of
    from lettertrail.bitrix.catalog import load_catalog
    from lettertrail.warehouse.load_area import load_tables

    with closing(bitrix_source()) as source:
        results = load_tables(
            source,
            tables_of(area, load_catalog()),
            warehouse_dsn(WAREHOUSE_LOADER),
            run_id=run_label(),
            clock=system_clock,
        )
    return [_summary(result) for result in results]


def choose_bitrix_tables() -> list[str]:
    """The tables to verify: those of the param `tables`, or all of the catalog."""
    from lettertrail.bitrix.catalog import load_catalog

    return list(get_current_context()["params"]["tables"] or [entry.name for entry in load_catalog()])


def verify_bitrix_table(table: str) -> dict[str, Any]:
    """Compares a table with its source and reads again what differs."""
    from lettertrail.airflow.connections import bitrix_source, warehouse_dsn
    from lettertrail.warehouse.verify import verify_table

    with closing(bitrix_source()) as source:
        found = verify_table(
            source, _entry(table), warehouse_dsn(WAREHOUSE_LOADER), run_id=run_label(), clock=system_clock
        )
    return asdict(found)


def reload_bitrix_table(table: str, *, key_low: int | None, key_high: int | None, dry_run: bool) -> dict[str, Any]:
    """Reads a table, or a range of its keys, again; a dry run only says what that would do."""
    from lettertrail.airflow.connections import bitrix_source, warehouse_dsn
    from lettertrail.bitrix.port import KeyRange
    from lettertrail.warehouse.reload import reload_table

    with closing(bitrix_source()) as source:
        result = reload_table(
            source,
            _entry(table),
            warehouse_dsn(WAREHOUSE_LOADER),
            KeyRange(key_low, key_high),
            run_id=run_label(),
            clock=system_clock,
            dry_run=dry_run,
        )
    return asdict(result)


def start_exports(conn_id: str, since: str | None = None, *, is_whole: bool = False) -> list[dict[str, str]]:
    """Asks an ESP account for the jobs its readers will need, for the same window as `load_esp_account`."""
    from lettertrail.airflow.connections import esp_account, share_rates, warehouse_dsn
    from lettertrail.warehouse.load_esp import read_since

    share_rates(WAREHOUSE_LOADER)
    esp = esp_account(conn_id)
    start = _moment(since)
    if start is None and not is_whole:
        start = read_since(warehouse_dsn(WAREHOUSE_LOADER), esp.name, esp.account)
    return [asdict(export) for export in esp.start_exports(start)]


def load_esp_account(
    conn_id: str,
    exports: list[dict[str, str]],
    since: str | None = None,
    until: str | None = None,
    *,
    is_whole: bool = False,
) -> list[dict[str, Any]]:
    """Copies all streams of an ESP account; `since` and `until` (ISO times) re-read a window, `is_whole` everything."""
    from lettertrail.airflow.connections import esp_account, share_rates, warehouse_dsn
    from lettertrail.esps.port import Export
    from lettertrail.warehouse.load_esp import load_account

    share_rates(WAREHOUSE_LOADER)
    esp = esp_account(conn_id)
    esp.exports = [Export(**export) for export in exports]
    results = load_account(
        esp,
        warehouse_dsn(WAREHOUSE_LOADER),
        run_id=run_label(),
        clock=system_clock,
        since=_moment(since),
        until=_moment(until),
        is_whole=is_whole,
    )
    return [_summary(result) for result in results]


def process_inbox() -> list[dict[str, Any]]:
    """Works in the webhooks and choices that wait; skipped when nothing of it is urgent: then nothing is built."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.inbox.process import process_deliveries
    from lettertrail.preferences.applied import note_choices

    dsn = warehouse_dsn(WAREHOUSE_LOADER)
    results = process_deliveries(dsn, run_id=run_label(), clock=system_clock)
    choices = note_choices(dsn, run_id=run_label(), clock=system_clock)
    if not choices and not any(result.urgent for result in results):
        raise AirflowSkipException("nothing new that cannot wait")
    return [*(asdict(result) for result in results), {"account": "preferences", "choices": choices}]


def sign_links() -> dict[str, Any]:
    """Gives everybody the links that go into letters; nothing where LETTERTRAIL_LINK_SECRETS is not set."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.preferences.links import read_links
    from lettertrail.preferences.roster import sign_links as sign

    links = read_links(os.environ)
    return asdict(sign(warehouse_dsn(WAREHOUSE_SYNC), links, clock=system_clock)) if links else {}


def check_ledger(conn_id: str) -> None:
    """Fails the run when its ledger rows do not add up."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.warehouse.ledger import check_balance

    check_balance(warehouse_dsn(conn_id), run_id=run_label())


def check_door(door: str) -> dict[str, Any]:
    """Runs the Great Expectations suites of a door (`raw_bitrix`, `raw_esp` or `segments`)."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.expectations.door import check_door as check

    settings = Settings.from_env()
    result = check(
        door,
        warehouse_dsn=warehouse_dsn(WAREHOUSE_SYNC if door == "segments" else WAREHOUSE_LOADER),
        gx_root=settings.state_dir / "gx",
        run_id=run_label(),
        clock=fixed_clock(run_moment()),
        zone=settings.source_timezone,
    )
    return {"suites": result.suites, "evaluated": result.evaluated}


def publish_segments(project_dir: str, **_: object) -> None:
    """Cosmos' callback after the segments are built: the manifest of that very build says where each one goes."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.audiences.segments import publish

    manifest = json.loads((Path(project_dir) / "target" / "manifest.json").read_text(encoding="utf-8"))
    publish(manifest, warehouse_dsn(WAREHOUSE_SYNC), at=run_moment())


def sync_suppressions(conn_id: str, *, dry_run: bool, release_brake: bool) -> dict[str, Any]:
    """Tells one destination who must not be written to. What the brake holds is asked about by `approve_held`."""
    from lettertrail.airflow.connections import destination
    from lettertrail.audiences.push import sync_suppressions as sync
    from lettertrail.bitrix.rest import BitrixRest
    from lettertrail.crm.own_writes import WarehouseOwnWrites

    common = _common()
    where = destination(conn_id)
    if isinstance(where, BitrixRest):
        where.own_writes = WarehouseOwnWrites(common["warehouse_dsn"])
    return _pushed(lambda: sync(where, dry_run=dry_run, release_brake=release_brake, **common))


def forward_opt_outs(conn_id: str, *, dry_run: bool) -> dict[str, Any]:
    """The same before the next build; skipped where none was yet: the first one tells everybody."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.audiences.segments import read_published

    if not read_published(warehouse_dsn(WAREHOUSE_SYNC)):
        raise AirflowSkipException("nothing was built yet")
    return sync_suppressions(conn_id, dry_run=dry_run, release_brake=False)


def sync_lead_suppressions(*, dry_run: bool, release_brake: bool) -> dict[str, Any]:
    """Tells Bitrix which leads must not be written to."""
    from lettertrail.airflow.connections import bitrix_rest
    from lettertrail.audiences.plan import LEAD_SUPPRESSIONS
    from lettertrail.audiences.push import sync_suppressions as sync

    common = _common()
    leads = bitrix_rest().about("lead")
    return _pushed(
        lambda: sync(leads, audience=LEAD_SUPPRESSIONS, dry_run=dry_run, release_brake=release_brake, **common)
    )


def sync_card_fields(audience: str, *, dry_run: bool, release_brake: bool) -> dict[str, Any]:
    """Makes the cards of one entity show what their mart says."""
    from lettertrail.airflow.connections import bitrix_rest
    from lettertrail.crm.fields import ALL
    from lettertrail.crm.sync import sync_card_fields as sync

    common = _common()
    rest = bitrix_rest()
    return _pushed(lambda: sync(ALL[audience], rest, dry_run=dry_run, release_brake=release_brake, **common))


def sync_follow_ups(*, dry_run: bool, release_brake: bool) -> dict[str, Any]:
    """Makes the to-dos about people who opened a letter and did not answer."""
    from lettertrail.airflow.connections import bitrix_rest
    from lettertrail.crm.follow_ups import FollowUps
    from lettertrail.crm.follow_ups import sync_follow_ups as sync

    settings = Settings.from_env()
    options = FollowUps(settings.follow_ups_per_day, settings.source_timezone, dry_run)
    common = _common()
    rest = bitrix_rest()
    return _pushed(lambda: sync(options, rest, release_brake=release_brake, **common))


def list_segments(conn_id: str) -> list[str]:
    """The published segments that go to an ESP account: what `sync_segment` is mapped over."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.audiences.segments import read_published

    names = {conn_id, esps.adapter_name(conn_id)}
    published = read_published(warehouse_dsn(WAREHOUSE_SYNC))
    return [segment.name for segment in published if names & set(segment.destinations)]


def sync_segment(segment: str, conn_id: str, *, dry_run: bool, release_brake: bool) -> dict[str, Any]:
    """Plans, brakes and pushes one segment to one destination; held records as in `sync_suppressions`."""
    from lettertrail.airflow.connections import esp_account
    from lettertrail.audiences.push import sync_segment as sync
    from lettertrail.audiences.segments import read_published

    common = _common()
    published = next(item for item in read_published(common["warehouse_dsn"]) if item.name == segment)
    esp = esp_account(conn_id)
    return _pushed(lambda: sync(published, esp, dry_run=dry_run, release_brake=release_brake, **common))


def sync_preferences(conn_id: str, *, dry_run: bool) -> dict[str, Any]:
    """Tells one ESP account what people chose on the preference page; skipped where it has no categories."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.connections import esp_account
    from lettertrail.esps.capabilities import can
    from lettertrail.preferences.push import sync_preferences as sync

    if not can(esps.load(esps.adapter_name(conn_id)), "set_preferences"):
        raise AirflowSkipException("the service has no preference categories to write")
    common = _common()
    esp = esp_account(conn_id)
    return _pushed(lambda: sync(esp, dry_run=dry_run, **common))


def ask_about_held() -> list[dict[str, Any]]:
    """The questions about what the brake held, each once; skipped when there is nothing to ask."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.audiences.approvals import ask

    questions = ask(warehouse_dsn(WAREHOUSE_SYNC), at=system_clock())
    if not questions:
        raise AirflowSkipException("nothing is held that was not asked about")
    return [asdict(question) for question in questions]


def list_audiences(conn_id: str, *, most: int | None) -> list[str]:
    """What to read back of an account, oldest first: its suppressions and the published segments that go there; of
    Bitrix the flags and the values on cards."""
    from lettertrail.airflow.accounts import BITRIX24
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.audiences.audit import oldest_first
    from lettertrail.audiences.plan import FLAGGED, SUPPRESSIONS
    from lettertrail.audiences.segments import read_published
    from lettertrail.crm import fields

    dsn = warehouse_dsn(WAREHOUSE_SYNC)
    if conn_id == BITRIX24:
        return oldest_first(dsn, conn_id, [*FLAGGED, *fields.ALL], most=most)
    names = {conn_id, esps.adapter_name(conn_id)}
    audiences = [one.audience for one in read_published(dsn) if names & set(one.destinations)]
    return oldest_first(dsn, conn_id, [SUPPRESSIONS, *audiences], most=most)


def audit_audience(audience: str, conn_id: str) -> dict[str, Any]:
    """Compares what a destination has with what it confirmed."""
    from lettertrail.airflow.connections import bitrix_rest, destination, esp_account, share_rates, warehouse_dsn
    from lettertrail.audiences.audit import audit_members, audit_suppressions
    from lettertrail.audiences.plan import FLAGGED, LEAD_SUPPRESSIONS
    from lettertrail.crm import fields
    from lettertrail.crm.audit import audit_card_fields

    share_rates(WAREHOUSE_SYNC)
    dsn = warehouse_dsn(WAREHOUSE_SYNC)
    if audience in FLAGGED:
        where = bitrix_rest().about("lead") if audience == LEAD_SUPPRESSIONS else destination(conn_id)
        result = audit_suppressions(where, dsn, run_id=run_label(), clock=system_clock, audience=audience)
    elif audience in fields.ALL:
        result = audit_card_fields(fields.ALL[audience], bitrix_rest(), dsn, run_id=run_label(), clock=system_clock)
    else:
        result = audit_members(audience, esp_account(conn_id), dsn, run_id=run_label(), clock=system_clock)
    return {} if result is None else asdict(result)


def write_report() -> str:
    """Writes the static report and returns its path."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.report import write_report as write

    path = Settings.from_env().state_dir / "report" / "index.html"
    write(warehouse_dsn(WAREHOUSE_SYNC), path, at=run_moment())
    return str(path)


def skip_described_project() -> None:
    """Ends the run when the page already describes this project and is not a day old."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.dbt_docs import docs_page, is_due

    if not is_due(docs_page(), at=run_moment()):
        raise AirflowSkipException("nothing changed")


def publish_docs(project_dir: str, **_: object) -> None:
    """Cosmos' callback after the docs are made: puts the page where it is read."""
    from lettertrail.airflow.dbt_docs import docs_page, publish

    publish(Path(project_dir) / "target" / "static_index.html", docs_page())


def _pushed(sync: Callable[[], SyncResult]) -> dict[str, Any]:
    """A hold is no failure of the push: the rest went out, and a person is asked about what was held."""
    try:
        return asdict(sync())
    except BrakeApplied as hold:
        log.warning("%s", hold)
        return {"held": str(hold)}


class _Common(TypedDict):
    """What every push is given."""

    warehouse_dsn: str
    run_id: str
    clock: Clock
    marks: Marks


def _common() -> _Common:
    """Comes before the destination is made: what is made from here on counts its calls with all other processes."""
    from lettertrail.airflow.connections import share_rates, warehouse_dsn
    from lettertrail.audiences.state import Marks

    share_rates(WAREHOUSE_SYNC)
    return {
        "warehouse_dsn": warehouse_dsn(WAREHOUSE_SYNC),
        "run_id": run_label(),
        "clock": system_clock,
        "marks": Marks(Settings.from_env().state_dir / "sync_marks"),
    }


def _entry(table: str) -> TableEntry:
    from lettertrail.bitrix.catalog import load_catalog

    return next(entry for entry in load_catalog() if entry.name == table)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _summary(result: LoadResult) -> dict[str, Any]:
    return asdict(result)
