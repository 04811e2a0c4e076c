"""The exact requests that go to webhooks: arrays of activity rows, unsigned, with the headers chosen by the account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lettertrail.sandbox.esps.shell import Json, dump
from lettertrail.sandbox.hooks import HookRequest

BATCH = 500
"""U: how many rows come in one request."""


def render(
    url: str, rows: Iterable[Json], *, headers: Mapping[str, str] | None = None, size: int = BATCH
) -> Iterator[HookRequest]:
    """The requests that carry these rows, `size` at a time."""
    waiting = list(rows)
    for begin in range(0, len(waiting), size):
        body = dump(waiting[begin : begin + size]).encode()
        yield HookRequest("POST", url, {"content-type": "application/json", **(headers or {})}, body)
