"""Compares a copy with its source, slice by slice of the key, and reads again what differs.

Source and warehouse each count and sum the keys (or the row hashes) of every slice; sums do not depend on order, so
nothing is sorted on either side, and a slice that is the same costs no row on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from psycopg import sql

from lettertrail.bitrix.catalog import CONTENT_KEY, TableEntry
from lettertrail.bitrix.columns import has_whole_key, squares
from lettertrail.bitrix.port import ROW_HASH, Bounds, Digest, KeyRange
from lettertrail.warehouse.ledger import Counts
from lettertrail.warehouse.merge import Scope
from lettertrail.warehouse.ranges import RANGE_ROWS, cut
from lettertrail.warehouse.run import Run
from lettertrail.warehouse.session import Session
from lettertrail.warehouse.slices import between, cropped, in_groups, joined, slice_of, slice_range

SMALLEST_SLICE = 500
"""Fewer keys than this are read again as quickly as they are compared."""
SOURCE_CONNECTIONS = 2
_PIECES = 8
"""Queries a comparison of a large table is cut into: short statements, and work for both connections to the end."""
_PIECE_KEYS = 200_000
_MOST_SLICES_AT_ONCE = 200
_SPLIT_SHARE = 4
"""Slices are split further when fewer than a fourth of them differ; else reading them again is as quick."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both sides said."""

    width: int
    slices: int
    differing: list[int]
    source_rows: int
    warehouse_rows: int
    after_load_id: int
    """The newest load of the table when its rows were counted."""
    rows_in: dict[int, int] = field(repr=False)
    """Slice -> rows in the source."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What reading the differing ranges again did."""

    counts: Counts
    still_differing: int
    """Slices in which the copy is not even what the repair itself has just read."""


def comparable(entry: TableEntry) -> TableEntry:
    """The entry as a comparison sees it: sliced only by a column that is in the key, and so never NULL."""
    return entry if entry.range_by in entry.key else replace(entry, range_by=None)


def compare(
    run: Run, ranges: Sequence[KeyRange], *, width: int, whole_rows: bool, bounds: Bounds | None = None
) -> Comparison | None:
    """Both sides' digests of some key ranges; None when the source cannot compute them.

    Args:
        whole_rows: compare row hashes (finds silent edits) instead of keys (finds deletes and gaps).
        bounds: of the table, when all of it is compared.
    """
    entry = comparable(run.entry)
    by_hash = whole_rows or entry.key == CONTENT_KEY
    after_load_id = newest_load(run)
    with ThreadPoolExecutor(SOURCE_CONNECTIONS) as threads:
        asked = [
            threads.submit(run.source.digests, entry, run.columns, piece, width=width, whole_rows=by_hash)
            for piece in _pieces(ranges, entry, bounds, width)
        ]
        ours = _warehouse_digests(run, entry, ranges, width=width, whole_rows=by_hash)
        answers = [answer.result() for answer in asked]
    theirs: dict[int, Digest] = {}
    for answer in answers:
        if answer is None:
            return None
        _add(theirs, answer)
    numbers = theirs.keys() | ours.keys()
    return Comparison(
        width=width,
        slices=len(numbers),
        differing=sorted(number for number in numbers if theirs.get(number) != ours.get(number)),
        source_rows=_rows(theirs),
        warehouse_rows=_rows(ours),
        after_load_id=after_load_id,
        rows_in={number: digest.rows for number, digest in theirs.items()},
    )


def repair(run: Run, found: Comparison, *, whole_rows: bool, within: Sequence[KeyRange], strategy: str) -> Repair:
    """Reads the slices that differ again, all in one query (or a few, when they are many rows), and merges them.

    A row missing there is marked as deleted: the source was asked for that very range again and did not have it.
    """
    entry = comparable(run.entry)
    before, still = run.counts, 0
    if entry.range_by is None:
        if found.differing:
            still = _read_again(run, [KeyRange()], width=None, strategy=strategy)
        return Repair(_less(run.counts, before), still)
    found = _split(run, found, whole_rows=whole_rows)
    for group in in_groups(found.differing, found.rows_in, rows=RANGE_ROWS, most=_MOST_SLICES_AT_ONCE):
        ranges = cropped(joined(slice_range(number, found.width) for number in group), within)
        still += _read_again(run, ranges, width=found.width, strategy=strategy)
    return Repair(_less(run.counts, before), still)


def read_all(run: Run, ranges: Sequence[KeyRange], *, strategy: str) -> int:
    """Reads ranges again without having compared them; returns in how many the copy is not what was read."""
    return sum(_read_again(run, [part], width=None, strategy=strategy) for part in ranges)


def whole_table(run: Run) -> list[KeyRange]:
    """The table in ranges that can be read in one go."""
    return [part for part, _ in cut(run.source, run.entry, run.columns)]


def newest_load(run: Run) -> int:
    """The id of the newest load of the table."""
    query = sql.SQL("select coalesce(max(load_id), 0) from ops.loads where target = {}")
    ((load_id,),) = run.connection.execute(query.format(sql.Literal(run.target.name))).fetchall()
    return int(load_id)


