"""
### erase_person: erase a person for good, everywhere

**What.** Counts first (`plan`): what is there of the person, table by table. With `dry_run` (the default) that is all.
Without it the counts are put to a person ("Required Actions" of the run). Approved, the person is deleted at every
e-mail service, their cards in Bitrix are emptied, and every table of the warehouse keeps a pseudonym in their place, so
that counts and revenue stay what they were. One row in `ops.erasures` proves it, without saying who it was. Whom: a
card, or a keyed hash, never an address (docs/erasure.md).

**When.** By hand only, on a request that somebody has checked.

**Who cares.** Whoever answers for personal data. `build_marts` starts afterwards, and from then on erases again
whatever a load brings back.

**If it fails.** Start it again with the same params, or clear the task: the services take a deletion twice, and the
warehouse forgets the person in one transaction or not at all. `ErasureIncomplete` names who gave no certain answer.
Nobody answered the question within 12 hours: nobody was erased.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import erasure_tasks
from lettertrail.airflow.approvals import ErasureQuestion
from lettertrail.airflow.assets import PERSON_ERASED
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import CASE, DRY_ERASURE, IN_BITRIX, PERSON


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=16),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["erasure", "approval"],
    params={"person": PERSON, "case": CASE, "in_bitrix": IN_BITRIX, "dry_run": DRY_ERASURE},
    render_template_as_native_obj=True,
)
def erase_person() -> None:
    planned = task(task_id="plan")(erasure_tasks.plan_erasure)("{{ params.person }}")
    asked = task(task_id="ask")(erasure_tasks.ask_about_erasure)(
        planned, "{{ params.case | tojson }}", dry_run="{{ params.dry_run }}"
    )
    decided = ErasureQuestion.partial(task_id="decide").expand_kwargs(asked)
    task(task_id="erase", outlets=[PERSON_ERASED])(erasure_tasks.erase_person)(
        "{{ params.person }}", "{{ params.case | tojson }}", decided.output, in_bitrix="{{ params.in_bitrix }}"
    )


erase_person()
