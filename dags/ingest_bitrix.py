"""
### ingest_bitrix: copy the site's tables into `raw_bitrix`

**What.** One task per table of the catalog (`dbt_project/models/staging/bitrix/_bitrix__sources.yml`); the entry says
how the table is kept fresh. Each load is one transaction: rows, cursor and ledger row together or not at all.

**When.** Hourly. A table waits for the tables whose changes tell it what to re-read.

**Who cares.** Everything downstream: `build_marts` starts from the asset `raw_bitrix`.

**If it fails.** Clear the failed task: a load that died left nothing behind and goes on where it was. Connection
`bitrix` holds the (read-only) account. The ledger is `ops.loads`, what could not be read is in `ops.quarantine`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.airflow.assets import RAW_BITRIX
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.bitrix.catalog import load_catalog


@dag(
    schedule=CronTriggerTimetable("0 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["ingest", "bitrix"],
)
def ingest_bitrix() -> None:
    entries = load_catalog()
    loads = {entry.name: task(task_id=f"load_{entry.name}")(tasks.load_bitrix_table)(entry.name) for entry in entries}
    for entry in entries:
        for trigger in entry.touched_by:
            loads[trigger.table] >> loads[entry.name]

    list(loads.values()) >> task(task_id="check_ledger", outlets=[RAW_BITRIX])(tasks.check_ledger)(WAREHOUSE_LOADER)


ingest_bitrix()
