"""
### ingest_&lt;account&gt;: copy an ESP account's lists, letters, contacts and events into `raw_esp`

**What.** One DAG per ESP account (`LETTERTRAIL_ESP_ACCOUNTS`; unset, one per adapter in `lettertrail/esps/`). Where the
service answers by export jobs, `start_exports` asks for them and `wait_for_exports` waits in the triggerer;
`load_account` collects them and reads all else. Re-reads an overlap each time, because services report late and by
page; the merge on key and content makes that free.

**When.** Hourly. Start it by hand with `since` and `until` to re-read a window, or with `backfill` to read everything
again that the service still knows. Neither moves the place where the hourly run goes on over a gap, or back.

**Who cares.** `build_marts`, through the asset `raw_esp__<account>`.

**If it fails.** `AuthenticationError` names the connection whose key to renew; the connection's test button tries it.
Throttling and outages are retried. The pool `esp_<account>` says how many tasks may use the account at a time; rate
limits are counted in `ops.rates` for all of them together.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER, esp_conn_ids, pool_of
from lettertrail.airflow.assets import raw_esp
from lettertrail.airflow.exports import WaitForExports
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import BACKFILL, SINCE, UNTIL
from lettertrail.airflow.schedules import by_clock


def ingest(conn_id: str) -> None:
    @dag(
        dag_id=f"ingest_{conn_id}",
        schedule=by_clock("5 * * * *"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=6),
        default_args=DEFAULT_ARGS,
        doc_md=__doc__,
        tags=["ingest", "esp"],
        params={"since": SINCE, "until": UNTIL, "backfill": BACKFILL},
        render_template_as_native_obj=True,
    )
    def ingest_account() -> None:
        pool = pool_of(conn_id)
        window = {"since": "{{ params.since or '' }}", "is_whole": "{{ params.backfill }}"}
        started = task(task_id="start_exports", pool=pool)(tasks.start_exports)(conn_id, **window)
        ready = WaitForExports(task_id="wait_for_exports", conn_id=conn_id, exports=started, pool=pool)
        loaded = task(task_id="load_account", pool=pool)(tasks.load_esp_account)(
            conn_id, ready.output, until="{{ params.until or '' }}", **window
        )
        loaded >> task(task_id="check_ledger", outlets=[raw_esp(conn_id)])(tasks.check_ledger)(WAREHOUSE_LOADER)

    ingest_account()


for account in esp_conn_ids():
    ingest(account)
