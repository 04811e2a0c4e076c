"""What the brake held is asked about once, and an approval is a ceiling."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.audiences.fakes import FakeDestination, Warehouse

from lettertrail.audiences.approvals import VALID, WAIT, Question, answer, ask
from lettertrail.errors import BrakeApplied, ConfigurationError

PEOPLE = [f"{name}@example.com" for name in ("ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon")]


@pytest.fixture
def mailchimp(warehouse: Warehouse) -> FakeDestination:
    """Ten members, of whom the next plan takes out four: more than a fifth."""
    esp = FakeDestination()
    warehouse.fill_segment(*PEOPLE)
    warehouse.sync_segment(esp)
    warehouse.fill_segment(*PEOPLE[:6])
    hold(warehouse, esp)
    return esp


def hold(warehouse: Warehouse, esp: FakeDestination) -> str:
    """A push that the brake stops; gives its reason."""
    with pytest.raises(BrakeApplied) as held:
        warehouse.sync_segment(esp)
    return str(held.value)


def asked(warehouse: Warehouse) -> list[Question]:
    return ask(warehouse.dsn, at=warehouse.now)


def say(warehouse: Warehouse, question: Question, *, is_approved: bool = True, by: str | None = "7") -> None:
    answer(warehouse.dsn, question.approval_id, is_approved=is_approved, by=by, at=warehouse.now)


def stored(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.query("select ceiling, out_of, answer, spent from ops.approvals order by approval_id")


def test_the_question_shows_the_plan_and_no_address(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Counts, the reason, the calls, fingerprints; and what the destination does not say is unknown, not 0."""
    (question,) = asked(warehouse)

    assert question.subject == "mailchimp lapsed: remove 4 of 10 records?"
    assert "| remove | 4 | left the segment |" in question.body
    assert "over max_removed_pct 20" in question.body
    assert "| unknown | 4 | remove: unknown |" in question.body
    assert "@" not in question.subject + question.body
    assert asked(warehouse) == []


def test_an_approved_plan_goes_through_once(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """The next push takes what was approved off the ceiling; later removals are judged as ever."""
    (question,) = asked(warehouse)
    say(warehouse, question)

    result = warehouse.sync_segment(mailchimp)

    assert (result.applied, result.held) == (4, 0)
    assert stored(warehouse) == [{"ceiling": 4, "out_of": 10, "answer": "approved", "spent": 4}]
    warehouse.fill_segment(*PEOPLE[:2])
    assert "approved were at most 0" in hold(warehouse, mailchimp)


def test_a_larger_plan_is_held_and_asked_again(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Four were approved, five are planned now: none goes, and the new question says five."""
    (question,) = asked(warehouse)
    say(warehouse, question)
    warehouse.fill_segment(*PEOPLE[:5])

    assert "approved were at most 4" in hold(warehouse, mailchimp)

    assert mailchimp.audiences["lapsed"] == set(PEOPLE)
    assert [one.subject for one in asked(warehouse)] == ["mailchimp lapsed: remove 5 of 10 records?"]


def test_what_was_cut_off_goes_on_under_the_same_approval(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """A service that was down spends nothing of the ceiling."""
    (question,) = asked(warehouse)
    say(warehouse, question)
    mailchimp.faults = ["down"]
    with pytest.raises(Exception, match="wait for the next run"):
        warehouse.sync_segment(mailchimp)
    assert stored(warehouse)[0]["spent"] == 0

    assert warehouse.sync_segment(mailchimp).applied == 4


def test_an_approval_does_not_last(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """A day later it is asked again."""
    (question,) = asked(warehouse)
    say(warehouse, question)
    warehouse.later(hours=VALID / timedelta(hours=1))

    assert "approved" not in hold(warehouse, mailchimp).partition("held (")[2].partition(")")[0]
    assert len(asked(warehouse)) == 1


@pytest.mark.parametrize(("by", "told"), [("7", "declined"), (None, "unanswered")])
def test_a_refusal_is_not_asked_again_for_a_day(
    warehouse: Warehouse, mailchimp: FakeDestination, by: str | None, told: str
) -> None:
    """Nobody answering is a refusal, too; whatever was chosen for them."""
    (question,) = asked(warehouse)
    say(warehouse, question, is_approved=by is None, by=by)

    hold(warehouse, mailchimp)

    assert stored(warehouse)[0]["answer"] == told
    assert asked(warehouse) == []
    warehouse.later(hours=25)
    hold(warehouse, mailchimp)
    assert len(asked(warehouse)) == 1


def test_old_marts_are_not_a_matter_of_approval(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """What is known is in doubt: nobody is asked, and an approval given before does not count."""
    (question,) = asked(warehouse)
    say(warehouse, question)
    warehouse.execute("update ops.segments set published_at = published_at - interval '30 hours'")

    assert "the marts are 30 hours old" in hold(warehouse, mailchimp)
    assert asked(warehouse) == []


def test_a_question_is_answered_once(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """The second answer is refused, not written over the first."""
    (question,) = asked(warehouse)
    say(warehouse, question, is_approved=False)

    with pytest.raises(ConfigurationError, match="not open any more"):
        say(warehouse, question)

    assert stored(warehouse)[0]["answer"] == "declined"


def test_a_question_nobody_kept_is_asked_again(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Airflow lost the run that waited: after its time the question is open to be asked anew."""
    asked(warehouse)
    warehouse.later(hours=WAIT / timedelta(hours=1) + 1)

    assert len(asked(warehouse)) == 1
