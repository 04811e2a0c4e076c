"""Copies a table whole, in key ranges: planned once, each range a transaction of its own, by any number of workers.

The plan is in `ops.copies` and `ops.copy_ranges`. A worker takes the row lock of its range in the transaction that
copies it, so a killed one leaves nothing but a range that is not done, and two never copy the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Bounds, KeyRange, Mark, Source
from lettertrail.clock import Clock
from lettertrail.errors import ContractError, TableMissing
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.deliver import OnStage
from lettertrail.warehouse.ledger import LoadResult, literals, read_state
from lettertrail.warehouse.run import Run, no_stage, open_run
from lettertrail.warehouse.session import Session
from lettertrail.warehouse.slices import cut_by_count, cut_evenly, slice_range
from lettertrail.warehouse.target import SCHEMA, signature

log = logging.getLogger(__name__)

RANGE_ROWS = 500_000
"""Rows of one range: two seconds of work to lose, and few enough starts and commits not to be noticed."""
_FEW_ROWS = 1_000
_FINER = 32
_CROWDED = 4
"""A table with fewer rows than a fourth of its keys is cut by counting, or some ranges would hold most rows."""


@dataclass(frozen=True, slots=True)
class RangeTask:
    """One range that is to be copied; `number` of `of`."""

    table: str
    number: int
    of: int
    low: int | None
    high: int | None
    expected_rows: int

    @property
    def key_range(self) -> KeyRange:
        return KeyRange(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that is not finished."""

    copy_id: int
    kind: str
    columns: str
    low: int | None
    high: int | None
    marks: dict[str, Mark]
    was_empty: bool


def plan_copies(
    source: Source,
    entries: Sequence[TableEntry],
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    range_rows: int = RANGE_ROWS,
) -> list[RangeTask]:
    """Plans the first copy of every table that needs more than one range; returns the ranges that are not done.

    Tables that were copied before, small ones and missing ones are left to `load_table`.
    """
    with connect(warehouse_dsn, purpose="plan copies") as connection:
        rows = connection.execute(
            "select target from ops.cursors except select target from ops.copies where outcome is null"
        ).fetchall()
    known = {target for (target,) in rows}
    tasks: list[RangeTask] = []
    for entry in entries:
        if f"{SCHEMA}.{entry.name}" in known:
            continue
        try:
            found = plan_copy(
                source, entry, warehouse_dsn, run_id=run_id, clock=clock, range_rows=range_rows, is_large_only=True
            )
        except TableMissing:
            continue
        tasks += found
    log.info("%s ranges to copy of %s tables", len(tasks), len({task.table for task in tasks}))
    return tasks


def plan_copy(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    range_rows: int = RANGE_ROWS,
    is_large_only: bool = False,
) -> list[RangeTask]:
    """Plans the copy of a table, or takes up the plan there is; returns the ranges that are not done.

    Nothing is left to do, and the list empty, when the table was copied with the columns it has now.

    Args:
        is_large_only: plan nothing for a table that fits into one range.

    Raises:
        TableMissing, ContractError, SourceError: as `load_table`.
    """
    columns = source.columns(entry)
    if is_large_only and _is_surely_small(source.bounds(entry), entry):
        return []
    with open_run(
        source, entry, warehouse_dsn, columns, run_id=run_id, clock=clock, purpose="plan", settles_freshness=True
    ) as run:
        copy = open_copy(run.connection, run.target.name, "first_copy")
        here = signature(run.target.columns)
        if copy is None and read_state(run.connection, run.target.name).get("columns") == here:
            return []
        if copy is None or copy.columns != here:
            marks = source.marks(run.entry, run.columns, now=run.started_at)
            parts = cut(source, entry, run.columns, range_rows=range_rows)
            if is_large_only and len(parts) == 1:
                return []
            copy = write_plan(run, "first_copy", parts, marks=marks)
        return pending(run.connection, copy, entry)


def copy_range(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    key_range: KeyRange,
    *,
    run_id: str,
    clock: Clock,
    on_stage: OnStage = no_stage,
) -> LoadResult:
    """Copies one planned range in one transaction; does nothing when it is done. Waits while another worker is at it.

    Raises:
        ContractError: there is no such range in the plan.
        SourceError, WarehouseError: nothing of the range was stored.
    """
    columns = source.columns(entry)
    with open_run(
        source, entry, warehouse_dsn, columns,
        run_id=run_id, clock=clock, purpose="copy", is_shared=True, on_stage=on_stage,
    ) as run:  # fmt: skip
        copy = open_copy(run.connection, run.target.name, "first_copy")
        if copy is None:
            run.notices.append("nothing to copy: the copy is finished")
            return run.result()
        if copy.columns != signature(run.target.columns):
            run.notices.append("the columns changed since this was planned; the next load plans anew")
            return run.result()
        every = _tasks(run.connection, copy, entry)
        task = next((task for task in every if task.key_range == key_range), None)
        if task is None:
            raise ContractError(f"{run.target.name}: {key_range} is no range of its copy")
        copy_one(run, copy, task)
        result = run.result()
    log.info("%s: range %s of %s, %s rows in %.1f s", entry.name, task.number, task.of, result.read, result.seconds)
    return result


