"""The run time a method may still use: Bitrix24 sums it up over ten minutes and blocks the method above a limit.

Every answer says how much is used (`time.operating`) and when the oldest minute is forgotten
(`time.operating_reset_at`); bitrix.md 6.3. A command of a batch counts like a call of its own, the batch does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

log = logging.getLogger(__name__)

SAFE_SHARE = 0.85
"""Of the limit; other programs of the same webhook use the rest, and the last call may overshoot."""
UNKNOWN_RESET = 60.0
"""Seconds to wait for a method that was blocked before it ever answered."""
MARGIN = 1.0


@dataclass(slots=True)
class _Use:
    """What is known of one method."""

    operating: float = 0.0
    reset_at: float | None = None
    """By our own timer."""
    cost: float = 0.0
    """Seconds one call takes, as of late."""


class OperatingBudget:
    """Keeps every method below its limit.

    Args:
        limit: seconds of run time per method in ten minutes.
        sleep, timer: replaced in tests; the timer gives seconds that only grow.
    """

    def __init__(
        self,
        limit: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._sleep = sleep
        self._timer = timer
        self._uses: dict[str, _Use] = {}

    def note(self, method: str, times: object) -> None:
        """Takes in the `time` block of an answer."""
        if not isinstance(times, Mapping):
            return
        is_first = method not in self._uses
        use = self._uses.setdefault(method, _Use())
        operating = _number(times.get("operating"))
        if operating is not None:
            # At first, and when a minute was forgotten, the difference says nothing of this call.
            spent = 0.0 if is_first else operating - use.operating
            cost = spent if spent > 0 else (_number(times.get("processing")) or 0.0)
            use.cost = cost if use.cost == 0 else 0.7 * use.cost + 0.3 * cost
            use.operating = operating
        reset, now = _moment(times.get("operating_reset_at")), _moment(times.get("finish"))
        if reset is not None and now is not None:
            use.reset_at = self._timer() + max(0.0, reset - now)

    def affordable(self, method: str, wanted: int) -> int:
        """How many calls of the method may be made at once, at least one; waits first when there is no room for it."""
        use = self._uses.get(method)
        if use is None or use.cost <= 0:
            return wanted
        if self._room(use) < use.cost:
            self.wait_for_reset(method)
            return 1
        return max(1, min(wanted, int(self._room(use) / use.cost)))

    def wait_for_reset(self, method: str) -> None:
        """Sleeps until the oldest minute of the method is forgotten; other methods are not held up by it."""
        use = self._uses.setdefault(method, _Use())
        wait = UNKNOWN_RESET if use.reset_at is None else max(0.0, use.reset_at - self._timer()) + MARGIN
        log.warning("bitrix %s used %.0f s of run time, waiting %.0f s", method, use.operating, wait)
        self._sleep(wait)
        # How much is free now, the next answer says; until then one call at a time.
        use.operating = min(use.operating, self._limit * SAFE_SHARE - use.cost)
        use.reset_at = None

    def _room(self, use: _Use) -> float:
        if use.reset_at is not None and self._timer() >= use.reset_at + MARGIN:
            return use.cost
        return self._limit * SAFE_SHARE - use.operating


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(value: Any) -> float | None:
    """Seconds since 1970 from a number or from an ISO time; the documentation shows both."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return None
    return _number(value)
