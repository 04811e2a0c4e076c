"""What every twin is as a server: an ASGI app with its health and its limits beside what the service answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lettertrail.sandbox import limits as rates

HEALTH = "/_sandbox/health"


class Service(ABC):
    """The app of one service; answers `/_sandbox/health` and `/_sandbox/limits` itself."""

    service: ClassVar[str]
    limits: Mapping[str, rates.Limit]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        response: Response
        if request.url.path == HEALTH:
            response = JSONResponse({"status": "ok", "service": self.service})
        elif request.url.path == rates.PATH:
            response = rates.shown(self.limits)
        else:
            response = await self.respond(request)
        await response(scope, receive, send)

    def close(self) -> None:  # noqa: B027  # most services have nothing that runs beside the requests
        """Stops what runs beside the requests."""

    @abstractmethod
    async def respond(self, request: Request) -> Response:
        """Answers one request to the service."""