def slice_width(bounds: Bounds | None, slices: int) -> int:
    """So that there are about `slices` of them, none smaller than worth it."""
    if bounds is None:
        return SMALLEST_SLICE
    return max(SMALLEST_SLICE, -(-(bounds.high - bounds.low + 1) // slices))


def _split(run: Run, found: Comparison, *, whole_rows: bool) -> Comparison:
    """Looks closer at large slices, when few differ."""
    is_large = found.width >= 2 * SMALLEST_SLICE
    if not found.differing or not is_large or len(found.differing) * _SPLIT_SHARE > found.slices:
        return found
    ranges = joined(slice_range(number, found.width) for number in found.differing)
    closer = compare(run, ranges, width=SMALLEST_SLICE, whole_rows=whole_rows)
    return found if closer is None else closer


def _read_again(run: Run, ranges: Sequence[KeyRange], *, width: int | None, strategy: str) -> int:
    """Merges ranges as they are now; returns the slices in which landed and held rows differ afterwards."""
    if not ranges:
        return 0
    differing: set[int] = set()

    def look(session: Session, _: int, landing: sql.Composable | None) -> None:
        if landing is not None:
            differing.update(_landed_and_held_differ(session, run, landing, ranges, width))

    done = run.deliver_ranges(ranges, strategy=strategy, settle=look)
    # Refused rows are in the source and not in the copy.
    return max(len(differing), min(done.counts.quarantined, 1))


def _landed_and_held_differ(
    session: Session, run: Run, landing: sql.Composable, ranges: Sequence[KeyRange], width: int | None
) -> set[int]:
    """What was just read against what is now held, both by count and sum of the row hashes.

    The source is not asked a third time: a row that changes all day would differ for ever, though the copy is right as
    of the moment it was read.
    """
    entry = comparable(run.entry)
    sliced: sql.Composable = sql.SQL("0")
    if width is not None and entry.range_by is not None:
        sliced = sql.SQL("{}::bigint / {}").format(sql.Identifier(entry.range_by), sql.Literal(width))
    query = sql.SQL(
        "select coalesce(landed.slice, held.slice) from"
        " (select {slice} as slice, count(*) as n, sum({hash}) as total from {landing} group by 1) as landed"
        " full join"
        " (select {slice} as slice, count(*) as n, sum({hash}) as total from {target} as held"
        "  where _deleted_at is null and {scope} group by 1) as held on held.slice = landed.slice"
        " where (landed.n, landed.total) is distinct from (held.n, held.total)"
    ).format(
        slice=sliced,
        hash=sql.Identifier(ROW_HASH),
        landing=landing,
        target=run.target.relation,
        scope=Scope(run.entry.range_by, tuple(ranges)).predicate(),
    )
    return {int(number) for (number,) in session.rows(query)}


def _pieces(ranges: Sequence[KeyRange], entry: TableEntry, bounds: Bounds | None, width: int) -> list[list[KeyRange]]:
    """The ranges in as many parts as make good use of two connections; a slice is never cut."""
    if entry.range_by is None or bounds is None or not any(part.is_everything for part in ranges):
        half = -(-len(ranges) // SOURCE_CONNECTIONS)
        return [list(ranges[:half]), list(ranges[half:])] if len(ranges) > _PIECES else [list(ranges)]
    span = bounds.high - bounds.low + 1
    pieces = min(_PIECES, span // _PIECE_KEYS)
    if pieces < SOURCE_CONNECTIONS:
        return [list(ranges)]
    firsts = (slice_range(slice_of(bounds.low + span * number // pieces, width), width) for number in range(1, pieces))
    cuts = sorted({first.low for first in firsts if first.low is not None})
    return [[part] for part in between(cuts)]


def _warehouse_digests(
    run: Run, entry: TableEntry, ranges: Sequence[KeyRange], *, width: int, whole_rows: bool
) -> dict[int, Digest]:
    if whole_rows:
        total: sql.Composable = sql.Identifier(ROW_HASH)
    elif has_whole_key(run.columns, entry.key):
        total = sql.SQL(squares([f'"{key}"::bigint' for key in entry.key]))
    else:
        total = _key_hash(entry.key)
    slice_number: sql.Composable = sql.SQL("0")
    if entry.range_by is not None:
        # Both sides divide whole numbers towards zero.
        slice_number = sql.SQL("{}::bigint / {}").format(sql.Identifier(entry.range_by), sql.Literal(width))
    statement = sql.SQL(
        "select {slice} as slice, count(*), coalesce(sum({total}), 0)::text from {target} as held"
        " where _deleted_at is null and {scope} group by 1"
    ).format(
        slice=slice_number,
        total=total,
        target=run.target.relation,
        scope=Scope(entry.range_by, tuple(ranges)).predicate(),
    )
    return {number: Digest(rows, int(summed)) for number, rows, summed in run.connection.execute(statement)}


def _key_hash(key: tuple[str, ...]) -> sql.Composable:
    """The same 60 bits that `Dialect.text_key` makes of the key in the source."""
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key)
    return sql.SQL("('x' || lpad(left(md5(concat_ws(chr(31), {})), 15), 16, '0'))::bit(64)::bigint").format(texts)


def _add(sums: dict[int, Digest], more: Mapping[int, Digest]) -> None:
    for number, digest in more.items():
        held = sums.get(number, Digest(0, 0))
        sums[number] = Digest(held.rows + digest.rows, held.total + digest.total)


def _rows(digests: Mapping[int, Digest]) -> int:
    return sum(digest.rows for digest in digests.values())


def _less(after: Counts, before: Counts) -> Counts:
    return Counts(
        after.read - before.read,
        after.inserted - before.inserted,
        after.updated - before.updated,
        after.unchanged - before.unchanged,
        after.quarantined - before.quarantined,
        after.deleted - before.deleted,
    )
