"""Which account sends a letter next, and when: decided from its attempts so far. No I/O."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Result = Literal["accepted", "refused", "passing", "unknown", "absent"]
"""Of an attempt; see `ops.outbox_attempts.outcome`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to try."""

    attempts: int = 12
    """With the waits below a letter is given up after an hour and a half."""
    in_a_row: int = 3
    """At one account, before the next one is asked."""
    first_wait: timedelta = timedelta(seconds=5)
    longest_wait: timedelta = timedelta(hours=1)
    traced_after: timedelta | None = None
    """Instead of what each service's adapter says."""
    guard_margin: timedelta = timedelta(seconds=15)
    """Before a service's guard against repeats ends: for what a repeat takes, and clocks that differ."""
    watched_for: timedelta = timedelta(days=3)
    """How long events are looked for that tell what became of a letter no service can be asked for."""
    keep_letters: timedelta = timedelta(days=7)
    """Recipient, subject and body of a letter that is settled."""
    keep_held: timedelta = timedelta(days=30)
    """The same of one that is dead or held."""
    pseudonym: Callable[[str], str | None] = field(default=lambda address: None, repr=False)
    """What would stand for an address in the warehouse if the person had been erased; None where it cannot be told."""

    def wait(self, failures: int) -> timedelta:
        """Before the next attempt, after so many that failed for a while."""
        return min(self.first_wait * 2.0 ** min(max(failures, 1) - 1, 30), self.longest_wait)


@dataclass(frozen=True, slots=True)
class Past:
    """An attempt that was made."""

    account: str
    outcome: Result
    started_at: datetime


@dataclass(frozen=True, slots=True)
class GivenUp:
    """No account is left."""

    reason: str


def next_account(
    accounts: Sequence[str], history: Sequence[Past], *, policy: Policy, resting: Collection[str] = ()
) -> str | GivenUp:
    """The account to ask: the first in order, the next after some failures in a row, never one that refused.

    Args:
        resting: accounts that have just failed with other letters; asked only when nobody else is left.
    """
    refused = {past.account for past in history if past.outcome == "refused"}
    left = [name for name in accounts if name not in refused]
    if not left:
        return GivenUp("refused by every account")
    if len(history) >= policy.attempts:
        return GivenUp(f"given up after {len(history)} attempts")
    tries = Counter(past.account for past in history)
    return min(left, key=lambda name: (name in resting, tries[name] // policy.in_a_row, accounts.index(name)))


def guarded_until(history: Sequence[Past], guard: timedelta | None, margin: timedelta) -> datetime | None:
    """Until when the call without an answer may be repeated, because the service would refuse a second letter."""
    if guard is None or not history:
        return None
    first = history[-1]
    for past in reversed(history):
        if past.account != first.account or past.outcome != "unknown":
            break
        first = past
    return first.started_at + guard - margin


class Rests:
    """Accounts that fail with every letter are left alone for a while, when there is another. Shared by threads."""

    def __init__(self, *, failures: int = 5, rest: timedelta = timedelta(minutes=1)) -> None:
        self._limit = failures
        self._rest = rest
        self._failures: Counter[str] = Counter()
        self._until: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def note(self, account: str, *, has_failed: bool, now: datetime, at_once: bool = False) -> None:
        """What came of a call; `at_once`: one failure is enough, the account itself was refused."""
        with self._lock:
            self._failures[account] = self._failures[account] + 1 if has_failed else 0
            if has_failed and (at_once or self._failures[account] >= self._limit):
                self._until[account] = now + self._rest
                self._failures[account] = 0

    def resting(self, now: datetime) -> frozenset[str]:
        """Those that are left alone now."""
        with self._lock:
            return frozenset(name for name, until in self._until.items() if now < until)
