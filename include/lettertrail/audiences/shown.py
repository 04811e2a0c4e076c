"""What a person sees before anything is sent: counts, reasons, holds, a sample and the calls it would take.

No addresses: a record is a fingerprint here. What is not known is written as such, never as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lettertrail.audiences.brake import Hold
from lettertrail.audiences.destinations import TellsCalls
from lettertrail.audiences.plan import FieldSet, Plan
from lettertrail.esps.port import Endpoint

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlannedCalls:
    """The writing calls of one action at one endpoint, at most: who is as he should be needs none."""

    action: str
    records: int
    call: str
    """Method and path, or `unknown`."""
    calls: int | None
    """None: the destination does not say how it cuts its calls."""
    times: str | None = None
    """What these calls repeat for: `address book`."""


def planned_calls(plan: Plan, destination: object) -> tuple[PlannedCalls, ...]:
    """What a plan would call at most, by the destination's own bulk sizes, held records included."""
    endpoints = destination.endpoints if isinstance(destination, TellsCalls) else {}
    return tuple(
        calls
        for action in dict.fromkeys(one.action for one in plan.field_sets)
        for calls in _calls(action, [one for one in plan.field_sets if one.action == action], endpoints)
    )


def as_json(plan: Plan, held: Sequence[Hold], calls: Sequence[PlannedCalls]) -> dict[str, Any]:
    """What `ops.sync_runs.plan` keeps."""
    return {
        "acknowledged": plan.acknowledged,
        "audience_size": plan.audience_size,
        "subtracted": plan.subtracted,
        "held_out": plan.held_out,
        "members": plan.members,
        "lines": [asdict(line) for line in plan.lines],
        "sample": [asdict(one) for one in plan.sample],
        "calls": [asdict(one) for one in calls],
        "holds": [
            {**asdict(hold), "records": plan.count(hold.action, has_evidence=False), "out_of": base(plan, hold.action)}
            for hold in held
        ],
    }


def base(plan: Plan, action: str) -> int:
    """The confirmed records that a share of an action is a share of."""
    return plan.members if action in ("add", "update") else plan.acknowledged


def as_markdown(shown: Mapping[str, Any]) -> str:
    """A plan from `ops.sync_runs.plan` for people, as Airflow renders it."""
    size = UNKNOWN if shown["audience_size"] is None else shown["audience_size"]
    lines = [
        f"Confirmed: **{shown['acknowledged']}** ours, {shown['members']} members in all. "
        f"The segment: {size}, {shown['subtracted']} of them suppressed, {shown['held_out']} held out.",
        "",
        "| Planned | Records | Why |",
        "|---|---:|---|",
        *(f"| {line['action']} | {line['records']} | {line['reason']} |" for line in shown["lines"]),
        "",
        "| At most so many calls | Records | Where |",
        "|---|---:|---|",
        *(_call_line(call) for call in shown["calls"]),
    ]
    if shown["holds"]:
        lines += ["", *(f"Held: **{hold['records']} to {hold['action']}**. {hold['why']}." for hold in shown["holds"])]
    if shown["sample"]:
        told = ", ".join(f"`{one['fingerprint']}` ({one['action']})" for one in shown["sample"])
        lines += ["", f"Some of them, as `left(encode(sha256(record_key::bytea), 'hex'), 12)`: {told}"]
    return "\n".join(lines)


def _call_line(call: Mapping[str, Any]) -> str:
    count = UNKNOWN if call["calls"] is None else call["calls"]
    times = f" for each {call['times']}" if call["times"] else ""
    return f"| {count} | {call['records']} | {call['action']}: {call['call']}{times} |"


def _calls(
    action: str, sets: Sequence[FieldSet], endpoints: Mapping[str, tuple[Endpoint, ...]]
) -> Iterator[PlannedCalls]:
    records = sum(one.records for one in sets)
    known = endpoints.get(_asked(action, has_fields=any(one.fields for one in sets)))
    if not known:
        yield PlannedCalls(action, records, UNKNOWN, None)
        return
    for endpoint in known:
        parts = [one.records for one in sets] if endpoint.splits_by_fields else [records]
        calls = sum(-(-part // endpoint.bulk) for part in parts)
        yield PlannedCalls(action, records, endpoint.call, calls, endpoint.times)


def _asked(action: str, *, has_fields: bool) -> str:
    if action in ("add", "update"):
        return "add" if has_fields else "add_bare"
    return action
