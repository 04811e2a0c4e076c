"""Plan → brake → push, with one outcome per record.

The order of writing makes a kill at any moment harmless:

1. the run and all its records are written before the first call, each as `retry_pending`, or `held` by the brake;
2. a batch is marked as in flight, then called, then its outcomes, calls and acknowledgements are written together;
3. `ops.acknowledged` moves only on a confirmation, so the next run plans whatever was not confirmed; a record that
   got through although we never saw the answer comes back as `already_ok`.

The sums of a dead run are made up by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import psycopg

from lettertrail.audiences import statements
from lettertrail.audiences.brake import Hold, Limits, holds
from lettertrail.audiences.destinations import AudienceDestination, Destination, Releases, TakesAttributes
from lettertrail.audiences.plan import CRM, SUPPRESSIONS, Plan, Target, plan_segment, plan_suppressions
from lettertrail.audiences.segments import Segment
from lettertrail.clock import Clock
from lettertrail.errors import (
    BrakeApplied,
    ConfigurationError,
    ContractError,
    LedgerImbalance,
    LetterTrailError,
    RateLimited,
    TemporaryApiError,
)
from lettertrail.esps.port import Outcome, Record
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

BATCH_SIZE = 15_000
"""Records between two commits. An adapter first asks who is there, once per batch, so a small one costs calls; it cuts
the batch into the bulk calls its service takes, and every service's bulk divides this."""
GIVE_UP_AFTER = 3
"""Batches in a row that failed for a passing reason: the rest is left to the next run."""

SUPPRESSION_LIMITS = Limits(max_removed_pct=20.0, tolerated_rows=10)
"""For releases, the only risky step of suppressing."""

