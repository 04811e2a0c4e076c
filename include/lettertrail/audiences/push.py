"""Plan → brake → push, with one outcome per record.

The order of writing makes a kill at any moment harmless:

1. the run and all its records are written before the first call, each as `retry_pending`, or `held` by the brake;
2. a batch is marked as in flight, then called, then its outcomes, calls and acknowledgements are written together;
3. `ops.acknowledged` moves only on a confirmation, so the next run plans whatever was not confirmed; a record that
   got through although we never saw the answer comes back as `already_ok`.

The sums of a dead run are made up by the next one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from lettertrail.audiences import approvals, state_statements, statements
from lettertrail.audiences.batch import Write, write_batch
from lettertrail.audiences.brake import Hold, Limits, holds
from lettertrail.audiences.destinations import (
    AudienceDestination,
    Destination,
    Releases,
    TakesAttributes,
    Writer,
)
from lettertrail.audiences.holdout import Trial, trial_of
from lettertrail.audiences.plan import CRM, SUPPRESSIONS, Plan, Target, plan_segment, plan_suppressions
from lettertrail.audiences.segments import Segment
from lettertrail.audiences.shown import as_json, planned_calls
from lettertrail.audiences.state import Mark, Marks, State, alone, settle_state
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
from lettertrail.warehouse.connect import Connection

log = logging.getLogger(__name__)

BATCH_SIZE = 15_000
"""Records between two commits. An adapter first asks who is there, once per batch, so a small one costs calls; it cuts
the batch into the bulk calls its service takes, and every service's bulk divides this."""
GIVE_UP_AFTER = 3
"""Batches in a row that failed for a passing reason: the rest is left to the next run."""

SUPPRESSION_LIMITS = Limits(max_removed_pct=20.0, tolerated_rows=10)
"""For releases, the only risky step of suppressing."""
SEGMENT_TOLERATED_ROWS = 2
"""Of a segment of seven, two may go in a day; more than that is a person's to judge."""

_PASSING = (TemporaryApiError, RateLimited)


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
    fields: dict[str, str]
    value: str | None


@dataclass(frozen=True, slots=True)
class _Group:
    """What goes in batches together."""

    action: str
    has_evidence: bool


def sync_suppressions(
    destination: Destination,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    dry_run: bool,
    release_brake: bool = False,
    limits: Limits = SUPPRESSION_LIMITS,
    marks: Marks | None = None,
    audience: str = SUPPRESSIONS,
) -> SyncResult:
    """Tells one destination who must not be mailed, and Bitrix also who may be again.

    `marks` is this machine's memory of its pushes, by which a warehouse that was set back is told. `audience` is
    another one for Bitrix' leads (`plan.LEAD_SUPPRESSIONS`).

    Raises:
        BrakeApplied: something was held; all the rest was pushed and recorded.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ContractError: a mart is missing, or the destination did not account for a record.
        LedgerImbalance: the run's sums do not add up.
    """
    target = Target(destination.name, destination.account, audience)
    writes: dict[str, Write] = {"suppress": destination.suppress}
    if isinstance(destination, Releases):
        writes["release"] = destination.release
    sync = _Sync(target, warehouse_dsn, destination, writes, run_id, clock, dry_run, release_brake, limits, marks)
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
    marks: Marks | None = None,
) -> SyncResult:
    """Makes an audience at one destination what the segment says, less everybody who must not be mailed.

    `limits` default to the segment's own. `marks` as in `sync_suppressions`.

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
    writes: dict[str, Write] = {
        "add": partial(destination.add_members, segment.audience),
        "update": partial(destination.add_members, segment.audience),
        "remove": partial(destination.remove_members, segment.audience),
    }
    if limits is None:
        limits = segment_limits(segment)
    sync = _Sync(target, warehouse_dsn, destination, writes, run_id, clock, dry_run, release_brake, limits, marks)
    sync.trial = trial_of(segment)
    sends_attributes = isinstance(destination, TakesAttributes) and destination.sends_attributes
    plan = partial(plan_segment, segment=segment, target=target, sends_attributes=sends_attributes)
    return sync.run(partial(destination.members, segment.audience), plan)


def segment_limits(segment: Segment) -> Limits:
    """The brake as the segment's file sets it."""
    return Limits(
        max_removed_pct=segment.max_removed_pct,
        max_removed_rows=segment.max_removed_rows,
        tolerated_rows=SEGMENT_TOLERATED_ROWS if segment.max_removed_pct else 0,
        max_added_pct=segment.max_added_pct,
        max_added_rows=segment.max_added_rows,
    )


