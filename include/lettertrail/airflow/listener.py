"""What LetterTrail does when Airflow starts something: the pools of the accounts must be there before their tasks."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl


@hookimpl
def on_starting(component: Any) -> None:
    """The scheduler starts. Task processes come by here too; they may not use the database."""
    if getattr(component, "job_type", None) == "SchedulerJob":
        _ensure_pools()


@hookimpl
def on_dag_run_running(dag_run: Any, msg: str) -> None:
    """The scheduler starts a run; its account may be newer than the scheduler."""
    _ensure_pools()


def _ensure_pools() -> None:
    # Every process loads this module, only the scheduler may import Airflow's models.
    from lettertrail.airflow.pools import ensure_pools  # noqa: PLC0415

    ensure_pools()
