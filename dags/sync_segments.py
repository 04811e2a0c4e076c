"""
### sync_segments: keep each segment at each ESP as the warehouse says

**What.** One mapped task per published segment (`dbt_project/models/segments/`, `meta.push`) and destination account:
plan → brake → push. Whoever is in `dim_suppression` is subtracted from every segment, always.

**When.** After `sync_suppressions`.

**Who cares.** Marketers who send to these audiences.

**If it fails.** `BrakeApplied`: the plan removes more than the segment's `max_removed_pct`, or the segment is empty.
Additions went out; the removals are held. Look at the segment; start by hand with `release_brake` if it is right.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_SYNC
from lettertrail.airflow.assets import SEGMENTS_SYNCED, SUPPRESSIONS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RUN, RELEASE_BRAKE


@dag(
    schedule=[SUPPRESSIONS_SYNCED],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "segment"],
    params={"dry_run": DRY_RUN, "release_brake": RELEASE_BRAKE},
    render_template_as_native_obj=True,
)
def sync_segments() -> None:
    pushes = (
        task(map_index_template="{{ task.op_kwargs.segment }} → {{ task.op_kwargs.conn_id }}")(tasks.sync_segment)
        .partial(dry_run="{{ params.dry_run }}", release_brake="{{ params.release_brake }}")
        .expand_kwargs(task(tasks.list_segment_syncs)())
    )
    pushes >> task(task_id="check_ledger", outlets=[SEGMENTS_SYNCED])(tasks.check_ledger)(WAREHOUSE_SYNC)


sync_segments()
