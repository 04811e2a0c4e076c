"""Rate limits of the twins. They refuse as the real services do and count every refusal as a violation.

`GET /_sandbox/limits` of a twin shows `{"violations": 2, "limits": {"calls": {"violations": 2, …}}}`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.responses import JSONResponse

from lettertrail.sandbox.journal import ADMIN

PATH = f"{ADMIN}limits"


class Limit(Protocol):
    """What the limits have in common."""

    violations: int
    """Calls that asked for more than is allowed."""

    def take(self) -> bool:
        """Counts one call; False, and a violation, when it is one too many."""

    def shown(self) -> dict[str, Any]:
        """The settings and the violations, for `/_sandbox/limits`."""


class RateLimit:
    """A bucket of `burst` calls that fills by `rate` a second, and a cap on calls that run at the same time."""

    def __init__(
        self,
        *,
        rate: float | None = None,
        burst: float = 0,
        connections: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts full.

        Args:
            rate: calls a second; None means any number, whatever `burst` says.
            burst: calls at once.
            connections: calls at the same time; None means any number.
            monotonic: growing seconds.
        """
        self.rate = rate
        self.burst = burst
        self.connections = connections
        self.violations = 0
        self.running = 0
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._left = burst
        self._then = monotonic()

    def take(self) -> bool:
        """Takes one call out of the bucket; False, and a violation, when there is none."""
        if self.rate is None:
            return True
        with self._lock:
            now = self._monotonic()
            self._left = min(self.burst, self._left + (now - self._then) * self.rate)
            self._then = now
            if self._left < 1:
                self.violations += 1
                return False
            self._left -= 1
            return True

    def enter(self) -> bool:
        """Begins a call; False, and a violation, when too many run. What entered must `leave`."""
        with self._lock:
            if self.connections is not None and self.running >= self.connections:
                self.violations += 1
                return False
            self.running += 1
            return True

    def leave(self) -> None:
        """Ends a call."""
        with self._lock:
            self.running -= 1

    def shown(self) -> dict[str, Any]:
        """The settings and the violations."""
        return {
            "rate": self.rate,
            "burst": self.burst,
            "connections": self.connections,
            "violations": self.violations,
        }


class WindowLimit:
    """At most `calls` in any `seconds`; refused calls do not count towards it."""

    def __init__(self, *, calls: int, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Starts empty; `monotonic` gives growing seconds."""
        self.calls = calls
        self.seconds = seconds
        self.violations = 0
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def take(self) -> bool:
        """Counts one call; False, and a violation, when the window is full."""
        with self._lock:
            now = self._monotonic()
            while self._taken and self._taken[0] <= now - self.seconds:
                self._taken.popleft()
            if len(self._taken) >= self.calls:
                self.violations += 1
                return False
            self._taken.append(now)
            return True

    def shown(self) -> dict[str, Any]:
        """The settings and the violations."""
        return {"calls": self.calls, "seconds": self.seconds, "violations": self.violations}


def shown(limits: Mapping[str, Limit]) -> JSONResponse:
    """The answer of `/_sandbox/limits`: all violations, and each limit by name."""
    return JSONResponse(
        {
            "violations": sum(limit.violations for limit in limits.values()),
            "limits": {name: limit.shown() for name, limit in limits.items()},
        }
    )
