"""
### process_inbox: work the webhooks in that came since

**What.** Reads the deliveries of `raw_inbox` that wait, has each ESP's adapter read its own, and merges what they say
into `raw_esp.events`. A webhook only makes things fast: what the next poll brings is the truth.

**When.** Some seconds after a webhook came: the triggerer listens to the warehouse, and looks by itself four times a
minute. Every quarter of an hour in any case.

**Who cares.** Who has just unsubscribed: `forward_opt_outs` starts from the asset `inbox_applied` and tells all the
others, `build_marts` starts from it too. Where nothing new was learned the run ends here (skipped).

**If it fails.** Nothing is lost: what was not worked in waits for the next run. What cannot be read is parked with its
reason in `raw_inbox.deliveries` and in the task's log.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.airflow.assets import INBOX_APPLIED, inbox
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.schedules import by_clock


@dag(
    schedule=AssetOrTimeSchedule(timetable=by_clock("7/15 * * * *"), assets=inbox()),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["ingest", "inbox"],
)
def process_inbox() -> None:
    worked_in = task(task_id="work_in")(tasks.process_inbox)()
    worked_in >> task(task_id="check_ledger", outlets=[INBOX_APPLIED])(tasks.check_ledger)(WAREHOUSE_LOADER)


process_inbox()
