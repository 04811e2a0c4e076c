"""A warehouse per test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tests.source_site import NOW, Site

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.clock import fixed_clock
from lettertrail.warehouse.ledger import LoadResult, check_balance
from lettertrail.warehouse.load import load_table


@dataclass(frozen=True)
class Warehouse:
    """A warehouse and what a test asks of it."""

    dsn: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query).fetchall()

    def run(self, statement: str) -> None:
        """Runs a statement and commits."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement)

    def load(self, site: Site, entry: TableEntry, *, run_id: str = "run", **options: Any) -> LoadResult:
        """One load, with its sums checked."""
        result = load_table(
            site.source, entry, self.dsn, run_id=run_id, clock=options.pop("clock", fixed_clock(NOW)), **options
        )
        check_balance(self.dsn, run_id=run_id)
        assert result.read == result.inserted + result.updated + result.unchanged + result.quarantined
        return result


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Warehouse:
    """A migrated, empty warehouse."""
    return Warehouse(warehouse_dsn)


@pytest.fixture(params=["site", "pg_site"])
def each_site(request: pytest.FixtureRequest) -> Site:
    """An empty source database of the test's own, on each of the two servers."""
    found: Site = request.getfixturevalue(request.param)
    return found
