"""
### ingest_bitrix: copy the site's tables into `raw_bitrix`

**What.** `plan_copy` looks for large tables that are not copied yet and cuts them into key ranges; `copy_range`
copies one range in one transaction, several side by side. Then one task per area of the catalog
(`dbt_project/models/staging/bitrix/_bitrix__sources.yml`) brings its tables up to date, each in its own transaction:
rows, cursor and ledger row together or not at all.

**When.** Hourly. An area waits for the areas whose changes tell it what to re-read.

**Who cares.** Everything downstream: `build_marts` starts from the asset `raw_bitrix`.

**If it fails.** Clear the failed task: a load that died left nothing behind, ranges that are done stay done, and an
area goes on with its other tables before it fails. `LETTERTRAIL_BITRIX_CONN` names the connection (a read-only
account); `LETTERTRAIL_SOURCE_PARALLEL` is how many tasks read from the site at a time. The ledger is `ops.loads`,
what could not be read is in `ops.quarantine`, `lettertrail status` shows both per table.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TriggerRule, dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.airflow.assets import RAW_BITRIX
from lettertrail.airflow.docs import with_freshness
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.schedules import by_clock
from lettertrail.bitrix.areas import areas
from lettertrail.bitrix.catalog import load_catalog
from lettertrail.settings import Settings


@dag(
    schedule=by_clock("0 * * * *"),
    catchup=False,
    max_active_runs=1,
    # Every task reads from the site: this is the limit on how many do so at a time.
    max_active_tasks=Settings.from_env().source_parallel,
    dagrun_timeout=timedelta(hours=6),
    default_args=DEFAULT_ARGS,
    doc_md=with_freshness(__doc__),
    tags=["ingest", "bitrix"],
)
def ingest_bitrix() -> None:
    parts = task(task_id="plan_copy")(tasks.plan_bitrix_copy)()
    copied = task(task_id="copy_range", map_index_template="{{ task.op_kwargs['part']['name'] }}")(
        tasks.copy_bitrix_range
    ).expand(part=parts)

    loads = {}
    for area, waits_for in areas(load_catalog()).items():
        # Most hours there is nothing to copy whole, and `copy_range` is skipped.
        loads[area] = task(task_id=f"load_{area}", trigger_rule=TriggerRule.NONE_FAILED)(tasks.load_bitrix_area)(area)
        copied >> loads[area]
        for other in waits_for:
            loads[other] >> loads[area]

    list(loads.values()) >> task(task_id="check_ledger", outlets=[RAW_BITRIX])(tasks.check_ledger)(WAREHOUSE_LOADER)


ingest_bitrix()
