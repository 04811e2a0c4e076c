"""How dbt's tasks are set up."""

from __future__ import annotations

import json


def test_one_run_uses_what_another_read(airflow_home: None) -> None:
    """dbt reads the whole project anew when its vars are others, or when nobody kept what it had read."""
    from lettertrail.airflow.dbt import build_layer, generate_docs  # noqa: PLC0415

    tasks = [build_layer("staging"), build_layer("segments"), generate_docs(callback=print)]
    assert {json.dumps(task.vars) for task in tasks} == {'{"source_timezone": "Europe/Moscow"}'}
    assert {task.cache_dir.name for task in tasks} == {"lettertrail"}


def test_a_task_tells_dbt_the_time_of_its_run(airflow_home: None) -> None:
    """Rendered by Airflow, where dbt's macro `run_at` looks for it."""
    from lettertrail.airflow.dbt import build_layer  # noqa: PLC0415

    task = build_layer("marts")
    assert "env" in task.template_fields
    assert task.env["LETTERTRAIL_RUN_AT"] == "{{ dag_run.run_after.isoformat() }}"