_PASSING = (TemporaryApiError, RateLimited)
_Write = Callable[[Sequence[Record]], Iterable[Outcome]]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did, in numbers: planned = applied + already_ok + rejected + retry_pending + held."""

    sync_run_id: int
    destination: str
    account: str
    audience: str
    dry_run: bool
    planned: int
    applied: int
    already_ok: int
    rejected: int
    retry_pending: int
    held: int
    brake_reason: str | None


@dataclass(frozen=True, slots=True)
class _Row:
    record: Record = field(repr=False)
    reason: str
    is_ours: bool
    value: str | None


def sync_suppressions(
    destination: Destination,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    dry_run: bool,
    release_brake: bool = False,
    limits: Limits = SUPPRESSION_LIMITS,
) -> SyncResult:
    """Tells one destination who must not be mailed, and Bitrix also who may be again.

    Raises:
        BrakeApplied: something was held; all the rest was pushed and recorded.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ContractError: a mart is missing, or the destination did not account for a record.
        LedgerImbalance: the run's sums do not add up.
    """
    target = Target(destination.name, destination.account, SUPPRESSIONS)
    writes: dict[str, _Write] = {"suppress": destination.suppress}
    if isinstance(destination, Releases):
        writes["release"] = destination.release
    sync = _Sync(target, warehouse_dsn, destination, writes, run_id, clock, dry_run, release_brake, limits)
    return sync.run(destination.suppressed, partial(plan_suppressions, target=target))


def sync_segment(
    segment: Segment,
    destination: AudienceDestination,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    dry_run: bool,
    release_brake: bool = False,
    limits: Limits | None = None,
) -> SyncResult:
    """Makes an audience at one destination what the segment says, less everybody who must not be mailed.

    `limits` default to the segment's own.

    Raises:
        BrakeApplied: something was held; all the rest was pushed and recorded.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ConfigurationError: the destination has no audiences.
        ContractError: a relation is missing, or the destination did not account for a record.
        LedgerImbalance: the run's sums do not add up.
    """
    if destination.name == CRM:
        raise ConfigurationError(f"{segment.name}: {CRM} has no audiences to push a segment to")
    target = Target(destination.name, destination.account, segment.audience)
    writes: dict[str, _Write] = {
        "add": partial(destination.add_members, segment.audience),
        "remove": partial(destination.remove_members, segment.audience),
    }
    if limits is None:
        limits = Limits(max_removed_pct=segment.max_removed_pct, max_removed_rows=segment.max_removed_rows)
    sync = _Sync(target, warehouse_dsn, destination, writes, run_id, clock, dry_run, release_brake, limits)
    sends_attributes = isinstance(destination, TakesAttributes) and destination.sends_attributes
    plan = partial(plan_segment, segment=segment, target=target, sends_attributes=sends_attributes)
    return sync.run(partial(destination.members, segment.audience), plan)


@dataclass(slots=True)
class _Sync:
    target: Target
    warehouse_dsn: str = field(repr=False)
    destination: Destination
    writes: dict[str, _Write]
    run_id: str
    clock: Clock
    dry_run: bool
    release_brake: bool
    limits: Limits
    calls_made: int = 0

    def run(self, present: Callable[[], Iterable[str]], make_plan: Callable[..., Plan]) -> SyncResult:
        with self._connected() as connection:
            self._settle(connection, present)
            at = self.clock()
            plan = make_plan(connection, at=at)
            held = self._holds(connection, plan, at)
            sync_run_id = self._open(connection, plan, held, at)
            fault = None if self.dry_run else self._push(connection, sync_run_id)
            result = self._close(connection, sync_run_id)
        log.info(
            "%s planned=%s applied=%s already_ok=%s rejected=%s retry_pending=%s held=%s dry_run=%s",
            self.target,
            result.planned,
            result.applied,
            result.already_ok,
            result.rejected,
            result.retry_pending,
            result.held,
            self.dry_run,
        )
        if fault is not None:
            raise fault
        self._raise_unfinished(result)
        return result

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection that alone may push this target: a second run waits for the first to end."""
        purpose = f"sync {self.target}"
        with connect(self.warehouse_dsn, purpose=purpose, autocommit=True) as connection:
            try:
                connection.execute(
                    "select pg_advisory_lock(hashtextextended(%s, 0))",
                    [f"lettertrail sync {self.target.destination} {self.target}"],
                )
            except psycopg.errors.LockNotAvailable:
                raise LetterTrailError(f"{self.target}: another sync of it is still running") from None
            yield connection

    def _settle(self, connection: Connection, present: Callable[[], Iterable[str]]) -> None:
        """Ends runs that died, and on the first run adopts what the destination already has."""
        values = {**self.target.as_values(), "at": self.clock()}
        if closed := self._close_runs(connection):
            log.warning("%s unfinished runs closed=%s", self.target, closed)
        row = connection.execute(statements.IS_FIRST_RUN, values).fetchone()
        if row is None or not row[0]:
            return
        value = "found" if self.target.audience == SUPPRESSIONS else "member"
        with connection.transaction():
            connection.execute("create temporary table adopted (record_key text not null) on commit drop")
            with connection.cursor().copy("copy adopted from stdin") as copy:
                for key in present():
                    copy.write_row([key])
            adopted = connection.execute(statements.ADOPT, {**values, "value": value}).rowcount
        log.info("%s first run, adopted=%s", self.target, adopted)

    def _holds(self, connection: Connection, plan: Plan, at: datetime) -> tuple[Hold, ...]:
        row = connection.execute(statements.MARTS_BUILT_AT).fetchone()
        found = holds(plan, self.limits, marts_built_at=row[0] if row else None, at=at)
        if found and self.release_brake:
            log.warning("%s brake released by hand: %s", self.target, "; ".join(hold.why for hold in found))
            return ()
        return found

    def _open(self, connection: Connection, plan: Plan, held: tuple[Hold, ...], at: datetime) -> int:
        for hold in held:
            connection.execute(statements.HOLD, [hold.why, hold.action])
        values = {
            **self.target.as_values(),
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "planned": plan.planned,
            "brake_reason": "; ".join(f"{hold.action}: {hold.why}" for hold in held) or None,
            "at": at,
        }
        with connection.transaction():
            row = connection.execute(statements.OPEN_RUN, values).fetchone()
            assert row is not None
            sync_run_id = int(row[0])
            connection.execute(statements.RECORD_PLAN, {"sync_run_id": sync_run_id, "dry_run": self.dry_run, "at": at})
        for line in plan.lines:
            log.debug("%s plan %s, %s: %s", self.target, line.action, line.reason, line.records)
        return sync_run_id

    def _push(self, connection: Connection, sync_run_id: int) -> LetterTrailError | None:
        """Pushes batch by batch and returns what went wrong for good, after recording it."""
        failures = 0
        for action, rows in self._batches(connection):
            fault = self._push_batch(connection, sync_run_id, action, rows)
            if fault is None:
                failures = 0
                continue
            if not isinstance(fault, _PASSING):
                return fault
            failures += 1
            log.warning("%s batch of %s failed for now: %s", self.target, action, fault)
            if failures == GIVE_UP_AFTER:
                break
        return None

    def _batches(self, connection: Connection) -> Iterator[tuple[str, dict[str, _Row]]]:
        """What is not held, by action: whatever stops mail first, additions last."""
        connection.execute(statements.ORDER_PLAN)
        for action, has_evidence in connection.execute(statements.GROUPS).fetchall():
            values = {"action": action, "has_evidence": has_evidence, "after": "", "size": BATCH_SIZE}
            while found := connection.execute(statements.BATCH, values).fetchall():
                yield action, {row[0]: self._row(*row) for row in found}
                values["after"] = found[-1][0]

    def _row(self, key: str, reason: str, is_ours: bool, attributes: dict[str, Any], value: str | None) -> _Row:
        email = "" if self.target.destination == CRM else key
        return _Row(Record(key=key, email=email, attributes=attributes), reason, is_ours, value)

    def _push_batch(
        self, connection: Connection, sync_run_id: int, action: str, rows: dict[str, _Row]
    ) -> LetterTrailError | None:
        in_flight = [Outcome(key, "retry_pending", "in flight") for key in rows]
        self._record(connection, sync_run_id, action, rows, in_flight)
        write = self.writes.get(action)
        if write is None:
            raise ContractError(f"{self.target}: {self.destination.name} cannot {action}")
        outcomes, fault = _collect(write, rows)
        with connection.transaction():
            self._record(connection, sync_run_id, action, rows, outcomes)
            self._acknowledge(connection, action, rows, outcomes)
            self._record_calls(connection, sync_run_id)
        return fault

    def _record(
        self,
        connection: Connection,
        sync_run_id: int,
        action: str,
        rows: dict[str, _Row],
        outcomes: Sequence[Outcome],
    ) -> None:
        values = {
            "sync_run_id": sync_run_id,
            "action": action,
            "at": self.clock(),
            "keys": [outcome.key for outcome in outcomes],
            "outcomes": [outcome.status for outcome in outcomes],
            "reasons": [_reason(rows[outcome.key].reason, outcome.reason) for outcome in outcomes],
            "evidence": [outcome.evidence for outcome in outcomes],
        }
        connection.execute(statements.RECORD_OUTCOMES, values)

    def _acknowledge(
        self, connection: Connection, action: str, rows: dict[str, _Row], outcomes: Sequence[Outcome]
    ) -> None:
        now = {**self.target.as_values(), "at": self.clock()}
        confirmed = {
            outcome.key: _confirmed_value(action, rows[outcome.key], outcome)
            for outcome in outcomes
            if outcome.status != "retry_pending"
        }
        kept = {key: value for key, value in confirmed.items() if value is not None}
        connection.execute(statements.ACKNOWLEDGE, {**now, "keys": list(kept), "values": list(kept.values())})
        gone = [key for key, value in confirmed.items() if value is None]
        connection.execute(statements.FORGET, {**now, "keys": gone})

    def _record_calls(self, connection: Connection, sync_run_id: int) -> None:
        calls = self.destination.calls()
        first = self.calls_made + 1
        connection.cursor().executemany(
            statements.RECORD_CALL,
            [
                (sync_run_id, seq, call.method, call.path, call.status, call.records, self.clock())
                for seq, call in enumerate(calls, start=first)
            ],
        )
        self.calls_made += len(calls)

    def _close(self, connection: Connection, sync_run_id: int) -> SyncResult:
        self._close_runs(connection)
        row: tuple[Any, ...] | None = connection.execute(statements.RUN_COUNTS, [sync_run_id]).fetchone()
        assert row is not None
        return SyncResult(
            sync_run_id,
            self.target.destination,
            self.target.account,
            self.target.audience,
            self.dry_run,
            *row,
        )

    def _close_runs(self, connection: Connection) -> int:
        """Sums up what is still open of this target, which only we may push now.

        Raises:
            LedgerImbalance: records and plan differ; `ops.sync_runs` refuses such a row.
        """
        values = {**self.target.as_values(), "at": self.clock()}
        try:
            return connection.execute(statements.CLOSE_RUNS, values).rowcount
        except psycopg.errors.CheckViolation:
            raise LedgerImbalance(f"{self.target}: a sync run's records do not add up to what was planned") from None

    def _raise_unfinished(self, result: SyncResult) -> None:
        if result.retry_pending:
            raise TemporaryApiError(
                self.target.account,
                f"{result.retry_pending} of {result.planned} records of {self.target.audience} wait for the next run",
            )
        if result.brake_reason and not self.dry_run:
            raise BrakeApplied(
                f"{self.target}: {result.held} of {result.planned} records are held ({result.brake_reason}). "
                f"The rest was pushed. Look at ops.sync_records of sync run {result.sync_run_id}; "
                "if it is right, trigger the DAG with the param release_brake"
            )


