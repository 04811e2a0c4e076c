"""Brings several tables up to date, one after the other; one that fails does not keep the others stale."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import Source
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    ConfigurationError,
    ContractError,
    LetterTrailError,
    SourceError,
    WarehouseError,
)
from lettertrail.warehouse.ledger import LoadResult
from lettertrail.warehouse.load import load_table

log = logging.getLogger(__name__)

_UNREACHABLE = (ConfigurationError,)
"""What the next table would meet as well: there is no use in trying it."""


def load_tables(
    source: Source, entries: Sequence[TableEntry], warehouse_dsn: str, *, run_id: str, clock: Clock
) -> list[LoadResult]:
    """Loads every table, each in transactions of its own.

    Raises:
        LetterTrailError: of the kind that is most worth a retry, naming every table that failed.
    """
    results: list[LoadResult] = []
    failures: dict[str, LetterTrailError] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            results.append(load_table(source, entry, warehouse_dsn, run_id=run_id, clock=clock))
        except _UNREACHABLE:
            raise
        except LetterTrailError as error:
            log.error("table %s of %s, %s: %s", number, len(entries), entry.name, error)
            failures[entry.name] = error
    if failures:
        raise _worst(failures)
    return results


def _worst(failures: dict[str, LetterTrailError]) -> LetterTrailError:
    """A retry reads all tables again, so one failure that may pass is reason enough for it."""
    passing: list[LetterTrailError] = [
        error for error in failures.values() if isinstance(error, SourceError | WarehouseError | ApiError)
    ]
    chosen = (passing or list(failures.values()))[0]
    if len(failures) == 1:
        return chosen
    told = "; ".join(f"{table}: {error}" for table, error in failures.items())
    kind = SourceError if passing else ContractError
    return kind(f"{len(failures)} tables failed: {told}")
