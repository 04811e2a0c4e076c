"""What every DAG promises to whoever operates it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from lettertrail import esps

ACCOUNTS = esps.names()
DAG_IDS = {
    "ingest_bitrix",
    *(f"ingest_{account}" for account in ACCOUNTS),
    "process_inbox",
    "verify_bitrix",
    "reload_bitrix",
    "build_marts",
    "sync_suppressions",
    "forward_opt_outs",
    "sync_segments",
    "sync_preferences",
    "approve_held",
    "audit_audiences",
    "sync_crm",
    "erase_person",
    "export_person",
    "publish_report",
    "publish_docs",
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
    # a question may wait for hours, and must not keep others from being asked
    assert (dag.max_active_runs == 1) != (dag_id == "approve_held")
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
    return {asset.name for asset in scheduled_assets(dag.timetable.asset_condition)}


def announced_by(dag) -> set[str]:
    """The names of the assets a DAG announces."""
    return {asset.name for task in dag.tasks for asset in task.outlets}


def test_the_legs_are_linked_by_assets(dag_bag) -> None:
    """Copy → build → suppressions → segments → report, each started by what the one before announces."""
    dags = dag_bag.dags
    copied = {"raw_bitrix", *(f"raw_esp__{account}" for account in ACCOUNTS)}
    assert scheduled_on(dags["build_marts"]) == {*copied, "inbox_applied", "person_erased"}
    assert announced_by(dags["ingest_bitrix"]) == {"raw_bitrix"}
    for account in ACCOUNTS:
        assert announced_by(dags[f"ingest_{account}"]) == {f"raw_esp__{account}"}
    assert scheduled_on(dags["process_inbox"]) == {"inbox"}
    assert announced_by(dags["process_inbox"]) == {"inbox_applied"}
    assert scheduled_on(dags["forward_opt_outs"]) == {"inbox_applied"}
    assert announced_by(dags["forward_opt_outs"]) == set()
    for earlier, later in [
        ("build_marts", "sync_suppressions"),
        ("sync_suppressions", "sync_segments"),
        ("sync_suppressions", "sync_crm"),
        ("sync_suppressions", "sync_preferences"),
        ("sync_segments", "publish_report"),
        ("sync_segments", "publish_docs"),
    ]:
        assert announced_by(dags[earlier]) == scheduled_on(dags[later]) - {"plans_approved"} != set()


def test_an_approval_starts_a_push_that_plans_anew(dag_bag) -> None:
    """Questions come after the pushes; approving starts at the suppressions, which always go first."""
    dags = dag_bag.dags
    assert scheduled_on(dags["approve_held"]) == {"suppressions_synced", "segments_synced"}
    assert announced_by(dags["approve_held"]) == {"plans_approved"} < scheduled_on(dags["sync_suppressions"])
    assert "plans_approved" not in scheduled_on(dags["sync_segments"])
    assert type(dags["sync_suppressions"].timetable.asset_condition).__name__ == "AssetAny"


def test_a_question_waits_without_a_worker_and_ends_in_not_approved(dag_bag) -> None:
    """The time-out lies within the run's, and what it stands for is a refusal."""
    from lettertrail.airflow.approvals import DECLINE, HeldPlanQuestion  # noqa: PLC0415

    dag = dag_bag.dags["approve_held"]
    assert dag.get_task("decide").operator_class is HeldPlanQuestion
    question = HeldPlanQuestion(task_id="one", approval_id=1, subject="?", body="")
    assert question.defaults == [DECLINE]
    assert question.response_timeout < dag.dagrun_timeout


