"""How often and how many at once: the client-side limits that keep a service from having to refuse us.

None of the services says reliably when to come back, so the client keeps below the published limits by
itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Bucket(Protocol):
    """A token bucket. Thread-safe."""

    def reserve(self) -> float:
        """Takes a token, also one that is still to come; gives the seconds to wait until it is there."""
        ...


MakeBucket = Callable[[str, float, int], Bucket]
"""Makes the bucket of that name, with tokens per second and how many of them may be there at once."""


class LocalBucket:
    """A token bucket of this process alone."""

    def __init__(self, rate: float, burst: int, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._timer = timer
        self._filled_at = timer()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        with self._lock:
            now = self._timer()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)


class Throttle:
    """A token bucket (`rate` per second, `burst` at once) and a cap on simultaneous requests. Thread-safe."""

    def __init__(
        self,
        *,
        max_concurrency: int = 4,
        rate: float | None = None,
        burst: int = 1,
        bucket: Bucket | None = None,
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = threading.BoundedSemaphore(max_concurrency)
        self._bucket = bucket or (LocalBucket(rate, burst, timer=timer) if rate is not None else None)
        self._sleep = sleep

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for its turn, then holds one of the slots."""
        with self._slots:
            wait = self._bucket.reserve() if self._bucket is not None else 0.0
            if wait > 0:
                self._sleep(wait)
            yield


_shared: dict[str, Throttle] = {}
_shared_lock = threading.Lock()
_make_bucket: list[MakeBucket] = []


def share_buckets(make_bucket: MakeBucket) -> None:
    """From now on the rates of new shared throttles count in buckets made so, for example one for all processes."""
    with _shared_lock:
        _make_bucket[:] = [make_bucket]


def shared_throttle(name: str, *, max_concurrency: int = 4, rate: float | None = None, burst: int = 1) -> Throttle:
    """The process-wide throttle of that name: services count per account or portal, not per client object."""
    with _shared_lock:
        if name not in _shared:
            bucket = _make_bucket[0](name, rate, burst) if _make_bucket and rate is not None else None
            _shared[name] = Throttle(max_concurrency=max_concurrency, rate=rate, burst=burst, bucket=bucket)
        return _shared[name]
