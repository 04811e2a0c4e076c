"""Proves that a copy is its source, range by range, and repairs the ranges where it is not.

Source and warehouse each count and sum the keys (or the row hashes) of every slice of the key; only slices that differ
are read again. Sums do not depend on order, so no sorting is needed on either side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import ROW_HASH, Digest, KeyRange, Source
from lettertrail.clock import Clock
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import Counts, Load, LoadResult, next_load_id
from lettertrail.warehouse.merge import Scope, load_rows
from lettertrail.warehouse.target import Target, ensure_target

log = logging.getLogger(__name__)

SLICES = 128
SMALLEST_SLICE = 500
"""Fewer keys than this are read again as quickly as they are compared."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison found (before the repair) and what the repair did."""

    table: str
    method: str
    slices: int
    differing: int
    source_rows: int
    warehouse_rows: int
    repair: LoadResult

    @property
    def is_proven(self) -> bool:
        """Whether the copy was the source before anything was repaired."""
        return self.differing == 0


def verify_table(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    whole_rows: bool = True,
) -> Verification:
    """Compares a table that was copied before with its source and repairs what differs.

    Args:
        whole_rows: compare row hashes, which finds silent edits (the source hashes every row: nightly).
            False compares keys only, which finds deletes and gaps (cheap: every run).

    Raises:
        SourceError, ContractError: as `load_table`.
    """
    columns = source.columns(entry)
    with connect(warehouse_dsn, purpose=f"verify {entry.name}", autocommit=True) as connection:
        lock(connection, entry)
        target, _ = ensure_target(connection, entry, columns)
        return compare(
            connection, source, entry, warehouse_dsn, target,
            run_id=run_id, clock=clock, whole_rows=whole_rows,
        )  # fmt: skip


def compare(
    connection: Connection,
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    target: Target,
    *,
    run_id: str,
    clock: Clock,
    whole_rows: bool,
) -> Verification:
    """The work of `verify_table`, for a caller that holds the table's lock."""
    started, began = clock(), time.monotonic()
    width = _width(source, entry)
    theirs = source.digests(entry, target.columns, [KeyRange()], width=width, whole_rows=whole_rows) or {}
    ours = _warehouse_digests(connection, entry, target, width=width, whole_rows=whole_rows)
    differing = [number for number in theirs.keys() | ours.keys() if theirs.get(number) != ours.get(number)]
    method = "rows" if whole_rows else "keys"
    slices = len(theirs.keys() | ours.keys())
    source_rows, warehouse_rows = _rows(theirs), _rows(ours)
    connection.execute(
        "insert into ops.verifications (run_id, target, method, ranges, differing, source_rows, warehouse_rows,"
        " started_at, finished_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [run_id, target.name, method, slices, len(differing), source_rows, warehouse_rows, started, clock()],
    )
    counts, notices = Counts(), list[str]()
    for key_range in _ranges(entry, differing, width):
        done, said = load_rows(
            connection,
            warehouse_dsn,
            target,
            source.read_ranges(entry, target.columns, [key_range]),
            partial(_repair, connection, target, key_range, run_id, clock),
            clock=clock,
            timezone=source.timezone,
            scope=Scope(entry.range_by, key_range),
        )
        counts, notices = counts + done, notices + said
    log.info(
        "verified %s by %s: %s slices, %s differed, %s rows read again",
        target.name, method, slices, len(differing), counts.read,
    )  # fmt: skip
    repair = LoadResult.of(target.name, counts, seconds=time.monotonic() - began, notices=notices)
    return Verification(entry.name, method, slices, len(differing), source_rows, warehouse_rows, repair)


def lock(connection: Connection, entry: TableEntry) -> None:
    """One load of a table at a time; held until the connection closes, also when its process dies."""
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [f"load {entry.name}"])


def _repair(connection: Connection, target: Target, key_range: KeyRange, run_id: str, clock: Clock) -> Load:
    return Load(
        load_id=next_load_id(connection),
        run_id=run_id,
        target=target.name,
        strategy="verify",
        started_at=clock(),
        cursor_from=None if key_range.low is None else str(key_range.low),
        cursor_to=None if key_range.high is None else str(key_range.high),
    )


def _width(source: Source, entry: TableEntry) -> int:
    bounds = source.bounds(entry)
    if bounds is None:
        return SMALLEST_SLICE
    return max(SMALLEST_SLICE, -(-(bounds.high - bounds.low + 1) // SLICES))


def _warehouse_digests(
    connection: Connection, entry: TableEntry, target: Target, *, width: int, whole_rows: bool
) -> dict[int, Digest]:
    if whole_rows:
        total: sql.Composable = sql.Identifier(ROW_HASH)
    elif entry.key == (entry.range_by,):
        total = sql.Identifier(entry.key[0])
    else:
        total = _key_hash(entry.key)
    slice_number: sql.Composable = sql.SQL("0")
    if entry.range_by is not None:
        # Both sides divide whole numbers towards zero.
        slice_number = sql.SQL("{}::bigint / {}").format(sql.Identifier(entry.range_by), sql.Literal(width))
    statement = sql.SQL(
        "select {slice} as slice, count(*), coalesce(sum({total}), 0)::text from {target}"
        " where _deleted_at is null and {slice} is not null group by 1"
    ).format(slice=slice_number, total=total, target=target.relation)
    return {number: Digest(rows, int(summed)) for number, rows, summed in connection.execute(statement)}


def _key_hash(key: tuple[str, ...]) -> sql.Composable:
    """The same 60 bits that `lettertrail.bitrix.columns.hash_expression` makes of the key in the source."""
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key)
    return sql.SQL("('x' || lpad(left(md5(concat_ws(chr(31), {})), 15), 16, '0'))::bit(64)::bigint").format(texts)


def _ranges(entry: TableEntry, slices: Iterable[int], width: int) -> list[KeyRange]:
    """The key ranges of slices, neighbours joined."""
    if entry.range_by is None:
        return [KeyRange()] if list(slices) else []
    found: list[KeyRange] = []
    for number in sorted(slices):
        key_range = _range_of(number, width)
        if found and found[-1].high == key_range.low:
            key_range = KeyRange(found.pop().low, key_range.high)
        found.append(key_range)
    return found


def _range_of(number: int, width: int) -> KeyRange:
    """Division goes towards zero, so slice 0 is twice as wide and negative ones end where they begin."""
    if number > 0:
        return KeyRange(number * width, (number + 1) * width)
    if number == 0:
        return KeyRange(1 - width, width)
    return KeyRange((number - 1) * width + 1, number * width + 1)


def _rows(digests: Mapping[int, Digest]) -> int:
    return sum(digest.rows for digest in digests.values())
