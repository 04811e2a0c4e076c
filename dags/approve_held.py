"""
### approve_held: ask a person about what the brake held

**What.** One question per audience and action that the last push held: counts, reasons, calls, a sample without
addresses. The task waits without a worker. Approving lets at most the shown number of records through; the next
push plans anew, and holds and asks again if it then wants more. Answer under "Required Actions" of the run.

**When.** After `sync_suppressions` and `sync_segments`; skipped when nothing is held that was not asked about.
Approving starts `sync_suppressions`, and `sync_segments` after it.

**Who cares.** Whoever owns the segment. Pushes go on meanwhile: only the held records wait.

**If it fails.** Nobody answered within 12 hours, which counts as "not approved". The records stay held; a day later
they are asked about again if they are still planned.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import tasks
from lettertrail.airflow.approvals import HeldPlanQuestion
from lettertrail.airflow.assets import PLANS_APPROVED, SEGMENTS_SYNCED, SUPPRESSIONS_SYNCED
from lettertrail.airflow.failures import DEFAULT_ARGS


@dag(
    schedule=SUPPRESSIONS_SYNCED | SEGMENTS_SYNCED,
    catchup=False,
    # A question that waits must not keep the next one from being asked; none is asked twice.
    max_active_runs=24,
    dagrun_timeout=timedelta(hours=13),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["sync", "approval"],
)
def approve_held() -> None:
    asked = task(task_id="ask")(tasks.ask_about_held)()
    HeldPlanQuestion.partial(task_id="decide", outlets=[PLANS_APPROVED]).expand_kwargs(asked)


approve_held()
