"""
### build_marts: from raw tables to marts and segments, between two quality doors

**What.** Whoever was erased and came back with a load is erased again (`keep_erased`, which does nothing where nobody
ever was). Door 1 (Great Expectations on raw) → dbt, one task per layer, with all its tests → door 2 (Great Expectations
on the segments). Nothing passes a closed door: the asset `marts` is only announced when everything held.

**When.** As soon as the site and every ESP account are freshly copied; when webhooks told something new, so that who
left is left alone within minutes; when a person was erased; at a quarter to the hour with what there is, so that one
silent service cannot stop the figures of the others.

**Who cares.** Analysts and dashboards (`marts`), and `sync_suppressions`.

**If it fails.** A door: open Data Docs (`<state dir>/gx/<door>/index.html`) or
`ops.quality_checks`. A dbt test: the task's log ends with the failing test; its compiled SQL shows the rows.
`keep_erased`: the message names what is missing; nothing is built without it, or the erased would be back in the marts.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetAll, AssetAny, AssetOrTimeSchedule, chain, dag, task

from lettertrail.airflow import erasure_tasks, tasks
from lettertrail.airflow.accounts import esp_conn_ids
from lettertrail.airflow.assets import INBOX_APPLIED, MARTS, PERSON_ERASED, RAW_BITRIX, raw_esp
from lettertrail.airflow.dbt import build_layer
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.schedules import by_clock


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=by_clock("45 * * * *"),
        assets=AssetAny(
            AssetAll(RAW_BITRIX, *(raw_esp(account) for account in esp_conn_ids())), INBOX_APPLIED, PERSON_ERASED
        ),
    ),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["build", "dbt"],
)
def build_marts() -> None:
    door = task(tasks.check_door)
    chain(
        task(erasure_tasks.keep_erased)(),
        [
            door.override(task_id="check_raw_bitrix")("raw_bitrix"),
            door.override(task_id="check_raw_esp")("raw_esp"),
        ],
        build_layer("staging"),
        build_layer("intermediate"),
        build_layer("marts"),
        build_layer("segments", callback=tasks.publish_segments),
        door.override(task_id="check_segments", outlets=[MARTS])("segments"),
    )


build_marts()
