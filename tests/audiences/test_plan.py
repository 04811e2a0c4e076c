"""The plan in SQL says what a plain Python model of the rules says, whatever the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.audiences.fakes import NOON, Warehouse

from lettertrail.audiences.plan import Plan, Target, plan_segment, plan_suppressions
from lettertrail.audiences.segments import Segment
from lettertrail.warehouse.connect import connect

PEOPLE = [f"p{number}@example.com" for number in range(8)]
VALUES = ("member", "found", "add_refused", "remove_refused")
OURS = ("member", "remove_refused")
TARGET = Target("mailchimp", "mailchimp", "lapsed")
SUPPRESSIONS = Target("mailchimp", "mailchimp", "suppressions")


@dataclass(frozen=True)
class Case:
    people: frozenset[str]
    suppressed: frozenset[str]
    confirmed: dict[str, str]
    mode: str


CASES = st.builds(
    Case,
    people=st.frozensets(st.sampled_from(PEOPLE)),
    suppressed=st.frozensets(st.sampled_from(PEOPLE)),
    confirmed=st.dictionaries(st.sampled_from(PEOPLE), st.sampled_from(VALUES)),
    mode=st.sampled_from(("mirror", "upsert", "suppress_only")),
)


def planned_rows(warehouse: Warehouse, segment: Segment) -> tuple[set[tuple[str, str]], Plan]:
    with connect(warehouse.dsn, purpose="test") as connection:
        plan = plan_segment(connection, segment, TARGET, sends_attributes=False, at=warehouse.now)
        rows = connection.execute("select action, record_key from planned").fetchall()
    return {(action, key) for action, key in rows}, plan


def expected(case: Case) -> set[tuple[str, str]]:
    """The rules in words of sets. Refusals in these cases are younger than a week."""
    members = {key for key, value in case.confirmed.items() if value in OURS}
    desired = case.people - case.suppressed
    adds = desired - {key for key, value in case.confirmed.items() if value != "remove_refused"}
    leavers = members - case.people if case.mode == "mirror" else set()
    removes = (members & case.suppressed) | leavers
    removes -= {key for key, value in case.confirmed.items() if value == "remove_refused"}
    if case.mode == "suppress_only":
        adds = set()
    return {("add", key) for key in adds} | {("remove", key) for key in removes}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES)
def test_segment_plan_is_the_difference(warehouse: Warehouse, case: Case) -> None:
    """Additions, removals and nothing else, with the suppressed subtracted in every mode."""
    warehouse.execute("truncate marts.dim_suppression, ops.acknowledged")
    warehouse.fill_segment(*case.people)
    warehouse.suppress(*case.suppressed)
    for key, value in case.confirmed.items():
        warehouse.execute(
            "insert into ops.acknowledged values ('mailchimp', 'mailchimp', 'lapsed', %s, %s, %s)",
            [key, value, warehouse.now],
        )

    rows, plan = planned_rows(warehouse, replace(warehouse.segment, mode=case.mode))

    assert rows == expected(case)
    assert plan.planned == len(rows)
    assert plan.audience_size == len(case.people)
    assert plan.subtracted == len(case.people & case.suppressed)
    assert plan.acknowledged == sum(value in OURS for value in case.confirmed.values())
    assert plan.members == sum(value != "add_refused" for value in case.confirmed.values())
    assert not {key for action, key in rows if action == "add"} & case.suppressed


def test_a_plan_tells_reasons_and_a_sample_without_addresses(warehouse: Warehouse) -> None:
    """What a person reads before releasing the brake."""
    warehouse.fill_segment(*PEOPLE)

    _, plan = planned_rows(warehouse, warehouse.segment)

    assert [(line.action, line.reason, line.has_evidence, line.records) for line in plan.lines] == [
        ("add", "joined the segment", False, 8)
    ]
    assert len({sample.fingerprint for sample in plan.sample}) == 5
    assert "@" not in repr(plan)


def test_holdout_draws_the_same_share_every_time(warehouse: Warehouse) -> None:
    """About a tenth is held out, always the same people, and other people for another segment."""
    warehouse.execute(
        "insert into segments.seg_lapsed select 'p' || n || '@example.com', n::text from generate_series(1, 4000) as n"
    )
    held = replace(warehouse.segment, holdout_pct=10)

    first, plan = planned_rows(warehouse, held)
    again, _ = planned_rows(warehouse, held)
    other, _ = planned_rows(warehouse, replace(held, name="seg_other"))

    assert first == again
    assert first != other
    assert 300 < plan.held_out < 500
    assert len(first) == 4000 - plan.held_out


def test_members_drawn_into_the_holdout_leave(warehouse: Warehouse) -> None:
    """A holdout set later takes its people out of the audience; the brake sees these as ordinary removals."""
    warehouse.fill_segment(*PEOPLE)
    warehouse.execute(
        "insert into ops.acknowledged select 'mailchimp', 'mailchimp', 'lapsed', email, 'member', now()"
        " from segments.seg_lapsed"
    )

    _, plan = planned_rows(warehouse, replace(warehouse.segment, holdout_pct=100))

    assert [(line.action, line.reason, line.has_evidence, line.records) for line in plan.lines] == [
        ("remove", "held out", False, 8)
    ]


def test_one_person_with_two_rows_is_planned_once(warehouse: Warehouse) -> None:
    """Two spellings of an address are one record."""
    warehouse.fill_segment("ann@example.com", " Ann@Example.com")

    rows, _ = planned_rows(warehouse, warehouse.segment)

    assert rows == {("add", "ann@example.com")}


@pytest.mark.parametrize(
    ("status", "is_planned"),
    [
        ("subscribed", True),
        ("pending", True),
        ("unknown", True),
        ("unsubscribed", False),
        ("cleaned", False),
        ("archived", False),
        ("transactional", False),
    ],
)
def test_only_addresses_that_could_be_mailed_are_suppressed(
    warehouse: Warehouse, status: str, is_planned: bool
) -> None:
    """What the account cannot mail anyway costs no call; a word we do not know is taken for mailable."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com", status=status)

    with connect(warehouse.dsn, purpose="test") as connection:
        plan = plan_suppressions(connection, SUPPRESSIONS, at=NOON)

    assert plan.count("suppress") == is_planned


