"""The brake: which part of a plan looks wrong and is held, while everything safe goes on.

Suppressions, and removals that rest on suppression evidence, are never held: not writing to somebody is always safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lettertrail.audiences.plan import Plan


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run may take back without a person having looked at it."""

    max_removed_pct: float = 20.0
    """Removals (or releases) of one run, in percent of what is acknowledged."""
    max_removed_rows: int | None = None
    """The same as a number of records."""
    tolerated_rows: int = 0
    """So few are never too many in percent: one of three is no accident."""
    max_marts_age: timedelta = timedelta(hours=26)
    """Marts older than this know too little about who left. A daily build fits in, with two hours to spare."""


@dataclass(frozen=True, slots=True)
class Hold:
    """All planned records of this action without suppression evidence wait."""

    action: str
    why: str


def holds(plan: Plan, limits: Limits, *, marts_built_at: datetime | None, at: datetime) -> tuple[Hold, ...]:
    """What to hold, at most one `Hold` per action; empty when the plan may run as it is.

    `marts_built_at` None means that nobody knows.
    """
    found = [
        Hold(action, why)
        for action in ("add", "remove", "release")
        if plan.count(action, has_evidence=False)
        and (
            why := _old_knowledge(plan, limits, marts_built_at=marts_built_at, at=at)
            or ("" if action == "add" else _too_much(plan, limits, action))
        )
    ]
    return tuple(found)


def _old_knowledge(plan: Plan, limits: Limits, *, marts_built_at: datetime | None, at: datetime) -> str:
    """Reasons that make every step except suppression unsafe."""
    if marts_built_at is None:
        return "nobody knows when the marts were built"
    if at - marts_built_at > limits.max_marts_age:
        hours = (at - marts_built_at) / timedelta(hours=1)
        return f"the marts are {hours:.0f} hours old"
    if plan.suppression_size == 0 and plan.suppressed_before:
        return f"dim_suppression is empty, although destinations confirmed {plan.suppressed_before} suppressions"
    return ""


def _too_much(plan: Plan, limits: Limits, action: str) -> str:
    taken = plan.count(action, has_evidence=False)
    if action == "remove" and plan.audience_size == 0:
        return f"the segment is empty, which would remove {taken} of {plan.acknowledged}"
    if limits.max_removed_rows is not None and taken > limits.max_removed_rows:
        return f"{taken} records to {action}, over max_removed_rows {limits.max_removed_rows}"
    if taken > limits.tolerated_rows and taken * 100 > limits.max_removed_pct * plan.acknowledged:
        share = f"{taken * 100 / plan.acknowledged:.1f} %" if plan.acknowledged else "all"
        return (
            f"{taken} of {plan.acknowledged} records to {action} ({share}), "
            f"over max_removed_pct {limits.max_removed_pct:g}"
        )
    return ""
