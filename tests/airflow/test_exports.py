"""Jobs of a service, waited for in the triggerer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lettertrail.errors import AuthenticationError, LetterTrailError, RateLimited, TemporaryApiError
from lettertrail.esps.port import Export

JOBS = [{"kind": "contacts", "job_id": "1"}, {"kind": "events", "job_id": "2"}]


class Service:
    """Answers about jobs what the test says, one word per asking; the last word stays."""

    def __init__(self, **words: list[bool | LetterTrailError]) -> None:
        self.words = words
        self.asked: list[str] = []

    def is_ready(self, export: Export) -> bool:
        """The next word about that job."""
        self.asked.append(export.kind)
        left = self.words[export.kind]
        word = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(word, LetterTrailError):
            raise word
        return word


def event_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the trigger ends with; it goes through its serialised form, as in the triggerer."""
    from airflow.sdk import BaseHook  # noqa: PLC0415

    from lettertrail.airflow import connections, exports  # noqa: PLC0415

    async def connection(conn_id: str) -> SimpleNamespace:
        return SimpleNamespace(conn_id=conn_id)

    async def events() -> list[dict[str, Any]]:
        _, values = exports.ExportsTrigger("esputnik", JOBS, 0.01).serialize()
        return [event.payload async for event in exports.ExportsTrigger(**values).run()]

    monkeypatch.setattr(BaseHook, "aget_connection", connection)
    monkeypatch.setattr(connections, "esp_of", lambda conn_id, connection: service)
    (event,) = asyncio.run(events())
    return event


def test_it_waits_until_none_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are asked after in turn, and those that are done not again."""
    service = Service(contacts=[True], events=[False, False, True])
    assert event_of(service, monkeypatch) == {"ready": JOBS, "refused": None}
    assert service.asked == ["contacts", "events", "events", "events"]


def test_a_job_that_failed_is_left_to_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are not lost for it."""
    service = Service(contacts=[TemporaryApiError("esputnik", "the job failed")], events=[True])
    assert event_of(service, monkeypatch) == {"ready": JOBS[1:], "refused": None}


def test_a_throttled_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again."""
    service = Service(contacts=[RateLimited("esputnik", "slow down"), True], events=[True])
    event = event_of(service, monkeypatch)
    assert {job["kind"] for job in event["ready"]} == {"contacts", "events"}


def test_a_refused_key_ends_the_task_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retrying would ask for nothing three times more."""
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    from lettertrail.airflow.exports import WaitForExports  # noqa: PLC0415

    service = Service(contacts=[AuthenticationError("esputnik", "the key was refused")], events=[True])
    event = event_of(service, monkeypatch)
    operator = WaitForExports(task_id="wait", conn_id="esputnik", exports=JOBS)
    with pytest.raises(AirflowFailException, match="the key was refused"):
        operator.resume({}, event)


def test_without_jobs_nothing_is_deferred() -> None:
    """Most services answer at once, and a deferral costs a turn of the triggerer."""
    from lettertrail.airflow.exports import WaitForExports  # noqa: PLC0415

    assert WaitForExports(task_id="wait", conn_id="mailchimp", exports=[]).execute({}) == []


def test_with_jobs_the_worker_is_given_back() -> None:
    """The trigger gets the jobs, and the task goes on in `resume`."""
    from airflow.sdk.exceptions import TaskDeferred  # noqa: PLC0415

    from lettertrail.airflow.exports import WaitForExports  # noqa: PLC0415

    with pytest.raises(TaskDeferred) as deferred:
        WaitForExports(task_id="wait", conn_id="esputnik", exports=JOBS).execute({})
    assert deferred.value.method_name == "resume"
    assert deferred.value.trigger.exports == JOBS
    assert deferred.value.timeout is not None
