"""
### audit_audiences: read back what the destinations have

**What.** Each ESP audience, each account's suppressions, the flags of the CRM's contacts and leads and the values on
its cards against `ops.acknowledged`. Nothing is written there. What somebody changed is recorded in `ops.audits` and
forgotten here, so that the next plan asks for it anew where it is still wanted; members that others added are left
alone.

**When.** Nightly, everything; by hand with `audiences_per_account` for a part, the longest unread first.

**Who cares.** Whoever has to say that the lists are right. `lettertrail status` shows the drift.

**If it fails.** `BrakeApplied`: most of what was confirmed is not there, so this is probably another list or account;
nothing was repaired. Look at the connection. Other errors: clear the task, reading is always allowed.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import BITRIX24, esp_conn_ids, pool_of
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import AUDIENCES_PER_ACCOUNT
from lettertrail.airflow.schedules import by_clock


@dag(
    schedule=by_clock("40 3 * * *"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "audit"],
    params={"audiences_per_account": AUDIENCES_PER_ACCOUNT},
    render_template_as_native_obj=True,
)
def audit_audiences() -> None:
    for conn_id, pool in [*((account, pool_of(account)) for account in esp_conn_ids()), (BITRIX24, "default_pool")]:
        listed = task(task_id=f"list_{conn_id}")(tasks.list_audiences)(
            conn_id, most="{{ params.audiences_per_account }}"
        )
        task(task_id=f"audit_{conn_id}", pool=pool, map_index_template="{{ task.op_kwargs.audience }}")(
            tasks.audit_audience
        ).partial(conn_id=conn_id).expand(audience=listed)


audit_audiences()
