"""How much a caller may ask for: the leaky bucket of requests, and the run time per method."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lettertrail.sandbox.bitrix_methods.portal import RestError

OPERATING_WINDOW = 600.0
BUCKET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings; the defaults are those of every cloud plan but the largest."""

    drain_per_second: float = 2.0
    burst: float = 50.0
    operating_seconds: float | None = 480.0
    """Run time per method in ten minutes; None switches the limit off."""


@dataclass(slots=True)
class Gate:
    """Counts per source address and per method. `monotonic` gives seconds that only grow."""

    limits: Limits
    monotonic: Callable[[], float]
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    _runs: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, source: str) -> None:
        """Lets one request in; a whole batch counts as one.

        Raises:
            RestError: 503 `QUERY_LIMIT_EXCEEDED`.
        """
        now = self.monotonic()
        with self._lock:
            level, then = self._levels.get(source, (0.0, now))
            level = max(0.0, level - (now - then) * self.limits.drain_per_second)
            if level + 1 > self.limits.burst:
                self._levels[source] = (level, now)
                raise RestError("QUERY_LIMIT_EXCEEDED", "Too many requests", status=503)
            self._levels[source] = (level + 1, now)

    def check_operating(self, method: str) -> None:
        """Refuses a method that has used up its run time.

        Raises:
            RestError: 429 `OPERATION_TIME_LIMIT`.
        """
        limit = self.limits.operating_seconds
        if limit is not None and self.operating(method) >= limit:
            raise RestError("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", status=429)

    def spent(self, method: str, seconds: float) -> None:
        """Notes the run time of one call."""
        bucket = self._bucket()
        with self._lock:
            runs = self._runs.setdefault(method, deque())
            if runs and runs[-1][0] == bucket:
                runs[-1] = (bucket, runs[-1][1] + seconds)
            else:
                runs.append((bucket, seconds))

    def operating(self, method: str) -> float:
        """Seconds the method ran in the last ten one-minute buckets."""
        oldest = self._bucket() - OPERATING_WINDOW
        with self._lock:
            runs = self._runs.get(method, deque())
            while runs and runs[0][0] <= oldest:
                runs.popleft()
            return sum(seconds for _, seconds in runs)

    def frees_in(self, method: str) -> float:
        """Seconds until the oldest bucket of the method is forgotten."""
        runs = self._runs.get(method)
        return max(0.0, runs[0][0] + OPERATING_WINDOW - self.monotonic()) if runs else OPERATING_WINDOW

    def _bucket(self) -> float:
        return self.monotonic() // BUCKET_SECONDS * BUCKET_SECONDS