def sync_records(
    target: Target,
    writer: Writer,
    write: Mapping[str, Write],
    warehouse_dsn: str,
    *,
    make_plan: Callable[..., Plan],
    run_id: str,
    clock: Clock,
    dry_run: bool,
    release_brake: bool = False,
    limits: Limits,
    marks: Marks | None = None,
) -> SyncResult:
    """Pushes records of another kind (fields of cards, to-dos) with the same promises.

    Args:
        write: what carries out each action, by its name in `ops.sync_records`.
        make_plan: called with `(connection, at=…)`; fills the temporary table `planned`, see `plan.plan_records`.

    Raises:
        BrakeApplied: something was held; all the rest was pushed and recorded.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ContractError: a mart is missing, or the writer did not account for a record.
        LedgerImbalance: the run's sums do not add up.
    """
    sync = _Sync(target, warehouse_dsn, writer, dict(write), run_id, clock, dry_run, release_brake, limits, marks)
    # Nothing is adopted: a write begins by reading what is there.
    return sync.run(lambda: (), make_plan)


@dataclass(slots=True)
class _Sync:
    target: Target
    warehouse_dsn: str = field(repr=False)
    destination: Writer
    writes: dict[str, Write]
    run_id: str
    clock: Clock
    dry_run: bool
    release_brake: bool
    limits: Limits
    marks: Marks | None = None
    trial: Trial | None = None
    calls_made: int = 0
    state: State = field(default_factory=State)
    grants: dict[str, approvals.Grant] = field(default_factory=dict)
    """The approvals that let this run's records through, by action."""

    def run(self, present: Callable[[], Iterable[str]], make_plan: Callable[..., Plan]) -> SyncResult:
        with alone(self.warehouse_dsn, self.target) as connection:
            self._settle(connection, present)
            at = self.clock()
            plan = make_plan(connection, at=at)
            held = self._holds(connection, plan, at)
            sync_run_id = self._open(connection, plan, held, at)
            fault = None if self.dry_run else self._push(connection, sync_run_id)
            result = self._close(connection, sync_run_id)
            if not self.dry_run:
                self._mark(sync_run_id, at, is_finished=True)
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

    def _settle(self, connection: Connection, present: Callable[[], Iterable[str]]) -> None:
        """Ends runs that died, and makes sure that what is known as confirmed is what the last push left."""
        if closed := self._close_runs(connection):
            log.warning("%s unfinished runs closed=%s", self.target, closed)
        self.state = settle_state(connection, self.target, present, self.marks, at=self.clock())

    def _holds(self, connection: Connection, plan: Plan, at: datetime) -> tuple[Hold, ...]:
        row = connection.execute(statements.MARTS_BUILT_AT).fetchone()
        built_at = row[0] if row else None
        copying = [str(found[0]) for found in connection.execute(statements.OPEN_COPIES, {"built_at": built_at})]
        found = holds(plan, self.limits, marts_built_at=built_at, at=at, copying=copying, state=self.state)
        if found and self.release_brake:
            log.warning("%s brake released by hand: %s", self.target, "; ".join(hold.why for hold in found))
            return ()
        grants = approvals.granted(connection, self.target, at=at)
        return tuple(hold for one in found if (hold := self._after_approval(plan, one, grants.get(one.action))))

    def _after_approval(self, plan: Plan, hold: Hold, grant: approvals.Grant | None) -> Hold | None:
        """None when a person approved as many records as are planned now."""
        if grant is None or not hold.can_be_approved:
            return hold
        records = plan.count(hold.action, has_evidence=False)
        if records > grant.left:
            return replace(hold, why=f"{hold.why}; approved were at most {grant.left}")
        log.warning("%s approved: %s of at most %s to %s", self.target, records, grant.left, hold.action)
        self.grants[hold.action] = grant
        return None

    def _open(self, connection: Connection, plan: Plan, held: tuple[Hold, ...], at: datetime) -> int:
        for hold in held:
            values = {"why": hold.why, "action": hold.action, "with_old": not hold.can_be_approved}
            connection.execute(statements.HOLD, values)
        shown = as_json(plan, held, planned_calls(plan, self.destination))
        opened = {
            **self.target.as_values(),
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "planned": plan.planned,
            "brake_reason": "; ".join(f"{hold.action}: {hold.why}" for hold in held) or None,
            "plan": Jsonb(shown),
            "at": at,
        }
        with connection.transaction():
            row = connection.execute(statements.OPEN_RUN, opened).fetchone()
            assert row is not None
            sync_run_id = int(row[0])
            connection.execute(statements.RECORD_PLAN, {"sync_run_id": sync_run_id, "dry_run": self.dry_run, "at": at})
            if self.trial is not None and not self.dry_run and not any(hold.action == "add" for hold in held):
                self.trial.record(connection, sync_run_id=sync_run_id, at=at)
        for line in plan.lines:
            log.info("%s plan %s, %s: %s", self.target, line.action, line.reason, line.records)
        for calls in shown["calls"]:
            log.info("%s plan %s: at most %s calls %s", self.target, calls["action"], calls["calls"], calls["call"])
        if not self.dry_run:
            self._mark(sync_run_id, at, is_finished=False)
        return sync_run_id

    def _mark(self, sync_run_id: int, at: datetime, *, is_finished: bool) -> None:
        if self.marks is not None:
            self.marks.set(self.target, Mark(sync_run_id, at, is_finished))

    def _push(self, connection: Connection, sync_run_id: int) -> LetterTrailError | None:
        """Pushes batch by batch and returns what went wrong for good, after recording it."""
        failures = 0
        for group, rows in self._batches(connection):
            fault = self._push_batch(connection, sync_run_id, group, rows)
            if fault is None:
                failures = 0
                continue
            if not isinstance(fault, _PASSING):
                return fault
            failures += 1
            log.warning("%s batch of %s failed for now: %s", self.target, group.action, fault)
            if failures == GIVE_UP_AFTER:
                return None
        if self.release_brake or {"remove", "release"} & set(self.grants):
            # A person has looked at what the rebuilt state would take back.
            connection.execute(state_statements.TRUST_STATE, self.target.as_values())
        return None

    def _batches(self, connection: Connection) -> Iterator[tuple[_Group, dict[str, _Row]]]:
        """What is not held, by action: whatever stops mail first, additions last."""
        connection.execute(statements.ORDER_PLAN)
        for action, has_evidence in connection.execute(statements.GROUPS).fetchall():
            values = {"action": action, "has_evidence": has_evidence, "after": "", "size": BATCH_SIZE}
            while found := connection.execute(statements.BATCH, values).fetchall():
                yield _Group(action, has_evidence), {row[0]: self._row(row) for row in found}
                values["after"] = found[-1][0]

    def _row(self, found: Sequence[Any]) -> _Row:
        key, reason, is_ours, attributes, fields, value = found
        email = "" if self.target.destination == CRM else key
        return _Row(Record(key=key, email=email, attributes=attributes), reason, is_ours, fields, value)

    def _push_batch(
        self, connection: Connection, sync_run_id: int, group: _Group, rows: dict[str, _Row]
    ) -> LetterTrailError | None:
        action = group.action
        in_flight = [Outcome(key, "retry_pending", "in flight") for key in rows]
        self._record(connection, sync_run_id, action, rows, in_flight)
        write = self.writes.get(action)
        if write is None:
            raise ContractError(f"{self.target}: {self.destination.name} cannot {action}")
        outcomes, fault = write_batch(write, [row.record for row in rows.values()])
        with connection.transaction():
            self._record(connection, sync_run_id, action, rows, outcomes)
            self._acknowledge(connection, action, rows, outcomes)
            self._record_calls(connection, sync_run_id)
            if not group.has_evidence and (grant := self.grants.get(action)):
                answered = sum(outcome.status != "retry_pending" for outcome in outcomes)
                approvals.spend(connection, grant.approval_id, answered)
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
            outcome.key: _confirmed(action, rows[outcome.key], outcome)
            for outcome in outcomes
            if outcome.status != "retry_pending"
        }
        before = self._sum(connection, list(confirmed))
        kept = {key: (value, fields) for key, (value, fields) in confirmed.items() if value is not None}
        connection.execute(
            statements.ACKNOWLEDGE,
            {
                **now,
                "keys": list(kept),
                "values": [value for value, _ in kept.values()],
                "fields": [json.dumps(fields) for _, fields in kept.values()],
            },
        )
        gone = [key for key, (value, _) in confirmed.items() if value is None]
        connection.execute(statements.FORGET, {**now, "keys": gone})
        after = self._sum(connection, list(confirmed))
        connection.execute(
            state_statements.MOVE_STATE, {**now, "records": after[0] - before[0], "checksum": after[1] - before[1]}
        )

    def _sum(self, connection: Connection, keys: list[str]) -> tuple[int, Decimal]:
        row: tuple[int, Decimal] | None = connection.execute(
            state_statements.SUM_OF_KEYS, {**self.target.as_values(), "keys": keys}
        ).fetchone()
        assert row is not None
        return row

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
                "if it is right, approve it in the DAG approve_held, or trigger this DAG with the param release_brake"
            )


def _confirmed(action: str, row: _Row, outcome: Outcome) -> tuple[str | None, dict[str, str]]:
    """What `ops.acknowledged` shall say from now on, and of which fields; None means no row."""
    if outcome.status == "rejected":
        if action == "update":
            return row.value, {field: f"!{value}" for field, value in row.fields.items()}
        return f"{action}_refused", {}
    if action in ("suppress", "add") and outcome.status == "already_ok" and not row.is_ours:
        return "found", row.fields
    return row.value, row.fields


def _reason(planned: str, answer: str | None) -> str:
    return f"{planned}; {answer}" if answer else planned
