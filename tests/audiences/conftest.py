"""The fixtures of the activation tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.audiences.fakes import Warehouse


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Iterator[Warehouse]:
    """A migrated warehouse with empty marts, built at noon."""
    made = Warehouse(warehouse_dsn)
    yield made
    made.close()
