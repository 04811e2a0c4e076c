"""
### sync_preferences: tell the ESPs what people chose on the preference page

**What.** Categories (company news, sales and discounts, product updates, event invitations) are written to the
services that have such (Mailchimp's interests, eSputnik's subscription categories) for people who chose on the page;
only what a service has not confirmed yet. Nobody's subscription changes by it: who left is `sync_suppressions`' work.

**When.** After every `sync_suppressions`.

**Who cares.** Whoever chose, and marketers who send to a service's own groups instead of our segments.

**If it fails.** Nothing is lost: the next run plans from what was confirmed. `ops.sync_records` has the outcome of
every record (audience `preferences`). A category that arrives nowhere has another name there: add it to the seed
`preference_names`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TriggerRule, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_SYNC, esp_conn_ids, pool_of
from lettertrail.airflow.assets import SUPPRESSIONS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RUN


@dag(
    schedule=[SUPPRESSIONS_SYNCED],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "preferences"],
    params={"dry_run": DRY_RUN},
    render_template_as_native_obj=True,
)
def sync_preferences() -> None:
    pushes = [
        task(task_id=f"prefer_{conn_id}", pool=pool_of(conn_id))(tasks.sync_preferences)(
            conn_id, dry_run="{{ params.dry_run }}"
        )
        for conn_id in esp_conn_ids()
    ]
    check = task(task_id="check_ledger", trigger_rule=TriggerRule.NONE_FAILED)(tasks.check_ledger)
    pushes >> check(WAREHOUSE_SYNC)


sync_preferences()
