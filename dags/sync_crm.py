"""
### sync_crm: show managers in Bitrix what the letters did

**What.** Values on cards: contacts and leads (last opened, last clicked, best letter, consent), deals (the letter they
came from, by `crm_attribution_model`). And a to-do for the responsible manager about everybody who opened a letter and
did not answer for three days, once per letter and person. Only what differs from what Bitrix has confirmed is sent; the
fields are made where they are missing.

**When.** After `sync_suppressions`, which keeps the marketing flag of contacts and leads.

**Who cares.** Managers who look at a card before they call; marketers who filter deals by letter.

**If it fails.** Nothing is lost and nothing is made twice: the next run plans from what was confirmed and looks for a
to-do before it makes one. What the brake held (too many cards would lose a value, or the marts are old) is no failure:
`approve_held` asks about it. `ContractError` that names a field: somebody made a field of that name with another type;
rename it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_SYNC
from lettertrail.airflow.assets import SUPPRESSIONS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RUN, RELEASE_BRAKE
from lettertrail.crm.fields import ALL


@dag(
    schedule=[SUPPRESSIONS_SYNCED],
    catchup=False,
    max_active_runs=1,
    # One portal, one bucket: side by side they would only wait for each other.
    max_active_tasks=1,
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "crm"],
    params={"dry_run": DRY_RUN, "release_brake": RELEASE_BRAKE},
    render_template_as_native_obj=True,
)
def sync_crm() -> None:
    how = {"dry_run": "{{ params.dry_run }}", "release_brake": "{{ params.release_brake }}"}
    pushes = [
        *(task(task_id=f"push_{audience}")(tasks.sync_card_fields)(audience, **how) for audience in ALL),
        task(task_id="push_follow_ups")(tasks.sync_follow_ups)(**how),
    ]
    pushes >> task(task_id="check_ledger")(tasks.check_ledger)(WAREHOUSE_SYNC)


sync_crm()
