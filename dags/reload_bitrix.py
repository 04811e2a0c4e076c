"""
### reload_bitrix: read a table, or a range of its keys, again

**What.** Compares the range with the site and says what a re-load would read; without `dry_run` it then reads the range
and merges it: rows that changed are updated, rows that are gone are marked, rows that are the same are left alone.

**When.** By hand only. First with `dry_run` (the default), then without.

**Who cares.** Whoever restored a backup on either side, changed the catalog, or found a difference.

**If it fails.** Clear the task: nothing of a load that died is kept, and ranges that are done stay done.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import DRY_RELOAD, KEY_HIGH, KEY_LOW, table_param


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["backfill", "bitrix"],
    params={"table": table_param(), "key_low": KEY_LOW, "key_high": KEY_HIGH, "dry_run": DRY_RELOAD},
    render_template_as_native_obj=True,
)
def reload_bitrix() -> None:
    reloaded = task(task_id="reload_table")(tasks.reload_bitrix_table)(
        "{{ params.table }}",
        key_low="{{ params.key_low }}",
        key_high="{{ params.key_high }}",
        dry_run="{{ params.dry_run }}",
    )
    reloaded >> task(task_id="check_ledger")(tasks.check_ledger)(WAREHOUSE_LOADER)


reload_bitrix()