def finish_copy(source: Source, entry: TableEntry, warehouse_dsn: str, *, run_id: str, clock: Clock) -> LoadResult:
    """Sets the watermarks taken before the first range, once all are done. Does nothing when no copy is open.

    Raises:
        ContractError: ranges are missing.
    """
    columns = source.columns(entry)
    with open_run(source, entry, warehouse_dsn, columns, run_id=run_id, clock=clock, purpose="finish") as run:
        run.notices.clear()
        copy = open_copy(run.connection, run.target.name, "first_copy")
        if copy is not None:
            close_copy(run, copy)
        return run.result()


def copy_all(run: Run, *, range_rows: int = RANGE_ROWS) -> None:
    """The first copy, and every copy after the source's columns changed; goes on where a killed one stopped."""
    here = signature(run.target.columns)
    copy = open_copy(run.connection, run.target.name, "first_copy")
    if copy is None or copy.columns != here:
        # The marks of the beginning: what changes while the copy runs is read again after it.
        marks = run.source.marks(run.entry, run.columns, now=run.started_at)
        parts = cut(run.source, run.entry, run.columns, range_rows=range_rows)
        copy = write_plan(run, "first_copy", parts, marks=marks)
        tasks = pending(run.connection, copy, run.entry)
    else:
        tasks = pending(run.connection, copy, run.entry)
        done = len(_tasks(run.connection, copy, run.entry)) - len(tasks)
        run.notices.append(f"first copy goes on: {done} of {done + len(tasks)} ranges are done")
    run.on_stage("planned")
    for task in tasks:
        copy_one(run, copy, task)
    close_copy(run, copy)
    run.on_stage("copied")


def copy_one(run: Run, copy: Copy, task: RangeTask) -> None:
    """One range of a plan, unless it is done."""
    run.deliver_ranges(
        [task.key_range],
        strategy=copy.kind,
        is_fresh=copy.was_empty,
        claim=partial(_claim, copy_id=copy.copy_id, number=task.number),
        settle=partial(_settle, copy_id=copy.copy_id, number=task.number),
    )


def write_plan(
    run: Run,
    kind: str,
    parts: Sequence[tuple[KeyRange, int]],
    *,
    marks: dict[str, Mark],
    within: KeyRange | None = None,
) -> Copy:
    """Writes a plan, in place of one that is open; `parts` are ranges and the rows to expect in each."""
    within = within or KeyRange()
    name, columns = run.target.name, signature(run.target.columns)
    with run.connection.transaction():
        run.connection.execute(
            "update ops.copies set outcome = 'abandoned', finished_at = %s"
            " where target = %s and kind = %s and outcome is null",
            [run.started_at, name, kind],
        )
        ((was_empty,),) = run.connection.execute(
            sql.SQL("select not exists (select from {})").format(run.target.relation)
        ).fetchall()
        ((copy_id,),) = run.connection.execute(
            "insert into ops.copies (target, kind, run_id, columns, low, high, marks, was_empty, planned_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning copy_id",
            [
                name,
                kind,
                run.run_id,
                columns,
                within.low,
                within.high,
                json.dumps(marks),
                was_empty,
                run.started_at,
            ],
        ).fetchall()
        with run.connection.cursor() as cursor:
            cursor.executemany(
                "insert into ops.copy_ranges (copy_id, number, target, low, high, expected_rows)"
                " values (%s, %s, %s, %s, %s, %s)",
                [
                    [copy_id, number, name, part.low, part.high, rows]
                    for number, (part, rows) in enumerate(parts, start=1)
                ],
            )
    return Copy(copy_id, kind, columns, within.low, within.high, marks, was_empty)


def open_copy(connection: Connection, target: str, kind: str) -> Copy | None:
    """The copy of a table that is not finished."""
    row = connection.execute(
        "select copy_id, kind, columns, low, high, marks, was_empty from ops.copies"
        " where target = %s and kind = %s and outcome is null",
        [target, kind],
    ).fetchone()
    return None if row is None else Copy(*row)


