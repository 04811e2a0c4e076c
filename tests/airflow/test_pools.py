"""The pools of the accounts: a task whose pool is missing would wait for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

from lettertrail import esps

Slots = Callable[[], dict[str, int]]


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_home: None) -> Slots:
    """An Airflow database that has the table of pools; gives their slots by name."""
    from airflow.models.pool import Pool  # noqa: PLC0415

    from airflow import settings  # noqa: PLC0415

    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    Pool.metadata.create_all(engine, tables=[Pool.__table__])
    make = sessionmaker(engine)
    monkeypatch.setattr(settings, "NonScopedSession", make)

    def read() -> dict[str, int]:
        with make() as session:
            return dict(session.execute(select(Pool.pool, Pool.slots)).all())

    return read


def test_every_account_gets_its_pool(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many slots as the adapter says the service bears; a second account has its own."""
    from lettertrail.airflow.pools import ensure_pools  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp, mailchimp__b2b")
    assert ensure_pools() == ["esp_mailchimp", "esp_mailchimp__b2b"]
    bears = esps.load("mailchimp").connections
    assert slots() == {"esp_mailchimp": bears, "esp_mailchimp__b2b": bears}


def test_what_an_operator_set_stays(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who gave an account one slot had a reason."""
    from airflow.models.pool import Pool  # noqa: PLC0415

    from airflow import settings  # noqa: PLC0415
    from lettertrail.airflow.pools import ensure_pools  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp")
    with settings.NonScopedSession() as session:
        session.add(Pool(pool="esp_mailchimp", slots=1, include_deferred=False))
        session.commit()
    assert ensure_pools() == []
    assert slots() == {"esp_mailchimp": 1}


def test_two_schedulers_at_once(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second finds the pool made, which is no error."""
    from lettertrail.airflow import pools  # noqa: PLC0415

    assert pools._make("mailchimp") is True
    assert pools._make("mailchimp") is False
    assert list(slots()) == ["esp_mailchimp"]


@pytest.mark.parametrize(("job_type", "made"), [("SchedulerJob", ["esp_mailchimp"]), ("TriggererJob", []), (None, [])])
def test_the_scheduler_makes_them_as_it_starts(
    slots: Slots, monkeypatch: pytest.MonkeyPatch, job_type: str | None, made: list[str]
) -> None:
    """Not a task's process, which may not touch Airflow's database."""
    from lettertrail.airflow import listener  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp")
    listener.on_starting(SimpleNamespace(job_type=job_type))
    assert list(slots()) == made


def test_an_account_newer_than_the_scheduler_gets_one(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its DAG is found without a restart, so the pool comes with the first run."""
    from lettertrail.airflow import listener  # noqa: PLC0415

    monkeypatch.setenv("LETTERTRAIL_ESP_ACCOUNTS", "mailchimp")
    listener.on_dag_run_running(dag_run=None, msg="started")
    assert list(slots()) == ["esp_mailchimp"]


def test_airflow_loads_the_listener(airflow_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook whose name or arguments Airflow does not know would never be called."""
    from airflow.listeners.listener import get_listener_manager  # noqa: PLC0415

    from lettertrail.airflow import listener  # noqa: PLC0415

    manager = get_listener_manager()
    manager.add_listener(listener)
    names = {hook.name for hook in manager.pm.get_hookcallers(listener) or ()}
    assert {"on_starting", "on_dag_run_running"} <= names
