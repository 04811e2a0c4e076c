"""What a plan says it would call is what is called, at each service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.audiences.fakes import FakeDestination, Warehouse
from tests.contract.esputnik_service import esputnik_service
from tests.contract.mailchimp_service import mailchimp_service
from tests.contract.sendpulse_service import sendpulse_service
from tests.contract.unisender_service import unisender_service

from lettertrail import esps
from lettertrail.audiences.push import sync_segment
from lettertrail.audiences.segments import Segment
from lettertrail.audiences.shown import as_markdown

SERVICES = {
    "esputnik": esputnik_service,
    "mailchimp": mailchimp_service,
    "sendpulse": sendpulse_service,
    "unisender": unisender_service,
}
PEOPLE = [f"crowd{number:04}@example.com" for number in range(620)]


def test_every_service_says_where_its_writes_go() -> None:
    """A plan for it can be shown as calls; none is left to guess."""
    assert set(SERVICES) == set(esps.names())
    for name in esps.names():
        assert set(esps.load(name).endpoints) == {"suppress", "add", "add_bare", "remove"}, name


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_the_plan_names_the_calls_that_are_made(name: str, warehouse: Warehouse, tmp_path: Path) -> None:
    """620 additions with a field, then 610 removals: as many calls as the plan said, at the endpoints it said."""
    serve: Callable[..., AbstractContextManager[Any]] = SERVICES[name]
    warehouse.segment = Segment("seg_lapsed", "segments.seg_lapsed", "lapsed", (name,), max_removed_pct=100)
    with serve(tmp_path) as service:
        service.enrol(PEOPLE)
        warehouse.execute(f'alter table segments.seg_lapsed add column "{service.field}" text')
        warehouse.fill_all(PEOPLE)
        warehouse.execute(f"""update segments.seg_lapsed set "{service.field}" = 'A'""")
        push(warehouse, service)
        warehouse.fill_all(PEOPLE[:10])
        warehouse.execute(f"""update segments.seg_lapsed set "{service.field}" = 'A'""")
        push(warehouse, service)

    assert warehouse.query("select count(*) from ops.sync_runs where rejected + held + retry_pending > 0") == [
        {"count": 0}
    ]
    for run in warehouse.query("select sync_run_id, plan -> 'calls' as calls from ops.sync_runs order by sync_run_id"):
        said = {call["call"].partition(" ")[0]: call["calls"] for call in run["calls"]}
        made = Counter(
            row["method"]
            for row in warehouse.query(
                "select method from ops.sync_calls where sync_run_id = %s and records > 1", [run["sync_run_id"]]
            )
        )
        assert made == said


def push(warehouse: Warehouse, service: Any) -> None:
    """Through the adapter, as the DAG does."""
    sync_segment(
        warehouse.segment,
        service.adapter(),
        warehouse.dsn,
        run_id="run",
        clock=lambda: warehouse.now,
        dry_run=False,
    )


def test_a_dry_run_shows_the_plan_and_calls_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    """The whole plan is on file, without an address, and the service received no write."""
    with mailchimp_service(tmp_path) as service:
        service.enrol(PEOPLE)
        warehouse.fill_all(PEOPLE)

        warehouse.sync_segment(service.adapter(), dry_run=True)

        assert service.writes() == []
    (run,) = warehouse.query("select plan from ops.sync_runs")
    text = as_markdown(run["plan"])
    assert "| add | 620 | joined the segment |" in text
    assert "| 2 | 620 | add: POST /lists/{list}/segments/{segment} |" in text
    assert "@" not in text


def test_what_a_destination_does_not_say_is_unknown(warehouse: Warehouse) -> None:
    """Not 0."""
    warehouse.fill_all(PEOPLE)
    warehouse.sync_segment(FakeDestination())

    (run,) = warehouse.query("select plan from ops.sync_runs")

    assert run["plan"]["calls"] == [{"action": "add", "records": 620, "call": "unknown", "calls": None, "times": None}]
