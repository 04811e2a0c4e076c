"""The DAG files, parsed the way Airflow's DAG processor does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lettertrail.settings import PROJECT_ROOT


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow writes its configuration on import; give it a home that goes away."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
    patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    for name in [name for name in os.environ if name.startswith("LETTERTRAIL_")]:
        patch.delenv(name)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def dag_bag(airflow_home: None):  # the type cannot be imported before AIRFLOW_HOME is set
    """All DAGs of the project."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    return DagBag(str(PROJECT_ROOT / "dags"))