def test_nobody_is_erased_unasked(dag_bag) -> None:
    """The question stands between the counts and the erasure; a dry run is the default, and params take no address."""
    from airflow.sdk.exceptions import ParamValidationError  # noqa: PLC0415

    from lettertrail.airflow.approvals import DECLINE, ErasureQuestion  # noqa: PLC0415

    dag = dag_bag.dags["erase_person"]
    assert dag.get_task("decide").operator_class is ErasureQuestion
    assert dag.get_task("erase").upstream_task_ids == {"decide"}
    assert ErasureQuestion(task_id="one", subject="?", body="").defaults == [DECLINE]
    assert dag.params["dry_run"] is True
    for name, address in (("person", "anna@example.com"), ("case", "for anna@example.com")):
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(value=address)
    assert announced_by(dag) == {"person_erased"}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_audit_reads_through_the_pool(dag_bag, account: str) -> None:
    """Whatever talks to the service takes a slot."""
    assert dag_bag.dags["audit_audiences"].get_task(f"audit_{account}").pool == f"esp_{account}"


@pytest.mark.parametrize("dag_id", ["verify_bitrix", "audit_audiences", "ingest_bitrix"])
def test_a_dag_that_is_switched_on_waits_for_its_hour(dag_bag, dag_id: str) -> None:
    """Whoever wakes it by hand gets the one run they asked for."""
    # as the scheduler has it
    timetable = decode_timetable(encode_timetable(dag_bag.dags[dag_id].timetable))
    run = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert run.run_after > datetime.now(UTC)


def test_only_the_last_task_announces(dag_bag) -> None:
    """An asset means that everything before it held; a task in the middle must not speak."""
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            if task.outlets:
                assert task.downstream_task_ids == set(), task.task_id
                upstream = task.get_flat_relative_ids(upstream=True)
                assert upstream == {other.task_id for other in dag.tasks} - {task.task_id}


def test_a_webhook_is_enough_to_start_a_build(dag_bag) -> None:
    """Copies are waited for all together; what webhooks told, and an erasure, does not wait for any of them."""
    condition = dag_bag.dags["build_marts"].timetable.asset_condition
    alone = [asset for asset in scheduled_assets(condition) if asset.name in ("inbox_applied", "person_erased")]
    copies = [asset for asset in scheduled_assets(condition) if asset not in alone]
    assert type(condition).__name__ == "AssetAny"
    assert len(alone) == 2
    assert all(asset in condition.objects for asset in alone)
    assert not set(map(id, copies)) & set(map(id, condition.objects))


def scheduled_assets(condition) -> list:
    """The assets of a condition, at whatever depth."""
    if not hasattr(condition, "objects"):
        return [condition]
    return [asset for part in condition.objects for asset in scheduled_assets(part)]


def test_the_warehouse_is_watched_for_webhooks(dag_bag) -> None:
    """The asset that starts `process_inbox` has the trigger that listens."""
    condition = dag_bag.dags["process_inbox"].timetable.asset_condition
    (asset,) = scheduled_assets(condition)
    (watcher,) = asset.watchers
    path, _ = watcher.trigger.serialize()
    assert path == "lettertrail.airflow.inbox.InboxTrigger"


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_is_read_and_written_through_its_pool(dag_bag, account: str) -> None:
    """Whatever talks to the service takes a slot; what only talks to the warehouse does not."""
    pool = f"esp_{account}"
    ingest = {task.task_id: task.pool for task in dag_bag.dags[f"ingest_{account}"].tasks}
    assert ingest == {
        "start_exports": pool, "wait_for_exports": pool, "load_account": pool, "check_ledger": "default_pool"
    }  # fmt: skip
    assert dag_bag.dags["sync_suppressions"].get_task(f"suppress_{account}").pool == pool
    assert dag_bag.dags["sync_segments"].get_task(f"push_{account}").pool == pool


def test_a_window_is_typed_and_empty_at_first(dag_bag) -> None:
    """The hourly run goes on where the warehouse is; a person may name a window."""
    params = dag_bag.dags["ingest_mailchimp"].params
    assert dict(params) == {"since": None, "until": None, "backfill": False}
    assert params.get_param("until").schema["format"] == "date-time"


def test_nothing_passes_a_closed_door(dag_bag) -> None:
    """Both raw doors stand before the first model, the segment door behind the last."""
    dag = dag_bag.dags["build_marts"]
    before = dag.get_task("build_staging").get_flat_relative_ids(upstream=True)
    assert before == {"keep_erased", "check_raw_bitrix", "check_raw_esp"}
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
