"""
### ingest_&lt;account&gt;: copy an ESP account's campaigns, contacts and events into `raw_esp`

**What.** One DAG per ESP account (`LETTERTRAIL_ESP_ACCOUNTS`; unset, one per adapter in `lettertrail/esps/`). Re-reads
an overlap each time, because services report late and by page; the merge on key and content makes that free.

**When.** Hourly. Start it by hand with `since` to re-read a window.

**Who cares.** `build_marts`, through the asset `raw_esp__<account>`.

**If it fails.** `AuthenticationError` names the connection whose key to renew. Throttling and outages are retried.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER, esp_conn_ids
from lettertrail.airflow.assets import raw_esp
from lettertrail.airflow.failures import DEFAULT_ARGS


def ingest(conn_id: str) -> None:
    @dag(
        dag_id=f"ingest_{conn_id}",
        schedule=CronTriggerTimetable("5 * * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=6),
        default_args=DEFAULT_ARGS,
        doc_md=__doc__,
        tags=["ingest", "esp"],
        params={
            "since": Param(
                None,
                type=["null", "string"],
                format="date-time",
                description="Re-read everything that happened after this time; empty: go on where the warehouse is.",
            )
        },
    )
    def ingest_account() -> None:
        loaded = task(task_id="load_account")(tasks.load_esp_account)(conn_id, since="{{ params.since or '' }}")
        loaded >> task(task_id="check_ledger", outlets=[raw_esp(conn_id)])(tasks.check_ledger)(WAREHOUSE_LOADER)

    ingest_account()


for account in esp_conn_ids():
    ingest(account)
