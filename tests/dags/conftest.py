"""The DAG files, parsed the way Airflow's DAG processor does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.airflow_home import airflow_home_in

from lettertrail.settings import PROJECT_ROOT


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow writes its configuration on import; give it a home that goes away."""
    with airflow_home_in(tmp_path_factory.mktemp("airflow")):
        yield


@pytest.fixture(scope="session")
def dag_bag(airflow_home: None):  # the type cannot be imported before AIRFLOW_HOME is set
    """All DAGs of the project."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    return DagBag(str(PROJECT_ROOT / "dags"))
