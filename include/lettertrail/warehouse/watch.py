"""Which keys the hourly comparison looks at, so that its cost does not grow with the history of a table.

All of them while the table is small. Of a large one: the newest keys, where transactions commit late; the rows of
parents that are still moving (a posting that is sent or young may be rebuilt, under new ids), as they were seen in this
run and in the one before; and another share of the rest every hour. Deletes elsewhere wait for that share to come
round or for the nightly comparison of everything, whichever is first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry, Trigger
from lettertrail.bitrix.port import Bounds, KeyRange
from lettertrail.warehouse.ledger import literals
from lettertrail.warehouse.session import Session
from lettertrail.warehouse.slices import joined
from lettertrail.warehouse.target import SCHEMA, Target

SMALL_KEYS = 200_000
"""Up to this many keys all are compared every time."""
TAIL_KEYS = 20_000
SHARE_KEYS = 200_000
"""Keys of the rest that are compared in one hour."""
_MOST_PARTS = 50
_SPARSE = 50
"""A parent whose rows lie further apart than this is not watched: its range would hold mostly other rows."""

Watched = list[list[int]]
"""Key ranges as the cursor keeps them: [low, high) each."""


def moving_parts(
    session: Session, target: Target, entry: TableEntry, landing: sql.Composable, *, now: datetime, zone: ZoneInfo
) -> Watched:
    """The key ranges of the landed rows whose parent is open or young, so that all of its rows were read."""
    found: list[tuple[int, int]] = []
    if entry.key == (entry.range_by,):
        for trigger in entry.touched_by:
            condition = _is_moving(trigger, now, zone)
            if condition is not None and _has(session, trigger.table):
                found += _extents(session, target, landing, trigger, condition)
    elif entry.range_by == entry.key[0] and any(trigger.matches == entry.range_by for trigger in entry.touched_by):
        found += _suspects(session, target, landing)
    # The newest, when there are too many to ask for in one statement.
    return [list(part) for part in sorted(found)[-_MOST_PARTS:]]


def parts_to_compare(
    entry: TableEntry, bounds: Bounds, watched: Iterable[Sequence[int]], *, now: datetime
) -> list[KeyRange]:
    """The key ranges to compare in this run."""
    span = bounds.high - bounds.low + 1
    if span <= SMALL_KEYS or entry.range_by is None:
        return [KeyRange()]
    newest = KeyRange(bounds.high + 1 - max(TAIL_KEYS, entry.tail or 0), None)
    shares = -(-span // SHARE_KEYS)
    turn = int(now.timestamp() // 3600) % shares
    share = KeyRange(bounds.low + turn * SHARE_KEYS, bounds.low + (turn + 1) * SHARE_KEYS)
    return joined([newest, share, *(KeyRange(low, high) for low, high in watched)])


def _is_moving(trigger: Trigger, now: datetime, zone: ZoneInfo) -> sql.Composable | None:
    if trigger.via is not None:
        return None
    arms = [
        sql.SQL("{} in ({})").format(sql.Identifier("other", column), literals(words))
        for column, words in trigger.open_while.items()
    ]
    if trigger.young_by is not None and trigger.young_days is not None:
        since = (now - timedelta(days=trigger.young_days)).astimezone(zone).replace(tzinfo=None)
        arms.append(sql.SQL("{} >= {}").format(sql.Identifier("other", trigger.young_by), sql.Literal(since)))
    return sql.SQL(" or ").join(arms) if arms else None


def _has(session: Session, table: str) -> bool:
    query = sql.SQL("select to_regclass({}) is not null").format(sql.Literal(f"{SCHEMA}.{table}"))
    ((is_there,),) = session.rows(query)
    return bool(is_there)


def _extents(
    session: Session, target: Target, landing: sql.Composable, trigger: Trigger, condition: sql.Composable
) -> list[tuple[int, int]]:
    query = sql.SQL(
        "select min({key}), max({key}) + 1 from {landing} as landed"
        " join {parent} as other on {theirs} = {ours} where other._deleted_at is null and ({condition})"
        " group by {ours} having max({key}) - min({key}) < count(*) * {sparse}"
    ).format(
        key=_landed(target, target.key[0]),
        landing=landing,
        parent=sql.Identifier(SCHEMA, trigger.table),
        theirs=sql.Identifier("other", trigger.column),
        ours=_landed(target, trigger.matches),
        condition=condition,
        sparse=sql.Literal(_SPARSE),
    )
    return [(int(low), int(high)) for low, high in session.rows(query)]


def _suspects(session: Session, target: Target, landing: sql.Composable) -> list[tuple[int, int]]:
    """Parents that were read again and of which the copy holds a row that was not among what came."""
    same = [sql.SQL("{} = held.{}").format(_landed(target, key), sql.Identifier(key)) for key in target.key]
    query = sql.SQL(
        "select distinct held.{parent}::bigint from {target} as held"
        " where held.{parent} in (select {landed} from {landing} as landed) and held._deleted_at is null"
        " and not exists (select from {landing} as landed where {same})"
        " limit {most}"
    ).format(
        parent=sql.Identifier(target.key[0]),
        landed=_landed(target, target.key[0]),
        target=target.relation,
        landing=landing,
        same=sql.SQL(" and ").join(same),
        most=sql.Literal(_MOST_PARTS),
    )
    return [(int(parent), int(parent) + 1) for (parent,) in session.rows(query)]


def _landed(target: Target, name: str) -> sql.Composable:
    """A landed value as its raw column has it: an unsigned bigint lands as text."""
    return sql.SQL("{}::{}").format(sql.Identifier("landed", name), sql.SQL(target.types[name]))
