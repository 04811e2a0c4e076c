"""Reads a table, or a range of its keys, again: after a restored backup, a changed catalogue, a found difference.

The dry run compares and says what would be read; the real one reads it in ranges, each its own transaction, and merges.
Rows that are the same are left alone, rows that are gone are marked. A killed one goes on where it was.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import KeyRange, Source
from lettertrail.clock import Clock
from lettertrail.errors import ContractError
from lettertrail.warehouse.compare import comparable, compare, slice_width
from lettertrail.warehouse.deliver import OnStage
from lettertrail.warehouse.ledger import LoadResult, read_state
from lettertrail.warehouse.ranges import RANGE_ROWS, close_copy, copy_one, cut, open_copy, pending, write_plan
from lettertrail.warehouse.run import Run, no_stage, open_run
from lettertrail.warehouse.slices import cropped
from lettertrail.warehouse.target import signature
from lettertrail.warehouse.verify import SLICES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reload:
    """What reading a range again would do, or did."""

    table: str
    dry_run: bool
    low: int | None
    high: int | None
    ranges: int
    """Transactions it takes, or those that were left to do."""
    rows: int
    """About how many rows there are to read."""
    slices: int | None
    """Slices compared before; None when the source cannot compare, or nothing was compared."""
    differing: int | None
    warehouse_rows: int | None
    result: LoadResult
    """What the loads did; nothing in a dry run."""


def reload_table(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    key_range: KeyRange | None = None,
    *,
    run_id: str,
    clock: Clock,
    dry_run: bool = True,
    range_rows: int = RANGE_ROWS,
    on_stage: OnStage = no_stage,
) -> Reload:
    """Reads `low <= range_by < high` again, or only says what that would do.

    Raises:
        ContractError: the table was never copied whole, or a range is asked of a table that has none.
        SourceError, WarehouseError: as `load_table`.
    """
    within = key_range or KeyRange()
    if entry.range_by is None and not within.is_everything:
        raise ContractError(f"{entry.name} has no column to cut it by; reload it whole")
    columns = source.columns(entry)
    with open_run(
        source, entry, warehouse_dsn, columns, run_id=run_id, clock=clock, purpose="reload", on_stage=on_stage
    ) as run:
        if read_state(run.connection, run.target.name).get("columns") != signature(run.target.columns):
            raise ContractError(f"{run.target.name} is not copied with these columns yet; load it first")
        done = _foretell(run, within, range_rows) if dry_run else _read_again(run, within, range_rows)
    log.info(
        "%s of %s from %s to %s: about %s rows in %s ranges",
        "dry run of a reload" if dry_run else "reload", entry.name, within.low, within.high, done.rows, done.ranges,
    )  # fmt: skip
    return done


def _foretell(run: Run, within: KeyRange, range_rows: int) -> Reload:
    parts = _parts(run, within, range_rows)
    bounds = run.source.bounds(comparable(run.entry))
    is_sliced = comparable(run.entry).range_by is not None
    compared = [within] if is_sliced else [KeyRange()]
    found = compare(run, compared, width=slice_width(bounds, SLICES), whole_rows=True, bounds=bounds)
    rows = sum(rows for _, rows in parts) if found is None or not is_sliced else found.source_rows
    return Reload(
        table=run.entry.name, dry_run=True, low=within.low, high=within.high, ranges=len(parts), rows=rows,
        slices=None if found is None else found.slices,
        differing=None if found is None else len(found.differing),
        warehouse_rows=None if found is None else found.warehouse_rows,
        result=run.result(),
    )  # fmt: skip


def _read_again(run: Run, within: KeyRange, range_rows: int) -> Reload:
    copy = open_copy(run.connection, run.target.name, "reload")
    is_same = copy is not None and (copy.low, copy.high) == (within.low, within.high)
    if copy is None or not is_same or copy.columns != signature(run.target.columns):
        copy = write_plan(run, "reload", _parts(run, within, range_rows), marks={}, within=within)
    tasks = pending(run.connection, copy, run.entry)
    run.on_stage("planned")
    for task in tasks:
        copy_one(run, copy, task)
    close_copy(run, copy)
    return Reload(
        table=run.entry.name, dry_run=False, low=within.low, high=within.high, ranges=len(tasks),
        rows=sum(task.expected_rows for task in tasks), slices=None, differing=None, warehouse_rows=None,
        result=run.result(),
    )  # fmt: skip


def _parts(run: Run, within: KeyRange, range_rows: int) -> list[tuple[KeyRange, int]]:
    found: list[tuple[KeyRange, int]] = []
    for part, rows in cut(run.source, run.entry, run.columns, range_rows=range_rows):
        found += [(inside, rows) for inside in cropped([part], [within])]
    return found
