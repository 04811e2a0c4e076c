"""Runs the pipeline through Airflow's scheduler and watches it leg by leg."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from lettertrail.demo.accounts import ACCOUNTS
from lettertrail.demo.airflow_api import AirflowApi, DagRun
from lettertrail.demo.progress import Step, step
from lettertrail.errors import LetterTrailError

INGEST = ("ingest_bitrix", *(f"ingest_{account}" for account in ACCOUNTS))
CHAIN = ("build_marts", "sync_suppressions", "sync_segments")
"""Each is started by what the one before it announces."""
PAGES = ("publish_report", "publish_docs")
"""Both are started by the last of the chain."""
ASIDE = "sync_crm"
"""Started by `sync_suppressions`, as `sync_segments` is; nothing waits for it."""
LEGS = (*CHAIN, *PAGES, ASIDE)
LEG_SECONDS = 1800.0
APPEAR_SECONDS = 120.0
_ENDED = frozenset({"success", "failed"})
_TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed"})


class PipelineFailed(LetterTrailError):
    """A leg of the pipeline failed; the message names the tasks."""


def run_pipeline(api: AirflowApi, *, describe: Callable[[DagRun], str]) -> dict[str, DagRun]:
    """Starts the ingesting DAGs, then follows the assets to the report. `describe` says what a leg brought.

    Raises:
        PipelineFailed: when a run fails or does not come.
    """
    runs = {dag_id: api.trigger(dag_id) for dag_id in INGEST}
    for dag_id in INGEST:
        with step(dag_id) as current:
            runs[dag_id] = _follow(api, runs[dag_id], current)
            current.result = describe(runs[dag_id])
    since = min(_end(run) for run in runs.values())
    for dag_id in LEGS:
        with step(dag_id) as current:
            after = runs["sync_suppressions"].run_after if dag_id == ASIDE else since
            runs[dag_id] = _follow(api, _await_run(api, dag_id, after, current), current)
            current.result = describe(runs[dag_id])
        if dag_id in CHAIN:
            since = runs[dag_id].run_after
    return runs


def _end(run: DagRun) -> datetime:
    # The asset speaks a moment before the run is marked as ended.
    return (run.ended_at or run.run_after) - timedelta(seconds=5)


def _await_run(api: AirflowApi, dag_id: str, since: datetime, current: Step) -> DagRun:
    deadline = time.monotonic() + APPEAR_SECONDS
    while (run := api.first_run_after(dag_id, since)) is None:
        if time.monotonic() > deadline:
            raise PipelineFailed(f"no run of {dag_id} came within {APPEAR_SECONDS:.0f} s of its assets")
        current.tell("waiting for the scheduler")
        time.sleep(0.5)
    return run


def _follow(api: AirflowApi, run: DagRun, current: Step) -> DagRun:
    deadline = time.monotonic() + LEG_SECONDS
    while run.state not in _ENDED:
        if time.monotonic() > deadline:
            raise PipelineFailed(f"{run.dag_id} has not ended within {LEG_SECONDS:.0f} s")
        tasks = api.tasks(run)
        ended = sum(task.state in _TASK_ENDED for task in tasks)
        running = ", ".join(task.name for task in tasks if task.state == "running")
        current.tell(f"{ended} of {len(tasks)} tasks done{'; ' if running else ''}{running}")
        time.sleep(0.5)
        run = api.run(run.dag_id, run.run_id)
    if run.state == "failed":
        failed = ", ".join(task.name for task in api.tasks(run) if task.state == "failed")
        raise PipelineFailed(f"{run.dag_id} failed in: {failed}; run {run.run_id}")
    return run
