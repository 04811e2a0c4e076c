"""
### sync_suppressions: tell every system who must not be written to

**What.** `dim_suppression` against what each destination has confirmed; only the difference is sent. A push can add an
opt-out, never take one away at an ESP. In Bitrix it is the field `UF_CRM_EMAIL_MARKETING` of contacts and leads,
and on sites with our handler (`LETTERTRAIL_BITRIX_SITES`) the blacklist of the sender module.

**When.** After every `build_marts`, and when held records were approved; always before `sync_segments`.

**Who cares.** Everyone who has unsubscribed, and the domain's reputation.

**If it fails.** Nothing is lost: the next run plans from what was confirmed. `ops.sync_runs` has the sums,
`ops.sync_records` the outcome of every record. What the brake held does not fail it: `approve_held` asks.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import BITRIX24, WAREHOUSE_SYNC, sender_pools
from lettertrail.airflow.assets import MARTS, PLANS_APPROVED, SUPPRESSIONS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RUN, RELEASE_BRAKE


@dag(
    schedule=MARTS | PLANS_APPROVED,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "suppression"],
    params={"dry_run": DRY_RUN, "release_brake": RELEASE_BRAKE},
    render_template_as_native_obj=True,
)
def sync_suppressions() -> None:
    pushes = [
        task(task_id=f"suppress_{conn_id}", pool=pool)(tasks.sync_suppressions)(
            conn_id, dry_run="{{ params.dry_run }}", release_brake="{{ params.release_brake }}"
        )
        for conn_id, pool in {**sender_pools(), BITRIX24: None}.items()
    ]
    pushes.append(
        task(task_id="suppress_leads")(tasks.sync_lead_suppressions)(
            dry_run="{{ params.dry_run }}", release_brake="{{ params.release_brake }}"
        )
    )
    pushes >> task(task_id="check_ledger", outlets=[SUPPRESSIONS_SYNCED])(tasks.check_ledger)(WAREHOUSE_SYNC)


sync_suppressions()
