"""dbt through Cosmos: one `dbt build` task per layer and one for its docs, with the warehouse's own connection.

One task per layer instead of one per model: a model costs a fraction of a second, an Airflow task several (measured
in docs/decisions.md). `buildable` leaves a test that spans layers to the last layer it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cosmos import ProfileConfig
from cosmos import settings as cosmos_settings
from cosmos.constants import InvocationMode
from cosmos.operators.local import DbtBuildLocalOperator, DbtDocsLocalOperator
from cosmos.profiles import PostgresUserPasswordProfileMapping

from lettertrail.airflow.accounts import WAREHOUSE_DBT
from lettertrail.settings import DBT_PROJECT_DIR, Settings

THREADS = 2
FIRST_LAYER = "staging"
"""Seeds, the small tables kept beside the models, are loaded with it."""


def build_layer(layer: str, *, callback: Callable[..., None] | None = None) -> DbtBuildLocalOperator:
    """A task that builds and tests the models in `models/<layer>`.

    `callback(project_dir, **kwargs)` runs after success, while Cosmos' copy of the project (with `target/`) exists.
    """
    return DbtBuildLocalOperator(
        task_id=f"build_{layer}",
        select=[f"path:models/{layer}", *(["path:seeds"] if layer == FIRST_LAYER else [])],
        # Unit tests check the SQL, not the data: they run in the test suite, not every hour.
        dbt_cmd_flags=["--indirect-selection", "buildable", "--exclude-resource-type", "unit_test"],
        callback=callback,
        **_project(),
    )


def generate_docs(*, callback: Callable[..., None]) -> DbtDocsLocalOperator:
    """A task that describes the project and what the warehouse holds of it, as one page: `target/static_index.html`."""
    return DbtDocsLocalOperator(task_id="generate_docs", dbt_cmd_flags=["--static"], callback=callback, **_project())


def _project() -> dict[str, Any]:
    """What every dbt task needs."""
    return {
        "project_dir": str(DBT_PROJECT_DIR),
        "profile_config": ProfileConfig(
            profile_name="lettertrail",
            target_name="airflow",
            profile_mapping=PostgresUserPasswordProfileMapping(
                conn_id=WAREHOUSE_DBT, profile_args={"schema": "public", "threads": THREADS}
            ),
        ),
        "vars": {"source_timezone": Settings.from_env().source_timezone.key},
        # The time is not one of `vars`: what dbt has read of the project is good for the same vars only. dbt's log file
        # would go with Cosmos' copy of the project.
        "env": {"LETTERTRAIL_RUN_AT": "{{ dag_run.run_after.isoformat() }}", "DBT_LOG_LEVEL_FILE": "none"},
        # Where that is kept for the next task: Cosmos itself keeps it for the tasks that it makes, not for ours.
        "cache_dir": cosmos_settings.cache_dir / "lettertrail",
        "install_deps": False,
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "emit_datasets": False,
    }
