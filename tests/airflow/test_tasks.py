"""The bodies of the tasks that read an ESP account: what they ask the adapter for, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from lettertrail import throttle
from lettertrail.errors import ConfigurationError
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import Event, Export

JANUARY, MARCH = "2026-01-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"


@pytest.fixture
def account(
    tmp_path: Path, warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, airflow_home: None
) -> Iterator[MailchimpService]:
    """A Mailchimp account behind Airflow connections, and a run that asks."""
    from lettertrail.airflow import tasks  # noqa: PLC0415

    with mailchimp_service(tmp_path) as service:
        host = service.base.partition("://")[2].partition("/")[0]
        monkeypatch.setenv("LETTERTRAIL_ALLOWED_HOSTS", host)
        fields = {"conn_type": "mailchimp", "host": service.base, "password": service.secret}
        monkeypatch.setenv("AIRFLOW_CONN_MAILCHIMP", json.dumps(fields))
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_LOADER", warehouse_dsn)
        monkeypatch.setattr(throttle, "_shared", {})
        monkeypatch.setattr(throttle, "_make_bucket", [])
        context = {"dag": SimpleNamespace(dag_id="ingest_mailchimp"), "run_id": "manual"}
        monkeypatch.setattr(tasks, "get_current_context", lambda: context)
        yield service


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the adapter is asked for: the windows of events, the starts of jobs, and the jobs it was given."""
    found: list[Any] = []
    read = Mailchimp.events

    def events(esp: Mailchimp, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        found.append(("events", since, until, list(esp.exports)))
        return read(esp, since, until)

    def start_exports(esp: Mailchimp, since: datetime | None) -> list[Export]:
        found.append(("exports", since))
        return [Export("events", "7")]

    monkeypatch.setattr(Mailchimp, "events", events)
    monkeypatch.setattr(Mailchimp, "start_exports", start_exports)
    return found


def test_jobs_go_from_task_to_task(account: MailchimpService, asked: list[Any]) -> None:
    """What was asked for is collected; the first time both ask for everything, then from the last reading."""
    from lettertrail.airflow.tasks import load_esp_account, start_exports  # noqa: PLC0415

    jobs = start_exports("mailchimp", "", is_whole=False)
    loaded = load_esp_account("mailchimp", jobs, "", "", is_whole=False)
    start_exports("mailchimp", "", is_whole=False)
    assert jobs == [{"kind": "events", "job_id": "7"}]
    assert asked[:2] == [("exports", None), ("events", None, None, [Export("events", "7")])]
    assert isinstance(asked[2][1], datetime)
    assert [row["table"] for row in loaded][-2:] == ["raw_esp.events:mailchimp", "raw_esp.bodies:mailchimp"]
    assert sum(row["inserted"] for row in loaded) > 10


def test_a_window_reaches_the_adapter(account: MailchimpService, asked: list[Any]) -> None:
    """The params of a run by hand; the ledger says that it was a window."""
    from lettertrail.airflow.tasks import load_esp_account, start_exports  # noqa: PLC0415

    start_exports("mailchimp", JANUARY)
    load_esp_account("mailchimp", [], JANUARY, MARCH)
    january, march = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    assert asked == [("exports", january), ("events", january, march, [])]


def test_a_backfill_reads_everything_again(account: MailchimpService, asked: list[Any]) -> None:
    """Also where the warehouse has read up to now."""
    from lettertrail.airflow.tasks import load_esp_account, start_exports  # noqa: PLC0415

    load_esp_account("mailchimp", [], "", "")
    start_exports("mailchimp", "", is_whole=True)
    load_esp_account("mailchimp", [], "", "", is_whole=True)
    assert [entry[1] for entry in asked] == [None, None, None]


def test_a_window_without_a_zone_is_refused(account: MailchimpService, asked: list[Any], warehouse_dsn: str) -> None:
    """Before anything is read or written."""
    from lettertrail.airflow.tasks import load_esp_account  # noqa: PLC0415

    with pytest.raises(ConfigurationError, match="time zone"):
        load_esp_account("mailchimp", [], "2026-01-01T00:00:00")
    with psycopg.connect(warehouse_dsn) as connection:
        assert connection.execute("select count(*) from ops.loads").fetchone() == (0,)
