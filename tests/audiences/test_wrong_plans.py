"""No wrong plan reaches a service, no evidence waits for one, and ninety ordinary days need nobody.

The kinds are listed in `wrong_plans.py`, the days in `normal_days.py`. `python -m bench.activation` counts over them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse
from tests.audiences.normal_days import PEOPLE, Day, Shop
from tests.audiences.wrong_plans import CROWD, WRONG_PLANS, WrongPlan, destructive, leave, staged
from tests.conftest import TEMPLATE
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from lettertrail.audiences.push import SyncResult
from lettertrail.audiences.segments import Segment
from lettertrail.errors import BrakeApplied
from lettertrail.warehouse.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailchimpService]:
    """One account for all kinds; each has an audience of its own."""
    with mailchimp_service(tmp_path_factory.mktemp("service"), is_empty=True) as running:
        running.enrol(CROWD)
        yield running


@pytest.fixture(scope="module")
def stage_warehouse(postgres: EmbeddedPostgres) -> Iterator[Warehouse]:
    """One warehouse for all kinds; each begins with an empty ledger."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    made = Warehouse(postgres.dsn(name))
    yield made
    made.close()
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


def test_there_are_twenty_four_kinds() -> None:
    """Each once."""
    assert len({plan.name for plan in WRONG_PLANS}) == len({plan.spoil for plan in WRONG_PLANS}) == 24


@pytest.mark.parametrize("number", range(24), ids=[plan.name for plan in WRONG_PLANS])
def test_a_wrong_plan_is_stopped_with_its_reason(
    stage_warehouse: Warehouse, service: MailchimpService, tmp_path: Path, number: int
) -> None:
    """Nothing destructive reaches the service, the reason is on file, and who left is told of at once."""
    plan: WrongPlan = WRONG_PLANS[number]
    with staged(stage_warehouse, service, tmp_path, number) as stage:
        plan.spoil(stage)
        if plan.knows_leavers:
            leave(stage)
        before, seen = stage.members(), len(service.lines())

        suppressions, segment = stage.push()

        assert destructive(stage, plan, service.lines()[seen:]) == []
        assert before - stage.members() <= {stage.leaver}
        if "add" in plan.forbidden:
            assert stage.members() <= before
        assert not isinstance(segment, SyncResult)
        assert plan.says in str(segment)
        assert "@" not in str(segment)
        if plan.knows_leavers:
            assert stage.is_told(stage.leaver)
            assert isinstance(suppressions, SyncResult)
            assert suppressions.held == 0
        assert stage_warehouse.unbalanced() == []


@pytest.mark.parametrize(
    ("says", "spoil"),
    [
        ("over max_removed_pct 20", "select"),
        ("read from the destination anew", "truncate ops.acknowledged"),
        ("dim_suppression is empty", "truncate marts.dim_suppression"),
    ],
    ids=["consent comes back for everybody", "what was confirmed is lost", "dim_suppression is empty"],
)
def test_the_crm_releases_nobody_by_a_wrong_plan(stage_warehouse: Warehouse, says: str, spoil: str) -> None:
    """At the CRM taking back is a release: the same kinds stop it, and only what we suppressed was ever at stake."""
    warehouse = stage_warehouse
    warehouse.reset()
    warehouse.suppress("somebody@example.com")
    warehouse.crm(**{f"c{number}": False for number in range(1, 41)})
    bitrix = FakeCrm()
    bitrix.marked = {"1", "2", "3"}
    warehouse.sync_suppressions(bitrix)
    warehouse.crm(**{f"c{number}": number > 39 or number < 37 for number in range(1, 41)}, c41=False)
    warehouse.execute(spoil)

    with pytest.raises(BrakeApplied, match=says):
        warehouse.sync_suppressions(bitrix)

    assert bitrix.writes["release"] == 0
    assert bitrix.marked == {str(number) for number in range(1, 42)}


def test_ordinary_days_need_nobody(stage_warehouse: Warehouse) -> None:
    """Days with a campaign, birthdays and a segment of eight: no hold, and the audiences are right every day."""
    assert live(stage_warehouse, FakeDestination(), days=12) == []


def live(warehouse: Warehouse, esp: FakeDestination, *, days: int) -> list[str]:
    """Lives through ordinary days; gives the holds."""
    warehouse.reset()
    warehouse.execute("alter table segments.seg_lapsed add column if not exists step int")
    found = []
    for day in Shop().days(days):
        warehouse.later(days=1) if day.number else warehouse.build()
        esp.contacts.update(PEOPLE)
        found += list(_live_a_day(warehouse, esp, day))
    warehouse.execute("alter table segments.seg_lapsed drop column step")
    return found


def _live_a_day(warehouse: Warehouse, esp: FakeDestination, day: Day) -> Iterator[str]:
    warehouse.suppress(*day.left)
    warehouse.contact(*day.left)
    warehouse.sync_suppressions(esp)
    gone = {row["email"] for row in warehouse.query("select email from marts.dim_suppression")}
    for name, people in day.segments.items():
        warehouse.segment = Segment(
            f"seg_{name}",
            "segments.seg_lapsed",
            name,
            ("mailchimp",),
            max_removed_pct=100 if name == "birthdays" else 20,
        )
        warehouse.fill_all(people)
        warehouse.execute("update segments.seg_lapsed set step = %s", [day.step])
        try:
            warehouse.sync_segment(esp)
        except BrakeApplied as hold:
            yield f"day {day.number}: {hold}"
        else:
            assert esp.audiences[name] == set(people) - gone