def pending(connection: Connection, copy: Copy, entry: TableEntry) -> list[RangeTask]:
    """The ranges that are not done."""
    done = {
        number
        for (number,) in connection.execute(
            "select number from ops.copy_ranges where copy_id = %s and status = 'done'", [copy.copy_id]
        )
    }
    return [task for task in _tasks(connection, copy, entry) if task.number not in done]


def close_copy(run: Run, copy: Copy) -> None:
    """Marks a copy as finished; the table's watermarks become those from before its first range.

    Raises:
        ContractError: ranges are missing.
    """
    missing = len(pending(run.connection, copy, run.entry))
    if missing:
        raise ContractError(f"{run.target.name}: {missing} ranges of its copy are not done")
    with run.connection.transaction():
        run.connection.execute(
            "update ops.copies set outcome = 'finished', finished_at = %s where copy_id = %s",
            [run.clock(), copy.copy_id],
        )
        if copy.kind == "first_copy":
            run.connection.execute(
                "insert into ops.cursors (target, state, load_id, updated_at)"
                " select %s, %s, max(load_id), %s from ops.copy_ranges where copy_id = %s"
                " on conflict (target) do update set state = excluded.state, load_id = excluded.load_id,"
                " updated_at = excluded.updated_at",
                [
                    run.target.name,
                    json.dumps({"columns": copy.columns, "marks": copy.marks}),
                    run.clock(),
                    copy.copy_id,
                ],
            )
    # Nothing has looked at the new rows yet; the planner would guess, and the next merge would scan the table.
    run.connection.execute(sql.SQL("analyze {}").format(run.target.relation))


def cut(
    source: Source,
    entry: TableEntry,
    columns: Sequence[Column],
    *,
    range_rows: int = RANGE_ROWS,
) -> list[tuple[KeyRange, int]]:
    """Ranges of at most about `range_rows` rows that together cover a table, with the rows to expect in each."""
    bounds = source.bounds(entry)
    if bounds is None:
        return [(KeyRange(), 0)]
    span = bounds.high - bounds.low + 1
    if entry.key == (entry.range_by,) and span <= min(_FEW_ROWS, range_rows):
        return [(KeyRange(), span)]
    count = source.count(entry)
    if count <= range_rows:
        return [(KeyRange(), count)]
    pieces = -(-count // range_rows)
    if entry.key == (entry.range_by,) and count * _CROWDED >= span:
        # No key twice and few gaps: a range cannot hold much more than its share.
        parts = cut_evenly(bounds, pieces)
    else:
        cells = _cells(source, entry, columns, KeyRange(), width=max(1, span // (pieces * 8)), rows=range_rows)
        parts = cut_evenly(bounds, pieces) if cells is None else cut_by_count(cells, rows=range_rows)
    return [(part, -(-count // len(parts))) for part in parts]


def _cells(
    source: Source, entry: TableEntry, columns: Sequence[Column], within: KeyRange, *, width: int, rows: int
) -> list[tuple[int, int]] | None:
    """First key and rows of slices in order, smaller where the rows are; None when the source does not count."""
    digests = source.digests(entry, columns, [within], width=width, whole_rows=False)
    if digests is None:
        return None
    cells: list[tuple[int, int]] = []
    for number in sorted(digests):
        part = slice_range(number, width)
        if digests[number].rows > rows and width > 1:
            cells += _cells(source, entry, columns, part, width=max(1, width // _FINER), rows=rows) or []
        elif part.low is not None:
            cells.append((part.low, digests[number].rows))
    return cells


def _is_surely_small(bounds: Bounds | None, entry: TableEntry) -> bool:
    return bounds is None or (entry.key == (entry.range_by,) and bounds.high - bounds.low < _FEW_ROWS)


def _tasks(connection: Connection, copy: Copy, entry: TableEntry) -> list[RangeTask]:
    rows = connection.execute(
        "select number, low, high, expected_rows, count(*) over () from ops.copy_ranges"
        " where copy_id = %s order by number",
        [copy.copy_id],
    ).fetchall()
    return [RangeTask(entry.name, number, of, low, high, expected) for number, low, high, expected, of in rows]


def _claim(session: Session, *, copy_id: int, number: int) -> bool:
    """Takes the range for this transaction; False when it is done."""
    query = "select status from ops.copy_ranges where (copy_id, number) = ({}) for update"
    ((status,),) = session.rows(sql.SQL(query).format(literals([copy_id, number])))
    return bool(status == "planned")


def _settle(session: Session, load_id: int, _: sql.Composable | None, *, copy_id: int, number: int) -> None:
    statement = "update ops.copy_ranges set status = 'done', load_id = {} where (copy_id, number) = ({})"
    session.run(sql.SQL(statement).format(sql.Literal(load_id), literals([copy_id, number])))
