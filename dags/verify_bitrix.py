"""
### verify_bitrix: prove that `raw_bitrix` is the site

**What.** One task per table of the catalog. Source and warehouse each count and sum the row hashes of every slice of
the key; slices that differ are read again. That finds hard deletes and silent edits, which no change time shows; a
row that the site no longer has gets `_deleted_at`.

**When.** Nightly, and whenever somebody wants to know: start it by hand with `tables`.

**Who cares.** Whoever has to say that a figure is right. `ops.verifications` keeps every result; `lettertrail status`
and the report show when each table was last proven.

**If it fails.** Clear the task: comparing again is always allowed. A difference is no failure, it is repaired and
counted; one that comes back every night means that a rule in the catalog does not fit this site.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import tables_param
from lettertrail.airflow.schedules import by_clock
from lettertrail.settings import Settings


@dag(
    schedule=by_clock("30 1 * * *"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=Settings.from_env().source_parallel,
    dagrun_timeout=timedelta(hours=12),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["verify", "bitrix"],
    params={"tables": tables_param()},
)
def verify_bitrix() -> None:
    chosen = task(task_id="choose_tables")(tasks.choose_bitrix_tables)()
    verified = task(task_id="verify_table", map_index_template="{{ task.op_kwargs['table'] }}")(
        tasks.verify_bitrix_table
    ).expand(table=chosen)
    verified >> task(task_id="check_ledger")(tasks.check_ledger)(WAREHOUSE_LOADER)


verify_bitrix()
