"""How often and how many at once: the client-side limits that keep a service from having to refuse us.

None of the services says reliably when to come back, so the client keeps below the published limits by
itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Throttle:
    """A token bucket (`rate` per second, `burst` at once) and a cap on simultaneous requests. Thread-safe."""

    def __init__(
        self,
        *,
        max_concurrency: int = 4,
        rate: float | None = None,
        burst: int = 1,
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = threading.BoundedSemaphore(max_concurrency)
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at = timer()
        self._lock = threading.Lock()
        self._sleep = sleep
        self._timer = timer

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for its turn, then holds one of the slots."""
        with self._slots:
            wait = self._reserve()
            if wait > 0:
                self._sleep(wait)
            yield

    def _reserve(self) -> float:
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._timer()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)


_shared: dict[str, Throttle] = {}
_shared_lock = threading.Lock()


def shared_throttle(name: str, *, max_concurrency: int = 4, rate: float | None = None, burst: int = 1) -> Throttle:
    """The process-wide throttle of that name: services count per account or portal, not per client object."""
    with _shared_lock:
        if name not in _shared:
            _shared[name] = Throttle(max_concurrency=max_concurrency, rate=rate, burst=burst)
        return _shared[name]
