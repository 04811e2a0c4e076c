"""What every step of bringing one table up to date needs: its source, its raw table, its lock and its sums."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any

from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import KeyRange, Rows, Source
from lettertrail.clock import Clock
from lettertrail.warehouse.clean import of_the_source, with_json_columns
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.deliver import Delivered, Delivery, OnStage, deliver
from lettertrail.warehouse.freshness import settle
from lettertrail.warehouse.ledger import Counts, Load, LoadResult
from lettertrail.warehouse.merge import Scope
from lettertrail.warehouse.session import Session, translated_errors
from lettertrail.warehouse.target import Target, ensure_target

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h


def no_stage(_: str) -> None:
    """For callers that do not want to be told."""


@dataclass(slots=True)
class Run:
    """One call that works on one table, and what its loads add up to."""

    source: Source
    entry: TableEntry
    run_id: str
    clock: Clock
    connection: Connection
    target: Target
    started_at: datetime
    notices: list[str]
    on_stage: OnStage = no_stage
    counts: Counts = field(default_factory=Counts)
    began: float = field(default_factory=time.monotonic)
    has_told: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the source; the target has more when PHP-serialized ones are parsed."""
        return of_the_source(self.target.columns)

    def deliver(
        self,
        open_rows: Callable[[], Rows],
        *,
        strategy: str,
        cursor_from: Callable[[], str | None] = lambda: None,
        cursor_to: Callable[[], str | None] = lambda: None,
        state: Callable[[], dict[str, Any] | None] = lambda: None,
        ranges: Sequence[KeyRange] | None = None,
        is_fresh: bool = False,
        claim: Callable[[Session], bool] = lambda _: True,
        settle: Callable[[Session, int, sql.Composable | None], None] = lambda *_: None,
    ) -> Delivered:
        """One load of this run; see `Delivery`.

        Args:
            ranges: what the rows are all of; None when they are a selection.
        """

        def make_load(load_id: int) -> Load:
            return Load(
                load_id=load_id,
                run_id=self.run_id,
                target=self.target.name,
                strategy=strategy,
                started_at=self.started_at,
                cursor_from=cursor_from(),
                cursor_to=cursor_to(),
                state=state(),
                # What was found about the table belongs to the first load of the run that is committed.
                notices=() if self.has_told else tuple(self.notices),
            )

        work = Delivery(
            target=self.target,
            open_rows=open_rows,
            make_load=make_load,
            clock=self.clock,
            timezone=self.source.timezone,
            most_quarantined_pct=self.entry.max_quarantined_pct,
            scope=None if ranges is None else Scope(self.entry.range_by, tuple(ranges)),
            is_fresh=is_fresh,
            rewrites=strategy == "first_copy",
            claim=claim,
            settle=settle,
            on_stage=self.on_stage,
        )
        done = deliver(self.connection, work)
        self.has_told = self.has_told or done.load_id is not None
        self.counts += done.counts
        self.notices += done.notices
        return done

    def deliver_ranges(
        self,
        ranges: Sequence[KeyRange],
        *,
        strategy: str,
        is_fresh: bool = False,
        claim: Callable[[Session], bool] = lambda _: True,
        settle: Callable[[Session, int, sql.Composable | None], None] = lambda *_: None,
    ) -> Delivered:
        """One load of all rows of some key ranges, in one query."""
        return self.deliver(
            partial(self.source.read_ranges, self.entry, self.columns, ranges),
            strategy=strategy,
            ranges=ranges,
            is_fresh=is_fresh,
            claim=claim,
            settle=settle,
            cursor_from=partial(_text, ranges[0].low),
            cursor_to=partial(_text, ranges[-1].high),
        )

    def result(self) -> LoadResult:
        """What all loads of the run did together."""
        seconds = time.monotonic() - self.began
        return LoadResult.of(self.target.name, self.counts, seconds=seconds, notices=self.notices)


@contextmanager
def open_run(
    source: Source,
    entry: TableEntry,
    warehouse_dsn: str,
    columns: tuple[Column, ...],
    *,
    run_id: str,
    clock: Clock,
    purpose: str,
    is_shared: bool = False,
    settles_freshness: bool = False,
    on_stage: OnStage = no_stage,
) -> Iterator[Run]:
    """A run that holds the table's lock until the end.

    Args:
        columns: what the source has now.
        is_shared: other workers may copy other ranges of the table meanwhile; everything else waits.
        settles_freshness: decide anew how the table is kept fresh here; the run's entry is the one to load by.

    Raises:
        ContractError: the raw table does not fit the entry.
        WarehouseError: the lock could not be had, or the warehouse broke off.
    """
    _keep_memory_small()
    began, started_at = time.monotonic(), clock()
    purpose = f"{purpose} {entry.name}"
    with (
        translated_errors(purpose),
        connect(warehouse_dsn, purpose=purpose, autocommit=True, synchronous_commit=False) as connection,
    ):
        lock(connection, entry, is_shared=is_shared)
        with connection.transaction():
            target, notices = ensure_target(connection, entry, with_json_columns(columns, entry.php), at=started_at)
            if settles_freshness:
                entry = settle(connection, source, entry, columns, at=started_at)
        yield Run(
            source=source, entry=entry, run_id=run_id, clock=clock, connection=connection, target=target,
            started_at=started_at, notices=notices, on_stage=on_stage, began=began,
        )  # fmt: skip


def lock(connection: Connection, entry: TableEntry, *, is_shared: bool = False) -> None:
    """One load of a table at a time; held until the connection closes, also when its process dies."""
    statement = "select pg_advisory_lock_shared({key})" if is_shared else "select pg_advisory_lock({key})"
    key = sql.SQL("hashtextextended({}, 0)").format(sql.Literal(f"load {entry.name}"))
    connection.execute(sql.SQL(statement).format(key=key))


@cache
def _keep_memory_small() -> None:
    """Tells glibc not to give every thread a heap of its own, and to give large blocks back as soon as they are free.

    Batches are made by one thread and freed by another. A copy of the recipients then takes 205 MB at its peak instead
    of up to 310, and no more time (measured with one source connection).
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


def _text(end: int | None) -> str | None:
    return None if end is None else str(end)
