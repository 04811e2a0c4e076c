"""What all twins share for webhooks and rate limits: order, repeats, and violations that are counted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lettertrail.sandbox.hooks import HookRequest, HookSender
from lettertrail.sandbox.limits import RateLimit, WindowLimit, shown


def requests_of(count: int) -> list[HookRequest]:
    """Requests whose bodies are their numbers."""
    return [HookRequest("POST", "http://receiver.example/hook", body=str(n).encode()) for n in range(count)]


class Receiver:
    """Answers by a script, then 200; None stands for no answer."""

    def __init__(self, *script: int | None) -> None:
        self.script = list(script)
        self.seen: list[str] = []

    def __call__(self, request: HookRequest) -> int:
        self.seen.append(request.body.decode())
        status = self.script.pop(0) if self.script else 200
        if status is None:
            raise ConnectionResetError("no answer")
        return status


def test_everything_arrives_in_order_and_refusals_are_repeated() -> None:
    """Were the second request sent while the first is refused, or a lost answer taken for good, this would see it."""
    receiver = Receiver(500, None, 200, 204)
    sender = HookSender(receiver, retries=2)
    sender.queue(requests_of(2))
    assert sender.drain() == 2
    assert receiver.seen == ["0", "0", "0", "1"]
    assert (sender.waiting, sender.attempts) == (0, 4)


def test_a_request_that_is_refused_for_long_waits_and_holds_up_the_others() -> None:
    """Giving it up would lose it; overtaking it would break the order."""
    receiver = Receiver(*[410] * 2)
    sender = HookSender(receiver, retries=1)
    sender.queue(requests_of(2))
    assert sender.drain() == 0
    assert (sender.waiting, receiver.seen) == (2, ["0", "0"])
    assert sender.drain() == 2
    assert receiver.seen == ["0", "0", "0", "1"]


def test_duplicates_come_when_they_are_ordered() -> None:
    """The same bytes once more, right behind the first, for so many requests and no more."""
    receiver = Receiver()
    sender = HookSender(receiver)
    sender.duplicate(2)
    sender.queue(requests_of(3))
    sender.drain()
    assert receiver.seen == ["0", "0", "1", "1", "2"]


def test_a_bucket_refuses_counts_and_fills_again() -> None:
    """A limit that refuses without counting would let a careless client pass as careful."""
    now = SimpleNamespace(value=0.0)
    limit = RateLimit(rate=2, burst=3, monotonic=lambda: now.value)
    assert [limit.take() for _ in range(5)] == [True, True, True, False, False]
    now.value = 1.0
    assert [limit.take() for _ in range(3)] == [True, True, False]
    assert limit.violations == 3


def test_only_so_many_calls_run_at_the_same_time() -> None:
    """The third is refused and counted until one has left."""
    limit = RateLimit(rate=100, burst=100, connections=2)
    assert [limit.enter() for _ in range(3)] == [True, True, False]
    limit.leave()
    assert limit.enter()
    assert limit.violations == 1


def test_a_window_slides() -> None:
    """A fixed window would let twice as many calls through around its edge."""
    now = SimpleNamespace(value=0.0)
    limit = WindowLimit(calls=2, seconds=60, monotonic=lambda: now.value)
    taken = []
    for moment in (0, 59, 59.5, 60, 60.5, 119):
        now.value = moment
        taken.append(limit.take())
    assert taken == [True, True, False, True, False, True]
    assert limit.violations == 2


def test_violations_are_shown() -> None:
    """The sum is what a benchmark reads."""
    limits = {"a": WindowLimit(calls=0, seconds=1), "b": RateLimit(rate=1, burst=0)}
    for limit in limits.values():
        limit.take()
    body = shown(limits).body.decode()
    assert '"violations":2,' in body
    assert pytest.approx(1) == limits["b"].violations
