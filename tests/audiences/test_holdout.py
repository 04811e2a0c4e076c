"""Who takes part in a segment's trial, and when, as the push writes it down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.audiences.fakes import FakeDestination, Warehouse

from lettertrail.errors import BrakeApplied

PEOPLE = [f"p{number}@example.com" for number in range(200)]


def draws(warehouse: Warehouse) -> dict[str, Any]:
    """Person -> whether held out."""
    rows = warehouse.query("select person_id, is_held_out from ops.holdouts")
    return {row["person_id"]: row["is_held_out"] for row in rows}


def people_of(warehouse: Warehouse, emails: set[str]) -> set[str]:
    """Their ids in the segment."""
    rows = warehouse.query("select email, person_id::text as person_id from segments.seg_lapsed")
    return {row["person_id"] for row in rows if row["email"] in emails}


@pytest.fixture
def trial(warehouse: Warehouse) -> Warehouse:
    """A segment of 200 that holds 20 % out."""
    warehouse.segment = replace(warehouse.segment, holdout_pct=20, max_removed_pct=100, max_added_pct=1000)
    warehouse.fill_segment(*PEOPLE)
    return warehouse


def test_both_sides_are_written_down(trial: Warehouse) -> None:
    """Who is in the audience was drawn to be sent, everybody else of the segment was held out."""
    mailchimp = FakeDestination()

    trial.sync_segment(mailchimp)

    drawn = draws(trial)
    sent = {person for person, held_out in drawn.items() if not held_out}
    assert len(drawn) == 200
    assert sent == people_of(trial, mailchimp.audiences["lapsed"])
    assert 20 <= 200 - len(sent) <= 60
    assert trial.query("select distinct segment, holdout_pct from ops.holdouts") == [
        {"segment": trial.segment.name, "holdout_pct": 20}
    ]


def test_a_later_run_moves_nobody(trial: Warehouse) -> None:
    """Only who is new is added, from their own day on; who left stays in the trial."""
    mailchimp = FakeDestination()
    trial.fill_segment(*PEOPLE[:100])
    trial.sync_segment(mailchimp)
    first = trial.query("select * from ops.holdouts order by person_id")
    trial.later(days=1)
    trial.fill_segment(*PEOPLE[50:])

    trial.sync_segment(mailchimp)

    later = trial.query("select * from ops.holdouts order by person_id")
    assert len(later) == 200
    assert [row for row in later if row["assigned_at"] == first[0]["assigned_at"]] == first
    assert {row["assigned_at"] - first[0]["assigned_at"] for row in later} == {timedelta(0), timedelta(days=1)}


def test_another_share_is_another_trial(trial: Warehouse) -> None:
    """The first one's rows stay as they are."""
    mailchimp = FakeDestination()
    trial.sync_segment(mailchimp)
    trial.segment = replace(trial.segment, holdout_pct=40)

    trial.sync_segment(mailchimp, release_brake=True)

    shares = trial.query("select holdout_pct::int as pct, count(*) as people from ops.holdouts group by 1 order by 1")
    assert shares == [{"pct": 20, "people": 200}, {"pct": 40, "people": 200}]


def test_who_must_not_or_need_not_be_sent_takes_no_part(trial: Warehouse) -> None:
    """Suppressed people are on no side, nor are members that were there without our doing."""
    trial.suppress(*PEOPLE[:10])
    mailchimp = FakeDestination()
    mailchimp.audiences["lapsed"] = set(PEOPLE[10:30])

    trial.sync_segment(mailchimp)

    assert draws(trial).keys() == people_of(trial, set(PEOPLE[30:]))


def test_nothing_is_written_down_before_anybody_is_sent(trial: Warehouse) -> None:
    """Not by a dry run, not while the brake holds the additions, not for a segment without a holdout."""
    trial.sync_segment(FakeDestination(), dry_run=True)
    assert draws(trial) == {}

    trial.now += timedelta(hours=30)
    with pytest.raises(BrakeApplied, match="hours old"):
        trial.sync_segment(FakeDestination())
    assert draws(trial) == {}


def test_a_segment_without_a_holdout_has_no_trial(warehouse: Warehouse) -> None:
    """There is nobody to compare with."""
    warehouse.fill_segment(*PEOPLE)

    warehouse.sync_segment(FakeDestination())

    assert draws(warehouse) == {}
