"""What every DAG promises to whoever operates it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

DAG_IDS = {
    "ingest_bitrix",
    "ingest_mailchimp",
    "verify_bitrix",
    "reload_bitrix",
    "build_marts",
    "sync_suppressions",
    "sync_segments",
    "publish_report",
}


def test_the_dags_are_these(dag_bag) -> None:
    """First of all: the bag holds what we think it holds, so the tests below look at something."""
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == DAG_IDS


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_a_dag_can_be_operated(dag_bag, dag_id: str) -> None:
    """Documented for the person on call, one run at a time, bounded, tagged, no catching up by surprise."""
    dag = dag_bag.dags[dag_id]
    assert "If it fails" in dag.doc_md
    assert "**When.**" in dag.doc_md
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.dagrun_timeout is not None
    assert dag.tags


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_a_task_retries_what_may_pass(dag_bag, dag_id: str) -> None:
    """Every task has retries with growing delay, a time limit, and a policy for what retrying cannot mend."""
    for task in dag_bag.dags[dag_id].tasks:
        assert task.retries == 3, task.task_id
        assert task.retry_exponential_backoff, task.task_id
        assert task.retry_policy is not None, task.task_id
        assert task.execution_timeout <= timedelta(hours=1), task.task_id


def scheduled_on(dag) -> set[str]:
    """The names of the assets that start a DAG."""
    found, waiting = set(), [dag.timetable.asset_condition]
    while waiting:
        condition = waiting.pop()
        waiting.extend(getattr(condition, "objects", ()))
        found |= {condition.name} if hasattr(condition, "name") else set()
    return found


def announced_by(dag) -> set[str]:
    """The names of the assets a DAG announces."""
    return {asset.name for task in dag.tasks for asset in task.outlets}


def test_the_legs_are_linked_by_assets(dag_bag) -> None:
    """Copy → build → suppressions → segments → report, each started by what the one before announces."""
    dags = dag_bag.dags
    assert scheduled_on(dags["build_marts"]) == {"raw_bitrix", "raw_esp__mailchimp"}
    assert announced_by(dags["ingest_bitrix"]) == {"raw_bitrix"}
    assert announced_by(dags["ingest_mailchimp"]) == {"raw_esp__mailchimp"}
    for earlier, later in [
        ("build_marts", "sync_suppressions"),
        ("sync_suppressions", "sync_segments"),
        ("sync_segments", "publish_report"),
    ]:
        assert announced_by(dags[earlier]) == scheduled_on(dags[later]) != set()


def test_only_the_last_task_announces(dag_bag) -> None:
    """An asset means that everything before it held; a task in the middle must not speak."""
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            if task.outlets:
                assert task.downstream_task_ids == set(), task.task_id
                upstream = task.get_flat_relative_ids(upstream=True)
                assert upstream == {other.task_id for other in dag.tasks} - {task.task_id}


def test_nothing_passes_a_closed_door(dag_bag) -> None:
    """Both raw doors stand before the first model, the segment door behind the last."""
    dag = dag_bag.dags["build_marts"]
    before = dag.get_task("build_staging").get_flat_relative_ids(upstream=True)
    assert before == {"check_raw_bitrix", "check_raw_esp"}
    assert "build_segments" in dag.get_task("check_segments").get_flat_relative_ids(upstream=True)


def test_every_table_of_the_catalog_is_loaded(dag_bag) -> None:
    """The source entry is the extraction entry: each is in one area, each area has its task and waits for others."""
    from lettertrail.bitrix.areas import areas, tables_of  # noqa: PLC0415
    from lettertrail.bitrix.catalog import load_catalog  # noqa: PLC0415

    dag = dag_bag.dags["ingest_bitrix"]
    entries = load_catalog()
    waits = areas(entries)
    assert sorted(entry.name for area in waits for entry in tables_of(area, entries)) == sorted(
        entry.name for entry in entries
    )
    assert {f"load_{area}" for area in waits} == set(dag.task_ids) - {"plan_copy", "copy_range", "check_ledger"}
    for area, others in waits.items():
        upstream = dag.get_task(f"load_{area}").upstream_task_ids
        assert upstream == {"copy_range", *(f"load_{other}" for other in others)}


def test_the_site_is_read_by_so_many_at_a_time(dag_bag) -> None:
    """Whatever runs at once in Airflow, the copying DAGs keep to LETTERTRAIL_SOURCE_PARALLEL."""
    for dag_id in ("ingest_bitrix", "verify_bitrix"):
        assert dag_bag.dags[dag_id].max_active_tasks == 2


def test_a_reload_is_typed_and_dry_at_first(dag_bag) -> None:
    """A table of the catalog, whole numbers or nothing, and no change unless somebody says so."""
    from lettertrail.bitrix.catalog import load_catalog  # noqa: PLC0415

    params = dag_bag.dags["reload_bitrix"].params
    assert params["dry_run"] is True
    assert params.get_param("table").schema["enum"] == sorted(entry.name for entry in load_catalog())
    assert params.get_param("key_low").schema["type"] == ["null", "integer"]


def test_parsing_is_quick(dag_bag) -> None:
    """No database, network or heavy library while a file is parsed: all of them in well under two seconds."""
    began = time.monotonic()
    type(dag_bag)(dag_bag.dag_folder)
    assert time.monotonic() - began < 2
