"""Proves that a copy is its source, and repairs it where it is not: every row of a table, nightly or on demand.

Some ten thousand slices of the key are compared at once, by count and by the sum of the row hashes. Slices that differ
are looked at more closely when they are large, and read again in one query; afterwards the copy is compared with what
that query brought. The copy is proven when that agrees too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import KeyRange, Source
from lettertrail.clock import Clock
from lettertrail.errors import TableMissing
from lettertrail.warehouse.compare import (
    Comparison,
    Repair,
    comparable,
    compare,
    newest_load,
    read_all,
    repair,
    slice_width,
    whole_table,
)
from lettertrail.warehouse.deliver import OnStage
from lettertrail.warehouse.ledger import Counts, LoadResult, literals, read_state
from lettertrail.warehouse.run import Run, no_stage, open_run
from lettertrail.warehouse.target import SCHEMA, signature

log = logging.getLogger(__name__)

SLICES = 10_000


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison found (before the repair), what the repair did, and what is true after it."""

    table: str
    method: str
    slices: int
    differing: int
    source_rows: int
    warehouse_rows: int
    differing_after: int
    """Slices in which the copy is not even what the repair has read: rows that cannot be stored."""
    proven_at: datetime | None
    """When the whole copy was seen to be the source, by its rows; None when it was not."""
    repair: LoadResult = field(repr=False)

    @property
    def is_proven(self) -> bool:
        """Whether the copy agrees with the source, after repair if there was one to do."""
        return self.differing_after == 0


def verify_table(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    whole_rows: bool = True,
    on_stage: OnStage = no_stage,
) -> Verification:
    """Compares a table that was copied before with its source and repairs what differs.

    A source that cannot compute digests is read whole and merged.

    Args:
        whole_rows: compare row hashes, which finds silent edits. False compares keys only: cheaper, and no proof.
        on_stage: see `load.STAGES`; a repair tells the stages of a load.

    Raises:
        SourceError, WarehouseError, ContractError: as `load_table`.
    """
    method = "rows" if whole_rows else "keys"
    try:
        columns = source.columns(entry)
    except TableMissing:
        return _nothing(entry, method, "table is not in the source")
    with open_run(
        source, entry, warehouse_dsn, columns, run_id=run_id, clock=clock, purpose="verify", on_stage=on_stage
    ) as run:
        if read_state(run.connection, run.target.name).get("columns") != signature(run.target.columns):
            return _nothing(entry, method, "table is not copied with these columns yet; load it first")
        started_at = run.clock()
        bounds = source.bounds(comparable(entry))
        on_stage("planned")
        width = slice_width(bounds, SLICES)
        found = compare(run, [KeyRange()], width=width, whole_rows=whole_rows, bounds=bounds)
        if found is None:
            found, mended = _read_whole(run)
        else:
            mended = repair(run, found, whole_rows=whole_rows, within=[KeyRange()], strategy="verify")
        on_stage("compared")
        proven_at = record_verification(run, found, mended, method=method, is_whole=True, started_at=started_at)
        result = run.result()
    log.info(
        "verified %s by %s: %s slices, %s differed, %s rows read again, %s",
        result.table, method, found.slices, len(found.differing), result.read,
        "proven" if proven_at else f"{mended.still_differing} still differ" if mended.still_differing else "agrees",
    )  # fmt: skip
    return Verification(
        table=entry.name, method=method, slices=found.slices, differing=len(found.differing),
        source_rows=found.source_rows, warehouse_rows=found.warehouse_rows,
        differing_after=mended.still_differing, proven_at=proven_at, repair=result,
    )  # fmt: skip


def _nothing(entry: TableEntry, method: str, notice: str) -> Verification:
    log.info("%s: %s", entry.name, notice)
    done = LoadResult.of(f"{SCHEMA}.{entry.name}", Counts(), seconds=0.0, notices=[notice])
    return Verification(entry.name, method, 0, 0, 0, 0, 0, None, done)


def record_verification(
    run: Run, found: Comparison, mended: Repair, *, method: str, is_whole: bool, started_at: datetime
) -> datetime | None:
    """Writes what a comparison came to; returns when the copy was proven, if it was."""
    now = run.clock()
    differing_after = min(mended.still_differing, found.slices)
    proven_at = now if method == "rows" and is_whole and differing_after == 0 else None
    values = (
        run.run_id, run.target.name, method, found.slices, len(found.differing), found.source_rows,
        found.warehouse_rows, started_at, now, is_whole, differing_after, mended.counts.deleted, proven_at,
    )  # fmt: skip
    run.connection.execute(
        sql.SQL(
            "insert into ops.verifications (run_id, target, method, ranges, differing, source_rows, warehouse_rows,"
            " started_at, finished_at, is_whole, differing_after, deleted, proven_at, load_id)"
            " values ({values}, {load_id})"
        ).format(values=literals(values), load_id=sql.Literal(found.after_load_id))
    )
    return proven_at


def _read_whole(run: Run) -> tuple[Comparison, Repair]:
    """For a source without digests: everything is read again, and compared in the warehouse."""
    ((held,),) = run.connection.execute(
        sql.SQL("select count(*) from {} where _deleted_at is null").format(run.target.relation)
    ).fetchall()
    after_load_id = newest_load(run)
    parts = whole_table(run)
    differing: list[int] = []
    still, before = 0, Counts()
    for number, part in enumerate(parts):
        still += read_all(run, [part], strategy="verify")
        gained = run.counts.inserted + run.counts.updated + run.counts.deleted
        if gained > before.inserted + before.updated + before.deleted:
            differing.append(number)
        before = run.counts
    found = Comparison(
        width=0, slices=len(parts), differing=differing, source_rows=run.counts.read, warehouse_rows=held,
        after_load_id=after_load_id, rows_in={},
    )  # fmt: skip
    return found, Repair(run.counts, still)