def _collect(write: _Write, rows: dict[str, _Row]) -> tuple[list[Outcome], LetterTrailError | None]:
    """One outcome for every record of the batch, whatever the destination did, and the fault if there was one."""
    answered: dict[str, Outcome] = {}
    fault: LetterTrailError | None = None
    try:
        for outcome in write([row.record for row in rows.values()]):
            if outcome.key not in rows or outcome.key in answered:
                fault = ContractError("the destination answered for a record that was not asked about")
                break
            answered[outcome.key] = outcome
        else:
            if len(answered) < len(rows):
                fault = ContractError(f"the destination did not account for {len(rows) - len(answered)} records")
    except LetterTrailError as error:
        fault = error
    why = f"no certain answer ({type(fault).__name__})"
    outcomes = [answered.get(key) or Outcome(key, "retry_pending", why) for key in rows]
    return outcomes, fault


def _confirmed_value(action: str, row: _Row, outcome: Outcome) -> str | None:
    """What `ops.acknowledged` shall say; None means no row."""
    if outcome.status == "rejected":
        return f"{action}_refused"
    if action == "suppress" and outcome.status == "already_ok" and not row.is_ours:
        return "found"
    return row.value


def _reason(planned: str, answer: str | None) -> str:
    return f"{planned}; {answer}" if answer else planned
