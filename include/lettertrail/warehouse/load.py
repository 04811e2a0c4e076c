"""Copies one Bitrix table into the warehouse, by the strategy its catalogue entry names.

A load is one transaction: rows, cursor and ledger row commit together or not at all. A first copy goes in key
ranges, each a load of its own, so that a killed one resumes where it was. Whatever the strategy, the keys are then
compared with the source, which finds deletes and rows that no rule caught.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import KeyRange, Mark, Marks, Source
from lettertrail.bitrix.sql import split
from lettertrail.clock import Clock
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import Counts, Load, LoadResult, next_load_id, read_state
from lettertrail.warehouse.merge import Scope, load_rows
from lettertrail.warehouse.target import Target, ensure_target, signature
from lettertrail.warehouse.verify import compare, lock

log = logging.getLogger(__name__)

CHUNK_ROWS = 250_000
"""Rows of one load of a large table: a few seconds of work to lose, and a bounded transaction."""

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

OnStage = Callable[[str], None]


def _no_stage(_: str) -> None:
    pass


@dataclass(slots=True)
class _Run:
    """One call of `load_table`: what every step needs, and what they add up to."""

    source: Source
    entry: TableEntry
    warehouse_dsn: str
    run_id: str
    clock: Clock
    connection: Connection
    target: Target
    started_at: datetime
    notices: list[str]
    on_stage: OnStage = _no_stage
    counts: Counts = field(default_factory=Counts)

    def add(self, counts: Counts, notices: list[str]) -> None:
        self.counts += counts
        self.notices += notices


def load_table(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    chunk_rows: int = CHUNK_ROWS,
    on_stage: OnStage = _no_stage,
) -> LoadResult:
    """Brings `raw_bitrix.<table>` up to date and says what happened to every row read.

    Args:
        chunk_rows: size of the key ranges that a complete read is cut into.
        on_stage: called with each of `STAGES` as it is reached; the fault tests kill the process in there.

    Raises:
        SourceError: the source could not be read.
        ContractError: the table or its key is not in the source, or rows do not fit.
    """
    began, started_at = time.monotonic(), clock()
    columns = source.columns(entry)
    with connect(warehouse_dsn, purpose=f"load {entry.name}", autocommit=True, synchronous_commit=False) as connection:
        lock(connection, entry)
        with connection.transaction():
            target, notices = ensure_target(connection, entry, columns)
        run = _Run(source, entry, warehouse_dsn, run_id, clock, connection, target, started_at, notices, on_stage)
        state = read_state(connection, target.name)
        if state.get("columns") != signature(columns) or "copying" in state:
            _copy_whole(run, state, chunk_rows)
        elif entry.strategy == "full":
            _read_whole(run, chunk_rows)
        else:
            _read_changes(run, state)
        if entry.strategy != "full":
            _compare_keys(run)
            on_stage("compared")
    result = LoadResult.of(target.name, run.counts, seconds=time.monotonic() - began, notices=run.notices)
    log.info(
        "%s (%s): %s read, %s inserted, %s updated, %s unchanged, %s quarantined, %s deleted in %.1f s",
        target.name, entry.strategy, result.read, result.inserted, result.updated, result.unchanged,
        result.quarantined, result.deleted, result.seconds,
    )  # fmt: skip
    for notice in result.notices:
        log.info("%s: %s", target.name, notice)
    return result


def _copy_whole(run: _Run, state: dict[str, Any], chunk_rows: int) -> None:
    """The first copy, and every copy after the source's columns changed; goes on where a killed one stopped."""
    columns = signature(run.target.columns)
    copying = state.get("copying")
    if copying is None or copying["columns"] != columns:
        # The marks of the beginning: what changes while the copy runs is read again after it.
        marks = run.source.marks(run.entry, run.target.columns, now=run.started_at)
        copying = {"columns": columns, "after": None, "marks": marks}
    else:
        run.notices.append(f"first copy goes on from {run.entry.range_by} {copying['after']}")
    ranges = _ranges(run, chunk_rows, after=copying["after"])
    run.on_stage("planned")
    for key_range in ranges:
        if key_range is ranges[-1]:
            new_state = {"columns": columns, "marks": copying["marks"]}
        else:
            new_state = {"copying": {**copying, "after": key_range.high}}
        _load_range(run, key_range, strategy="first_copy", state=new_state)
    # Nothing has looked at the new table yet; the planner would guess, and the next merge would scan it.
    run.connection.execute(sql.SQL("analyze {}").format(run.target.relation))
    run.on_stage("copied")


