"""
### forward_opt_outs: tell the others at once who has just left

**What.** Whoever unsubscribed, complained or bounced for good since the marts were built, as webhooks, the handler on a
site and the preference page told it, is suppressed at every other service. The plan, the ledger and the promises are
those of `sync_suppressions`, and so is who is known to it: both may run, in either order.

**When.** As soon as `process_inbox` has learned something; nothing is built for it.

**Who cares.** Who has just left: the next mailing may be minutes away.

**If it fails.** Nothing is lost: `sync_suppressions` plans the same after the next build. `ops.sync_runs` has the sums.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_SYNC, sender_pools
from lettertrail.airflow.assets import INBOX_APPLIED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RUN


@dag(
    schedule=[INBOX_APPLIED],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "suppression"],
    params={"dry_run": DRY_RUN},
    render_template_as_native_obj=True,
)
def forward_opt_outs() -> None:
    pushes = [
        task(task_id=f"suppress_{conn_id}", pool=pool)(tasks.forward_opt_outs)(conn_id, dry_run="{{ params.dry_run }}")
        for conn_id, pool in sender_pools().items()
    ]
    pushes >> task(tasks.check_ledger)(WAREHOUSE_SYNC)


forward_opt_outs()
