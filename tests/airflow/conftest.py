"""Airflow without a server: a home that goes away, connections from the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.airflow_home import airflow_home_in


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow writes its configuration on import."""
    with airflow_home_in(tmp_path_factory.mktemp("airflow")):
        yield
