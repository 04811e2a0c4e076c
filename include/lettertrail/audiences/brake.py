"""The brake: which part of a plan looks wrong and is held, while everything safe goes on.

Suppressions, and removals that rest on suppression evidence, are never held: not writing to somebody is always safe.
What looks wrong is of two kinds. An amount, or a ledger that had to be rebuilt, is a person's to judge, who may approve
it. Knowledge that is too old or in the middle of being loaded is not: the next build mends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lettertrail.audiences.plan import Plan
from lettertrail.audiences.state import State

ACTIONS = ("add", "update", "remove", "release")
"""What can be held."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run may do without a person having looked at it."""

    max_removed_pct: float = 20.0
    """Removals (or releases) of one run, in percent of what is acknowledged."""
    max_removed_rows: int | None = None
    """The same as a number of records."""
    tolerated_rows: int = 0
    """So few are never too many in percent: one of three is no accident."""
    max_added_pct: float = 50.0
    """New members of one run, in percent of the members; no limit while none of them is ours."""
    max_added_rows: int | None = None
    """The same as a number of records, the first run included."""
    tolerated_additions: int = 100
    """So few new members are never too many in percent."""
    max_marts_age: timedelta = timedelta(hours=26)
    """Marts older than this know too little about who left. A daily build fits in, with two hours to spare."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Planned records of this action without suppression evidence wait."""

    action: str
    why: str
    can_be_approved: bool = True
    """False when what is known is in doubt, not the amount: then nobody can say what would be right."""


def holds(
    plan: Plan,
    limits: Limits,
    *,
    marts_built_at: datetime | None,
    at: datetime,
    copying: Sequence[str] = (),
    state: State = State(),  # noqa: B008  # frozen
) -> tuple[Hold, ...]:
    """What to hold, at most one `Hold` per action; empty when the plan may run as it is.

    Args:
        marts_built_at: None means that nobody knows.
        copying: the raw tables that are being copied anew, or were while the marts were built.
    """
    unknown = _old_knowledge(plan, limits, marts_built_at=marts_built_at, at=at) or _half_loaded(copying)
    found = []
    for action in ACTIONS:
        if not plan.count(action, has_evidence=False):
            continue
        if why := unknown or _from_before(state, marts_built_at):
            found.append(Hold(action, why, can_be_approved=False))
        elif why := _lost_state(action, state) or _too_much(plan, limits, action, state):
            found.append(Hold(action, why))
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


def _half_loaded(copying: Sequence[str]) -> str:
    if not copying:
        return ""
    others = f" and {len(copying) - 1} more" if len(copying) > 1 else ""
    return f"{copying[0]}{others} is being copied anew, or was while the marts were built"


def _from_before(state: State, marts_built_at: datetime | None) -> str:
    """After a restore the marts, too, are from before: who left since is not in them."""
    if state.restored_at is None or marts_built_at is None or marts_built_at > state.restored_at:
        return ""
    return f"the marts are older than what is known now: {state.doubted_because}"


def _lost_state(action: str, state: State) -> str:
    return (state.doubted_because or "") if action in ("remove", "release") else ""


def _too_much(plan: Plan, limits: Limits, action: str, state: State) -> str:
    if action == "update":
        return ""
    if action == "add":
        return _too_many_new(plan, limits, is_first=not plan.acknowledged and not state.doubted_because)
    taken = plan.count(action, has_evidence=False)
    if action == "remove" and plan.audience_size == 0:
        return f"the segment is empty, which would remove {taken} of {plan.acknowledged}"
    if limits.max_removed_rows is not None and taken > limits.max_removed_rows:
        return f"{taken} records to {action}, over max_removed_rows {limits.max_removed_rows}"
    if taken > limits.tolerated_rows and taken * 100 > limits.max_removed_pct * plan.acknowledged:
        return _over(taken, plan.acknowledged, action, f"max_removed_pct {limits.max_removed_pct:g}")
    return ""


def _too_many_new(plan: Plan, limits: Limits, *, is_first: bool) -> str:
    """Counts only whom no earlier run was let through with: what was interrupted goes on."""
    new = plan.count("add", has_evidence=False, is_new=True)
    if limits.max_added_rows is not None and new > limits.max_added_rows:
        return f"{new} records to add, over max_added_rows {limits.max_added_rows}"
    if not is_first and new > limits.tolerated_additions and new * 100 > limits.max_added_pct * plan.members:
        return _over(new, plan.members, "add", f"max_added_pct {limits.max_added_pct:g}")
    return ""


def _over(records: int, base: int, action: str, limit: str) -> str:
    share = f"{records * 100 / base:.1f} %" if base else "all"
    return f"{records} of {base} records to {action} ({share}), over {limit}"
