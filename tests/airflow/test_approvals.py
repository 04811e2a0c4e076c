"""The question to a person: what becomes of each answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.audiences.fakes import FakeDestination, Warehouse

from lettertrail.errors import BrakeApplied

AT = datetime(2026, 11, 1, 13, tzinfo=UTC)
PEOPLE = [f"{number}@example.com" for number in range(10)]


@pytest.fixture
def warehouse(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, airflow_home: None) -> Iterator[Warehouse]:
    """A push of ten members of which seven are to be removed, held; and the connection the task looks for."""
    from lettertrail.airflow import tasks  # noqa: PLC0415

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_SYNC", warehouse_dsn)
    made = Warehouse(warehouse_dsn)
    monkeypatch.setattr(tasks, "system_clock", lambda: made.now)
    esp = FakeDestination()
    made.fill_segment(*PEOPLE)
    made.sync_segment(esp)
    made.fill_segment(*PEOPLE[:3])
    with pytest.raises(BrakeApplied):
        made.sync_segment(esp)
    yield made
    made.close()


def resumed(question: dict[str, Any], chosen: str, user: dict[str, str] | None) -> dict[str, Any]:
    """The task as Airflow wakes it, with an answer or with the default after the time-out."""
    from lettertrail.airflow.approvals import HeldPlanQuestion  # noqa: PLC0415

    event = {"chosen_options": [chosen], "params_input": {}, "responded_at": AT, "responded_by_user": user}
    return HeldPlanQuestion(task_id="decide", **question).execute_complete({}, event)


def kept(warehouse: Warehouse) -> tuple[str, str | None]:
    (row,) = warehouse.query("select answer, answered_by from ops.approvals")
    return row["answer"], row["answered_by"]


def test_each_answer_has_its_end(warehouse: Warehouse) -> None:
    """Approved: success, which starts the push. The user's name, which may be an address, is kept nowhere."""
    from lettertrail.airflow.tasks import ask_about_held  # noqa: PLC0415

    (question,) = ask_about_held()

    told = resumed(question, "Approve", {"id": "7", "name": "boss@example.com"})

    assert told == {"approval_id": question["approval_id"], "is_approved": True}
    assert kept(warehouse) == ("approved", "7")


def test_a_declined_question_is_skipped(warehouse: Warehouse) -> None:
    """No success, so no push is started; no failure either, for somebody looked."""
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    from lettertrail.airflow.tasks import ask_about_held  # noqa: PLC0415

    (question,) = ask_about_held()
    with pytest.raises(AirflowSkipException):
        resumed(question, "Decline", {"id": "7", "name": "boss"})
    assert kept(warehouse) == ("declined", "7")
    with pytest.raises(AirflowSkipException, match="nothing is held that was not asked about"):
        ask_about_held()


@pytest.mark.parametrize("default", ["Decline", "Approve"])
def test_no_answer_in_time_is_not_approved(warehouse: Warehouse, default: str) -> None:
    """Whatever stands for the missing answer, the task fails, so that somebody hears of it."""
    from lettertrail.airflow.tasks import ask_about_held  # noqa: PLC0415

    (question,) = ask_about_held()
    with pytest.raises(BrakeApplied, match="Nobody answered"):
        resumed(question, default, None)
    assert kept(warehouse) == ("unanswered", None)


def test_a_held_push_is_no_failed_task() -> None:
    """What follows a push (the segments after the suppressions) does not wait for a person."""
    from lettertrail.airflow.tasks import _pushed  # noqa: PLC0415

    def held() -> Any:
        raise BrakeApplied("7 of 10 records to remove")

    assert _pushed(held) == {"held": "7 of 10 records to remove"}
