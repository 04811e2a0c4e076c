"""How much a caller may ask for: the leaky bucket of requests, and the run time per method (bitrix.md 6.3)."""

from __future__ import annotations

import threading
from collections import Counter, deque
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
    seconds_per_call: float | None = None
    """What a call counts as run time; None: what it took. A test that wants to reach the limit sets it."""
    request_seconds: float = 60.0
    """After this long the portal hangs up on a request; its work goes on."""


@dataclass(slots=True)
class _Bucket:
    minute: float
    began: float
    seconds: float


@dataclass(slots=True)
class Gate:
    """Counts requests per source address, and run time per caller and method; `monotonic` gives growing seconds."""

    limits: Limits
    monotonic: Callable[[], float]
    violations: Counter[str] = field(default_factory=Counter)
    """Refusals by code: what a well-behaved client keeps at nothing."""
    calls: Counter[str] = field(default_factory=Counter)
    """Carried out calls by method; a batch counts once as `batch`, and each of its commands as itself."""
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    _runs: dict[tuple[str, str], deque[_Bucket]] = field(default_factory=dict)
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
                self.violations["QUERY_LIMIT_EXCEEDED"] += 1
                raise RestError("QUERY_LIMIT_EXCEEDED", "Too many requests", status=503)
            self._levels[source] = (level + 1, now)

    def check_operating(self, caller: str, method: str) -> None:
        """Refuses a method that the caller has used up the run time of.

        Raises:
            RestError: 429 `OPERATION_TIME_LIMIT`.
        """
        limit = self.limits.operating_seconds
        if limit is not None and self.operating(caller, method) > limit:
            with self._lock:
                self.violations["OPERATION_TIME_LIMIT"] += 1
            raise RestError("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", status=429)

    def spent(self, caller: str, method: str, seconds: float) -> None:
        """Notes the run time of one call that began now."""
        now = self.monotonic()
        counted = seconds if self.limits.seconds_per_call is None else self.limits.seconds_per_call
        minute = now // BUCKET_SECONDS
        with self._lock:
            runs = self._runs.setdefault((caller, method), deque())
            if runs and runs[-1].minute == minute:
                runs[-1].seconds += counted
            else:
                runs.append(_Bucket(minute, now, counted))

    def counted(self, method: str) -> None:
        """Notes that a call was let through."""
        with self._lock:
            self.calls[method] += 1

    def operating(self, caller: str, method: str) -> float:
        """Seconds the method ran in the buckets that are not yet forgotten."""
        now = self.monotonic()
        with self._lock:
            runs = self._runs.get((caller, method), deque())
            while runs and runs[0].began + OPERATING_WINDOW <= now:
                runs.popleft()
            return sum(bucket.seconds for bucket in runs)

    def frees_in(self, caller: str, method: str) -> float:
        """Seconds until the oldest bucket is forgotten: ten minutes after the first call in it."""
        with self._lock:
            runs = self._runs.get((caller, method))
            return max(0.0, runs[0].began + OPERATING_WINDOW - self.monotonic()) if runs else OPERATING_WINDOW