def _read_whole(run: _Run, chunk_rows: int) -> None:
    ranges = _ranges(run, chunk_rows)
    run.on_stage("planned")
    for key_range in ranges:
        _load_range(run, key_range, strategy="full", state=None)


def _ranges(run: _Run, chunk_rows: int, *, after: int | None = None) -> list[KeyRange]:
    bounds = run.source.bounds(run.entry)
    count = 0 if bounds is None else run.source.count(run.entry)
    return split(bounds, count=count, rows=chunk_rows, after=after)


def _load_range(run: _Run, key_range: KeyRange, *, strategy: str, state: dict[str, Any] | None) -> None:
    batches = run.source.read_ranges(run.entry, run.target.columns, [key_range])
    ends = (key_range.low, key_range.high)
    cursor_from, cursor_to = (None if end is None else str(end) for end in ends)
    make_load = partial(_load, run, strategy, cursor_from=cursor_from, cursor_to=cursor_to, state=state)
    _move(run, batches, make_load, scope=Scope(run.entry.range_by, key_range))


def _read_changes(run: _Run, state: dict[str, Any]) -> None:
    before: Marks = state["marks"]
    after = run.source.marks(run.entry, run.target.columns, now=run.started_at, but_cursor=True)
    run.on_stage("planned")
    batches: Iterator[pa.RecordBatch] = run.source.read_changes(
        run.entry, run.target.columns, before, now=run.started_at
    )
    if run.entry.cursor is not None and run.entry.cursor in run.target.types:
        after["cursor"] = before.get("cursor")
        batches = _follow(batches, run.entry.cursor, after, horizon=run.source.horizon(run.started_at))

    def make_load() -> Load:
        # Called once all rows are here, and with them the latest change time.
        return _load(
            run,
            run.entry.strategy,
            cursor_from=json.dumps(before),
            cursor_to=json.dumps(after),
            state={**state, "marks": after},
        )

    _move(run, batches, make_load, scope=None)


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


def _compare_keys(run: _Run) -> None:
    verification = compare(
        run.connection, run.source, run.entry, run.warehouse_dsn, run.target,
        run_id=run.run_id, clock=run.clock, whole_rows=False,
    )  # fmt: skip
    repair = verification.repair
    counts = Counts(repair.read, repair.inserted, repair.updated, repair.unchanged, repair.quarantined, repair.deleted)
    run.add(counts, list(repair.notices))


def _move(run: _Run, batches: Iterator[pa.RecordBatch], make_load: Callable[[], Load], *, scope: Scope | None) -> None:
    counts, notices = load_rows(
        run.connection, run.warehouse_dsn, run.target, batches, make_load,
        clock=run.clock, timezone=run.source.timezone, scope=scope, on_stage=run.on_stage,
    )  # fmt: skip
    run.add(counts, notices)


def _load(
    run: _Run,
    strategy: str,
    *,
    cursor_from: str | None,
    cursor_to: str | None,
    state: dict[str, Any] | None,
) -> Load:
    return Load(
        load_id=next_load_id(run.connection),
        run_id=run.run_id,
        target=run.target.name,
        strategy=strategy,
        started_at=run.started_at,
        cursor_from=cursor_from,
        cursor_to=cursor_to,
        state=state,
        # What was found about the columns belongs to the first load of the run that is committed.
        notices=tuple(run.notices) if run.counts == Counts() else (),
    )
