"""The fixtures of the activation tests."""

from __future__ import annotations

import pytest
from tests.audiences.fakes import Warehouse


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Warehouse:
    """A migrated warehouse with empty marts, built at noon."""
    return Warehouse(warehouse_dsn)
