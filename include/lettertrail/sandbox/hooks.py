"""Webhooks as the services send them: exact requests, in order, at least once.

A twin renders `HookRequest`s, signature included; `HookSender` hands them to whatever posts them, so that a test can
send them into an app and the demo over a socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HookRequest:
    """One request of a service to somebody's webhook. The body is signed as it stands: send these very bytes."""

    method: str
    url: str
    """As registered with the service."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class HookSender:
    """Sends what is queued, oldest first; nothing overtakes a request that is still refused."""

    def __init__(self, post: Callable[[HookRequest], int], *, retries: int = 3) -> None:
        """Takes the way out.

        Args:
            post: sends one request and gives the status; an `OSError` means that no answer came.
            retries: how often a request is sent again, at once, before `drain` leaves it for the next time.
        """
        self._post = post
        self._retries = retries
        self._queued: deque[HookRequest] = deque()
        self._duplicates = 0
        self.attempts = 0
        """Requests sent, repeats included."""

    @property
    def waiting(self) -> int:
        """How many requests were not accepted yet."""
        return len(self._queued)

    def queue(self, requests: Iterable[HookRequest]) -> None:
        """Puts requests behind those that wait."""
        self._queued.extend(requests)

    def duplicate(self, times: int = 1) -> None:
        """Has the next `times` accepted requests sent once more, as after an answer that got lost."""
        self._duplicates += times

    def drain(self) -> int:
        """Sends until nothing waits or a request is refused `retries` + 1 times; gives how many were accepted."""
        accepted = 0
        while self._queued:
            request = self._queued[0]
            if not any(self._is_accepted(request) for _ in range(self._retries + 1)):
                break
            if self._duplicates:
                self._duplicates -= 1
                self._is_accepted(request)
            self._queued.popleft()
            accepted += 1
        return accepted

    def _is_accepted(self, request: HookRequest) -> bool:
        self.attempts += 1
        try:
            return 200 <= self._post(request) < 300
        except OSError:
            return False
