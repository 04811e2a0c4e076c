"""
### export_person: everything that is known about a person, as one file

**What.** Every row of the warehouse that is the person's, table by table, as JSON below `<state dir>/exports`, readable
by the account that Airflow runs under and by nobody else. The run's result holds the path and counts.

**When.** By hand only, on a request that somebody has checked. Hand the file over and remove it.

**Who cares.** Whoever answers for personal data.

**If it fails.** Nothing was written, or all of it: start it again. "The marts know nobody": look the card or the
`person_id` up in `marts.dim_person`; somebody who came in since the last build is known after the next.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from lettertrail.airflow import erasure_tasks
from lettertrail.airflow.failures import DEFAULT_ARGS
from lettertrail.airflow.params import PERSON


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["erasure"],
    params={"person": PERSON},
    render_template_as_native_obj=True,
)
def export_person() -> None:
    task(task_id="export")(erasure_tasks.export_person)("{{ params.person }}")


export_person()
