"""One server for many short-lived apps: starting a server takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from lettertrail.sandbox.server import served


class Slot:
    """Passes requests on to the app that is in it at the moment."""

    base: str
    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@contextmanager
def serving() -> Iterator[Slot]:
    """A slot behind a real socket; `base` is its address."""
    slot = Slot()
    with served(slot) as base:
        slot.base = base
        yield slot