def test_another_account_is_another_matter(warehouse: Warehouse) -> None:
    """A contact of a second account of the same ESP is suppressed there, not here."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com", account="mailchimp__b2b")

    with connect(warehouse.dsn, purpose="test") as connection:
        here = plan_suppressions(connection, SUPPRESSIONS, at=NOON)
        there = plan_suppressions(connection, replace(SUPPRESSIONS, account="mailchimp__b2b"), at=NOON)

    assert (here.planned, there.planned) == (0, 1)


def test_suppression_for_one_topic_does_not_suppress_everything(warehouse: Warehouse) -> None:
    """Only the scope everything keeps a person from being mailed at all."""
    warehouse.fill_segment("ann@example.com")
    warehouse.suppress("ann@example.com")
    warehouse.execute("update marts.dim_suppression set scope = 'news'")

    rows, plan = planned_rows(warehouse, warehouse.segment)

    assert rows == {("add", "ann@example.com")}
    assert plan.suppression_size == 0


def test_a_refused_suppression_is_asked_again_when_the_contact_changed(warehouse: Warehouse) -> None:
    """Not at every run, but as soon as the account shows it mailable anew, and after a week anyway."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    warehouse.execute(
        "insert into ops.acknowledged values"
        " ('mailchimp', 'mailchimp', 'suppressions', 'ann@example.com', 'suppress_refused', %s)",
        [NOON],
    )

    def planned(after: timedelta) -> int:
        with connect(warehouse.dsn, purpose="test") as connection:
            return plan_suppressions(connection, SUPPRESSIONS, at=NOON + after).planned

    assert planned(timedelta(days=1)) == 0
    assert planned(timedelta(days=8)) == 1
    warehouse.now = NOON + timedelta(hours=1)
    warehouse.contact("ann@example.com")
    assert planned(timedelta(days=1)) == 1
