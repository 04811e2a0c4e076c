"""A service in a storm: refusals, failures, cut connections and lost answers, each with its own chance."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lettertrail.sandbox.faults import cut
from lettertrail.sandbox.journal import ADMIN


@dataclass(frozen=True, slots=True)
class Weather:
    """Chances of a request. They are tried one after the other: 5xx only hits what was not throttled."""

    throttled: float = 0.40
    failed: float = 0.10
    cut: float = 0.05
    lost: float = 0.05


@dataclass(slots=True)
class Storm:
    """Wraps a service; calm until `weather` is set. Counts what reaches it."""

    app: ASGIApp
    seed: int = 1
    weather: Weather | None = None
    requests: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves, refuses, fails, cuts or swallows."""
        if scope["type"] != "http" or scope["path"].startswith(ADMIN):
            await self.app(scope, receive, send)
            return
        self.requests += 1
        what = self._what()
        if what == "calm":
            await self.app(scope, receive, send)
            return
        if what == "lost":
            await self.app(scope, receive, _swallow)
            await cut(scope)
            return
        await Request(scope, receive).body()
        if what == "cut":
            await cut(scope)
            return
        await Response(status_code=429 if what == "throttled" else 500)(scope, receive, send)

    def _what(self) -> str:
        if self.weather is not None:
            for name in ("throttled", "failed", "cut", "lost"):
                if self._random.random() < getattr(self.weather, name):
                    return name
        return "calm"


async def _swallow(message: Message) -> None:
    """Nobody hears it."""
