"""The tasks of erasing: from the question to the proof, and what keeps the erased away before every build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service
from tests.erasure.conftest import CARD, EMAIL, FIRST, KEY, LAST, Scene, as_role, house

from lettertrail.errors import BrakeApplied, ConfigurationError

__all__ = ["house"]

AT = datetime(2026, 11, 1, 13, tzinfo=UTC)
PERSON = f"contact:{CARD}"


@pytest.fixture
def connected(house: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:  # pytest's way of saying it
    """Connections as an operator sets them, the key included."""
    from lettertrail.airflow import connections, erasure_tasks  # noqa: PLC0415

    for role in ("loader", "eraser"):
        monkeypatch.setenv(f"AIRFLOW_CONN_WAREHOUSE_{role.upper()}", as_role(house, role))
    monkeypatch.setenv("LETTERTRAIL_ERASURE_KEY", KEY.secret.decode())
    monkeypatch.setattr(erasure_tasks, "run_label", lambda: "erase_person/manual")
    # The sharing outlives the test, and the database does not.
    monkeypatch.setattr(connections, "share_rates", lambda conn_id: None)
    return house


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailchimpService]:
    """The one account in use."""
    with mailchimp_service(tmp_path) as running:
        host = running.base.partition("://")[2].partition("/")[0]
        monkeypatch.setenv("LETTERTRAIL_ALLOWED_HOSTS", host)
        monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp")
        entry = {"conn_type": "mailchimp", "host": running.base, "password": running.secret}
        monkeypatch.setenv("AIRFLOW_CONN_MAILCHIMP", json.dumps(entry))
        yield running


def resumed(chosen: str, user: dict[str, str] | None) -> dict[str, Any]:
    """The task as Airflow wakes it, with an answer or with the default after the time-out."""
    from lettertrail.airflow.approvals import ErasureQuestion  # noqa: PLC0415

    event = {"chosen_options": [chosen], "params_input": {}, "responded_at": AT, "responded_by_user": user}
    return ErasureQuestion(task_id="decide", subject="?", body="").execute_complete({}, event)


def test_from_the_question_to_the_proof(connected: Scene, service: MailchimpService) -> None:
    """What is asked, kept in XCom and written down says how many and by whose leave, and nowhere who it is."""
    from lettertrail.airflow import erasure_tasks  # noqa: PLC0415

    planned = erasure_tasks.plan_erasure(PERSON)
    (question,) = erasure_tasks.ask_about_erasure(planned, "T-17", dry_run=False)
    assert "| marts.dim_person |" in question["body"]
    answer = resumed("Approve", {"id": "7", "name": "boss@example.com"})
    erased = erasure_tasks.erase_person(PERSON, "T-17", [answer], in_bitrix=False)

    assert erased["services"] == {"mailchimp": {"applied": 1}}
    assert service.status_of(EMAIL) is None
    (proof,) = connected.query("select approved_by, reference, run_id from ops.erasures")
    assert proof == {"approved_by": "7", "reference": "T-17", "run_id": "erase_person/manual"}
    told = json.dumps([planned, question, answer, erased]).lower()
    for secret in (EMAIL, "boss", FIRST.lower(), LAST.lower()):
        assert secret not in told


def test_a_dry_run_asks_nobody(connected: Scene) -> None:
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    from lettertrail.airflow import erasure_tasks  # noqa: PLC0415

    with pytest.raises(AirflowSkipException, match="dry run"):
        erasure_tasks.ask_about_erasure(erasure_tasks.plan_erasure(PERSON), "T-17", dry_run=True)


def test_nobody_is_erased_without_a_yes(airflow_home: None) -> None:
    """No: skipped. Nobody answered: the task fails, so that somebody hears of it."""
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    with pytest.raises(AirflowSkipException, match="nobody was erased"):
        resumed("Decline", {"id": "7", "name": "boss"})
    for default in ("Decline", "Approve"):
        with pytest.raises(BrakeApplied, match="nobody was erased"):
            resumed(default, None)


def test_a_site_that_erases_nobody_needs_no_key(connected: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the connection; once somebody was erased, a missing key is named before any model is built."""
    from lettertrail.airflow import erasure_tasks  # noqa: PLC0415

    eraser = as_role(connected, "eraser")
    monkeypatch.delenv("LETTERTRAIL_ERASURE_KEY")
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE_ERASER")
    monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp")
    assert erasure_tasks.keep_erased() == {}

    connected.erase()

    with pytest.raises(ConfigurationError, match="LETTERTRAIL_ERASURE_KEY"):
        erasure_tasks.keep_erased()
    monkeypatch.setenv("LETTERTRAIL_ERASURE_KEY", KEY.secret.decode())
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_ERASER", eraser)
    assert erasure_tasks.keep_erased() == {}


def test_an_export_says_where_it_is(connected: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and counts: the address is in the file alone."""
    from lettertrail.airflow import erasure_tasks  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_STATE_DIR", str(tmp_path))
    told = erasure_tasks.export_person(PERSON)
    assert EMAIL not in json.dumps(told)
    assert EMAIL in Path(told["path"]).read_text(encoding="utf-8")
    assert Path(told["path"]).parent == tmp_path / "exports"
