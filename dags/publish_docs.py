"""
### publish_docs: the dbt project and the warehouse, described on one page

**What.** `dbt docs generate --static`: every source, model, column, test, metric and exposure with its description and
lineage, in one HTML file: `<state dir>/docs/index.html`, in Airflow under "Marts and lineage".

**When.** After every `sync_segments`, when the project has changed since the page was made or the page is a day old;
otherwise the run ends at once (skipped).

**Who cares.** Analysts. `docs/marts.md` is the introduction to it.

**If it fails.** The previous page stays as it was; clear the task. The figures do not depend on it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.assets import SEGMENTS_SYNCED
from lettertrail.airflow.dbt import generate_docs
from lettertrail.airflow.failures import DEFAULT_ARGS


@dag(
    schedule=[SEGMENTS_SYNCED],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["report", "dbt"],
)
def publish_docs() -> None:
    task(task_id="look_for_changes")(tasks.skip_described_project)() >> generate_docs(callback=tasks.publish_docs)


publish_docs()
