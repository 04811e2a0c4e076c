"""Brings one Bitrix table in the warehouse up to date, by the strategy its catalogue entry names.

A load is one transaction: rows, cursor and ledger row commit together or not at all. A first copy goes in key ranges,
each a load of its own (`ranges`), so that a killed one goes on where it was. After an increment keys are compared with
the source, which finds deletes and rows that no rule caught: all keys of a small table, a bounded part of those of a
large one (`watch`); the nightly comparison (`verify`) looks at every row of every table.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import KeyRange, Mark, Marks, Rows, Source
from lettertrail.clock import Clock
from lettertrail.errors import TableMissing
from lettertrail.warehouse.compare import comparable, compare, repair, slice_width
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.deliver import OnStage
from lettertrail.warehouse.freshness import record_missing
from lettertrail.warehouse.ledger import Counts, Load, LoadResult, next_load_id, read_state, record
from lettertrail.warehouse.ranges import RANGE_ROWS, copy_all, cut, open_copy
from lettertrail.warehouse.run import Run, lock, no_stage, open_run
from lettertrail.warehouse.session import Session, translated_errors
from lettertrail.warehouse.target import SCHEMA, ensure_missing, signature
from lettertrail.warehouse.verify import record_verification
from lettertrail.warehouse.watch import Watched, moving_parts, parts_to_compare

log = logging.getLogger(__name__)

STAGES = (
    "planned",  # what to read is known; nothing was read
    "source opened",  # the first rows came out of the source
    "rows landing",  # the first rows went to the warehouse
    "rows landed",  # all rows are there, invisible
    "merged",  # the raw table is written, not committed
    "before commit",  # so are the ledger row and the cursor
    "committed",
    "copied",  # all ranges of a first copy are done and its watermarks are set
    "compared",  # the keys were compared with the source
)
"""What `on_stage` is told, in this order; those from "source opened" to "committed" once for each key range."""

_KEY_SLICES = 128


def load_table(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    chunk_rows: int = RANGE_ROWS,
    on_stage: OnStage = no_stage,
) -> LoadResult:
    """Brings `raw_bitrix.<table>` up to date and says what happened to every row read.

    Args:
        chunk_rows: size of the key ranges that a complete read is cut into.
        on_stage: called with each of `STAGES` as it is reached; the fault tests kill the process in there.

    Raises:
        SourceError: the source could not be read.
        WarehouseError: the warehouse broke off.
        ContractError: the table or its key is not in the source, rows do not fit, or too many were refused.
    """
    try:
        columns = source.columns(entry)
    except TableMissing:
        return _load_missing(source, entry, warehouse_dsn, run_id=run_id, clock=clock)
    with open_run(
        source,
        entry,
        warehouse_dsn,
        columns,
        run_id=run_id,
        clock=clock,
        purpose="load",
        settles_freshness=True,
        on_stage=on_stage,
    ) as run:
        state = read_state(run.connection, run.target.name)
        is_copied = state.get("columns") == signature(run.target.columns)
        watched: Watched = []
        if not is_copied or open_copy(run.connection, run.target.name, "first_copy") is not None:
            copy_all(run, range_rows=chunk_rows)
        elif run.entry.strategy == "full":
            _read_whole(run, chunk_rows)
        else:
            watched = _read_changes(run, state)
        if run.entry.strategy != "full":
            _compare_keys(run, watched)
            on_stage("compared")
        source.acknowledge(entry)
        result = run.result()
    log.info(
        "%s (%s): %s read, %s inserted, %s updated, %s unchanged, %s quarantined, %s deleted in %.1f s",
        result.table, entry.strategy, result.read, result.inserted, result.updated, result.unchanged,
        result.quarantined, result.deleted, result.seconds,
    )  # fmt: skip
    for notice in result.notices:
        log.info("%s: %s", result.table, notice)
    return result


def _load_missing(source: Source, entry: TableEntry, warehouse_dsn: str, *, run_id: str, clock: Clock) -> LoadResult:
    """A module that is not installed is nothing to fail for: the raw table is there, empty, and the ledger says why."""
    began, started_at = time.monotonic(), clock()
    target = f"{SCHEMA}.{entry.name}"
    with translated_errors(target), connect(warehouse_dsn, purpose=f"load {entry.name}", autocommit=True) as connection:
        lock(connection, entry)
        with connection.transaction():
            notices = ensure_missing(connection, entry, at=started_at)
            record_missing(connection, entry, source.kind, at=started_at)
            session = Session(connection)
            load = Load(
                load_id=next_load_id(session), run_id=run_id, target=target, strategy=entry.strategy,
                started_at=started_at, state=None if read_state(connection, target) else {"missing": True},
                notices=tuple(notices),
            )  # fmt: skip
            record(session, load, Counts(), finished_at=clock())
    for notice in notices:
        log.info("%s: %s", target, notice)
    return LoadResult.of(target, Counts(), seconds=time.monotonic() - began, notices=notices)


def _read_whole(run: Run, chunk_rows: int) -> None:
    parts = cut(run.source, run.entry, run.columns, range_rows=chunk_rows)
    run.on_stage("planned")
    for part, _ in parts:
        run.deliver_ranges([part], strategy="full")


def _read_changes(run: Run, state: dict[str, Any]) -> Watched:
    """What changed since the marks of the last load; returns the key ranges that are worth comparing."""
    before: Marks = state["marks"]
    after = run.source.marks(run.entry, run.columns, now=run.started_at, but_cursor=True)
    run.on_stage("planned")
    watched: Watched = []

    def open_rows() -> Rows:
        rows = run.source.read_changes(run.entry, run.columns, before, now=run.started_at)
        if run.entry.cursor is None or run.entry.cursor not in run.target.types:
            return rows
        after["cursor"] = before.get("cursor")
        horizon = run.source.horizon(run.started_at)
        return Rows(_follow(rows, run.entry.cursor, after, horizon=horizon), rows.unreadable)

    def watch(session: Session, _: int, landing: sql.Composable | None) -> None:
        if landing is not None:
            zone = run.source.timezone
            watched.extend(moving_parts(session, run.target, run.entry, landing, now=run.started_at, zone=zone))

    run.deliver(
        open_rows,
        strategy=run.entry.strategy,
        cursor_from=partial(json.dumps, before),
        # Called once all rows are here, and with them the latest change time.
        cursor_to=lambda: json.dumps(after),
        state=lambda: {**state, "marks": after, "watched": watched},
        settle=watch,
    )
    return [*state.get("watched", []), *watched]


def _follow(
    batches: Iterator[pa.RecordBatch], cursor: str, marks: dict[str, Mark], *, horizon: str
) -> Iterator[pa.RecordBatch]:
    """Passes batches on and moves the mark `cursor` to the latest time in them that is not beyond the horizon."""
    limit = datetime.fromisoformat(horizon)
    for batch in batches:
        if cursor in batch.schema.names:
            times = batch.column(cursor)
            latest = pc.max(times.filter(pc.less_equal(times, pa.scalar(limit, times.type)))).as_py()
            text = "" if latest is None else latest.isoformat(sep=" ", timespec="microseconds")
            # Year first and zero-padded: such times sort as text.
            marks["cursor"] = max(str(marks["cursor"] or ""), text) or None
        yield batch


def _compare_keys(run: Run, watched: Watched) -> None:
    bounds = run.source.bounds(run.entry)
    entry = comparable(run.entry)
    parts = [KeyRange()] if bounds is None else parts_to_compare(entry, bounds, watched, now=run.started_at)
    is_whole = parts == [KeyRange()]
    width = slice_width(bounds if is_whole else None, _KEY_SLICES)
    started_at = run.clock()
    found = compare(run, parts, width=width, whole_rows=False, bounds=bounds)
    if found is None:
        return
    mended = repair(run, found, whole_rows=False, within=parts, strategy="verify")
    record_verification(run, found, mended, method="keys", is_whole=is_whole, started_at=started_at)
