"""One load, from the source's rows to the commit: rows, quarantine, ledger row and cursor together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa
from psycopg import sql

from lettertrail.bitrix.port import Rows
from lettertrail.clock import Clock
from lettertrail.errors import ContractError, LedgerImbalance
from lettertrail.warehouse.clean import Cleaner, unreadable_keys
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.direct import as_held, held_columns, is_direct
from lettertrail.warehouse.landing import land
from lettertrail.warehouse.ledger import Counts, Load, next_load_id, record
from lettertrail.warehouse.merge import Merge, Scope
from lettertrail.warehouse.quarantine import check_share, keep_unparsed, keep_unreadable
from lettertrail.warehouse.session import Session, is_unfit, safe_reason, transaction, translated_errors
from lettertrail.warehouse.target import Target

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one load is to do."""

    target: Target
    open_rows: Callable[[], Rows]
    """Asks the source; called again when rows that went straight into the raw table have to be looked at first."""
    make_load: Callable[[int], Load]
    """Called with the load's id inside the transaction, once all rows are here."""
    clock: Clock
    timezone: ZoneInfo
    most_quarantined_pct: float
    scope: Scope | None = None
    """What part of the source the rows are all of; None when they are only a selection, so nothing is deleted."""
    is_fresh: bool = False
    """The raw table is known to hold nothing of `scope`."""
    rewrites: bool = False
    """See `Merge.rewrites`."""
    claim: Callable[[Session], bool] = lambda _: True
    """Called first in the transaction; False when somebody else has done the work."""
    settle: Callable[[Session, int, sql.Composable | None], None] = lambda *_: None
    """Called when the rows are merged, before `make_load`, with the load's id and the landing table, if any."""
    on_stage: OnStage = lambda _: None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of it."""

    counts: Counts
    notices: tuple[str, ...] = ()
    load_id: int | None = None
    """None when somebody else had done the work."""


def deliver(connection: Connection, work: Delivery) -> Delivered:
    """Carries out one load and commits once. `connection` must be in autocommit mode.

    Raises:
        SourceError: the source broke off.
        ContractError: rows do not fit their columns, or too many were refused.
        WarehouseError: the warehouse broke off.
    """
    with translated_errors(work.target.name):
        try:
            return _attempt(connection, work, may_go_direct=True)
        except _NotDirect:
            # Duplicate or missing keys, or values that do not fit: the long way tells which rows.
            return _attempt(connection, work, may_go_direct=False)


class _NotDirect(ContractError):
    """The rows of a range cannot go straight into the raw table."""


def _attempt(connection: Connection, work: Delivery, *, may_go_direct: bool) -> Delivered:
    with transaction(connection) as session:
        if not work.claim(session):
            return Delivered(Counts())
        delivered = _store(session, work, work.open_rows(), may_go_direct=may_go_direct)
        work.on_stage("before commit")
    work.on_stage("committed")
    return delivered


def _store(session: Session, work: Delivery, arriving: Rows, *, may_go_direct: bool) -> Delivered:
    """Everything between the first and the last statement of a load."""
    target = work.target
    load_id, at = next_load_id(session), work.clock()
    cleaner = Cleaner(target, on_stage=work.on_stage)
    counts, unparsed, landing = Counts(), cleaner.unparsed, None
    batches = _unless_empty(arriving)
    if may_go_direct and _is_direct(session, work):
        counts = _go_direct(session, work, batches or iter(()), cleaner, load_id=load_id, at=at)
        work.on_stage("merged")
    elif batches is not None or work.scope is not None:
        landing = land(session, target, batches or iter(()), cleaner)
        work.on_stage("rows landed")
        merge = Merge(session, target, landing, load_id, at, work.timezone, work.rewrites)
        counts = merge.run(read=cleaner.rows, scope=work.scope, spared=unreadable_keys(arriving.unreadable))
        unparsed = merge.stored(unparsed)
        work.on_stage("merged")
    refused = len(arriving.unreadable)
    counts += Counts(read=refused, quarantined=refused)
    check_share(counts, target=target.name, most_pct=work.most_quarantined_pct)
    keep_unreadable(session, arriving.unreadable, target=target.name, load_id=load_id, at=at)
    keep_unparsed(session, unparsed, target=target.name, load_id=load_id, at=at)
    said = (*cleaner.notices, *([f"{counts.quarantined} rows quarantined"] if counts.quarantined else ()))
    work.settle(session, load_id, landing)
    load = work.make_load(load_id)
    load = replace(load, notices=(*load.notices, *said))
    record(session, load, counts, finished_at=work.clock())
    return Delivered(counts, said, load_id)


def _unless_empty(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch] | None:
    """The batches with any rows; None when there are none, which most increments end with."""
    for batch in batches:
        if batch.num_rows:
            return chain([batch], batches)
    return None


def _is_direct(session: Session, work: Delivery) -> bool:
    """Whether the rows can go straight into the raw table, because it holds nothing where they belong."""
    if work.scope is None or not is_direct(work.target):
        return False
    if work.is_fresh:
        return True
    # Only the key's first column has an index; without one, nothing but an empty table is quick to recognise.
    is_indexed = work.scope.range_by == work.target.key[0]
    inside = work.scope.predicate() if is_indexed else sql.SQL("true")
    query = sql.SQL("select count(*) from (select from {} as held where {} limit 1) as found")
    ((found,),) = session.rows(query.format(work.target.relation, inside))
    return int(found) == 0


def _go_direct(
    session: Session,
    work: Delivery,
    batches: Iterator[pa.RecordBatch],
    cleaner: Cleaner,
    *,
    load_id: int,
    at: datetime,
) -> Counts:
    target = work.target
    held = as_held(target, cleaner.clean(batches), at=at, load_id=load_id, timezone=work.timezone)
    try:
        copied = session.copy(target.relation, held_columns(target), held)
    except (psycopg.Error, pa.ArrowException) as error:
        if is_unfit(error):
            raise _NotDirect(safe_reason(error)) from None
        raise
    if copied != cleaner.rows:
        raise LedgerImbalance(f"{target.name}: {cleaner.rows} rows read, {copied} copied")
    work.on_stage("rows landed")
    return Counts(read=cleaner.rows, inserted=copied)
