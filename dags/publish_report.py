"""
### publish_report: the static report

**What.** One HTML file, offline, without scripts: `<state dir>/report/index.html`.

**When.** After every `sync_segments`.

**If it fails.** The previous report stays as it was; clear the task.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.assets import SEGMENTS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS


@dag(
    schedule=[SEGMENTS_SYNCED],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["report"],
)
def publish_report() -> None:
    task(tasks.write_report)()


publish_report()
