"""The brake, which is pure: numbers in, what to hold out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audiences.fakes import NOON

from lettertrail.audiences.brake import Hold, Limits, holds
from lettertrail.audiences.plan import Plan, PlanLine

DEFAULT = Limits()
COUNTS = st.integers(min_value=0, max_value=2_000)


def plan(
    *,
    add: int = 0,
    remove: int = 0,
    evidenced: int = 0,
    release: int = 0,
    suppress: int = 0,
    acknowledged: int = 100,
    size: int | None = 80,
    suppression_size: int = 10,
    suppressed_before: int = 10,
) -> Plan:
    lines = [
        PlanLine("add", "joined the segment", False, add),
        PlanLine("release", "newer consent", False, release),
        PlanLine("remove", "left the segment", False, remove),
        PlanLine("remove", "suppressed: unsubscribed", True, evidenced),
        PlanLine("suppress", "suppressed: unsubscribed", True, suppress),
    ]
    return Plan(
        lines=tuple(line for line in lines if line.records),
        acknowledged=acknowledged,
        suppression_size=suppression_size,
        suppressed_before=suppressed_before,
        audience_size=size,
    )


def judge(planned: Plan, limits: Limits = DEFAULT, *, age: timedelta | None = timedelta(hours=1)) -> tuple[Hold, ...]:
    return holds(planned, limits, marts_built_at=None if age is None else NOON - age, at=NOON)


@pytest.mark.parametrize(("remove", "is_held"), [(0, False), (20, False), (21, True), (100, True)])
def test_removals_over_the_percentage_are_held(remove: int, is_held: bool) -> None:
    """20 of 100 pass at max_removed_pct 20, 21 do not."""
    assert [hold.action for hold in judge(plan(remove=remove))] == (["remove"] if is_held else [])


def test_removals_over_the_number_are_held() -> None:
    """max_removed_rows holds where the percentage would not."""
    (hold,) = judge(plan(remove=6, acknowledged=1_000), Limits(max_removed_rows=5))

    assert hold == Hold("remove", "6 records to remove, over max_removed_rows 5")


def test_an_empty_segment_is_held_whatever_the_limit() -> None:
    """A segment that selects nobody is taken for a mistake."""
    (hold,) = judge(plan(remove=3, size=0), Limits(max_removed_pct=100))

    assert "the segment is empty" in hold.why


def test_few_releases_are_tolerated() -> None:
    """One contact of three who consented again is no accident."""
    limits = Limits(tolerated_rows=10)

    assert judge(plan(release=1, acknowledged=3, size=None), limits) == ()
    assert [hold.action for hold in judge(plan(release=11, acknowledged=30, size=None), limits)] == ["release"]


@pytest.mark.parametrize(
    ("age", "said"),
    [(None, "nobody knows"), (timedelta(hours=27), "27 hours old"), (timedelta(hours=26), None)],
)
def test_old_marts_hold_every_step_that_needs_fresh_knowledge(age: timedelta | None, said: str | None) -> None:
    """Who left since is not known, so nobody is added, removed or released."""
    found = judge(plan(add=1, remove=1, release=1, suppress=5, evidenced=5), age=age)

    assert [hold.action for hold in found] == (["add", "remove", "release"] if said else [])
    assert all(said in hold.why for hold in found if said)


def test_an_emptied_suppression_list_holds_additions() -> None:
    """Confirmed suppressions without a single row in dim_suppression: the build lost it."""
    (hold,) = judge(plan(add=1, suppression_size=0))

    assert hold.action == "add"
    assert judge(plan(add=1, suppression_size=0, suppressed_before=0)) == ()


@given(add=COUNTS, remove=COUNTS, evidenced=COUNTS, release=COUNTS, suppress=COUNTS, acknowledged=COUNTS, size=COUNTS)
def test_evidence_is_never_held_and_holds_are_about_planned_actions(**numbers: int) -> None:
    """Whatever the numbers: at most one hold per action, only for what is planned, never for suppressing."""
    planned = plan(**numbers)

    found = judge(planned)

    actions = [hold.action for hold in found]
    assert len(actions) == len(set(actions))
    assert "suppress" not in actions
    assert all(planned.count(action, has_evidence=False) for action in actions)


@given(remove=COUNTS, acknowledged=COUNTS, size=COUNTS, pct=st.integers(min_value=0, max_value=100))
def test_what_passes_is_within_the_limit(remove: int, acknowledged: int, size: int, pct: int) -> None:
    """Removals that are not held never exceed the stated share of the confirmed membership."""
    if not judge(plan(remove=remove, acknowledged=acknowledged, size=size), Limits(max_removed_pct=pct)):
        assert remove * 100 <= pct * acknowledged


@given(remove=COUNTS, less=COUNTS, acknowledged=COUNTS)
def test_a_smaller_plan_is_never_held_when_the_larger_passes(remove: int, less: int, acknowledged: int) -> None:
    """The brake is monotonous."""
    if not judge(plan(remove=remove, acknowledged=acknowledged)):
        assert not judge(plan(remove=max(0, remove - less), acknowledged=acknowledged))
