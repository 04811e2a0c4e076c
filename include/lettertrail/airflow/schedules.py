"""When DAGs run by the clock."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable


def by_clock(cron: str) -> CronTriggerTimetable:
    """Minutes and hours in UTC. A DAG that is switched on later than that waits for the next time.

    Airflow by itself would make up for the last one, a nightly run for more than two hours, and do so beside the run
    that somebody switched the DAG on for.
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
