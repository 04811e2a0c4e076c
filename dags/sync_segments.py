"""
### sync_segments: keep each segment at each ESP as the warehouse says

**What.** For each ESP account one mapped task per published segment (`dbt_project/models/segments/`, `meta.push`) that
goes there: plan → brake → push. Whoever is in `dim_suppression` is subtracted from every segment, always.

**When.** After `sync_suppressions`.

**Who cares.** Marketers who send to these audiences.

**If it fails.** Clear it: the next run plans from what was confirmed. What the brake held (too many removals or
additions, an empty segment, old marts) does not fail it: the rest went out, and `approve_held` asks about it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TriggerRule, XComArg, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_SYNC, esp_conn_ids, pool_of
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
    signed = task(tasks.sign_links)()
    pushes = [_push(conn_id) for conn_id in esp_conn_ids()]
    # An account no segment goes to has nothing to map over, and its task is skipped.
    check = task(task_id="check_ledger", outlets=[SEGMENTS_SYNCED], trigger_rule=TriggerRule.NONE_FAILED)(
        tasks.check_ledger
    )
    signed >> pushes >> check(WAREHOUSE_SYNC)


def _push(conn_id: str) -> XComArg:
    listed = task(task_id=f"list_{conn_id}")(tasks.list_segments)(conn_id)
    push = task(task_id=f"push_{conn_id}", pool=pool_of(conn_id), map_index_template="{{ task.op_kwargs.segment }}")(
        tasks.sync_segment
    )
    return push.partial(
        conn_id=conn_id, dry_run="{{ params.dry_run }}", release_brake="{{ params.release_brake }}"
    ).expand(segment=listed)


sync_segments()
