"""Faults on demand: what a client must survive and a healthy service never shows.

    POST   /_sandbox/faults   {"kind": "refuse", "status": 429, "path": "^/3.0/lists", "times": 3}
    GET    /_sandbox/faults   the faults that are still waiting
    DELETE /_sandbox/faults   forget them all

guarded by the service's own key (Basic with any user, or Bearer). Of the waiting faults the first that matches a
request is used up by it: `skip` matching requests pass before, `times` requests are hit.

Kinds: `refuse` answers `status` with `body` (nothing by default) and does not ask the service; `drop_before` cuts
the connection instead of asking; `drop_after_write` lets the service do its work and cuts the connection; `truncate`
sends half of the answer as if it were all; `slow` waits `seconds` and then lets the answer drip in eight pieces;
`slow_drip` begins at once and takes `seconds` in 64 small pieces, so that a limit on the wait for the next byte never
strikes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lettertrail.sandbox.journal import ADMIN, FAULT_KEY, NOTE_KEY

KINDS = ("refuse", "drop_before", "drop_after_write", "truncate", "slow", "slow_drip")
PATH = f"{ADMIN}faults"
PIECES = 8
DROPS = 64


@dataclass(slots=True)
class Fault:
    """One ordered fault; `times` counts down."""

    kind: str
    path: re.Pattern[str]
    method: str
    times: int
    skip: int
    status: int
    body: str
    seconds: float

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Fault:
        """From the admin call's JSON.

        Raises:
            ValueError: naming what cannot be used.
        """
        kind = given.get("kind")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        try:
            return cls(
                kind=str(kind),
                path=re.compile(str(given.get("path", ""))),
                method=str(given.get("method", "")).upper(),
                times=int(given.get("times", 1)),
                skip=int(given.get("skip", 0)),
                status=int(given.get("status", 500)),
                body=str(given.get("body", "")),
                seconds=float(given.get("seconds", 1.0)),
            )
        except re.error as error:
            raise ValueError(f"path is no regular expression: {error}") from error
        except TypeError as error:
            raise ValueError("times, skip, status and seconds must be numbers") from error

    def shown(self) -> dict[str, Any]:
        """As the admin call lists it."""
        return {
            "kind": self.kind,
            "path": self.path.pattern,
            "method": self.method,
            "times": self.times,
            "skip": self.skip,
            "status": self.status,
            "body": self.body,
            "seconds": self.seconds,
        }


class Faults:
    """Wraps a service; without orders it is not there.

    Cutting a connection needs the transport, which `server.py` puts into the scope's state; where there is none (an
    in-process test client) the request ends with `ConnectionResetError` instead.
    """

    def __init__(self, app: ASGIApp, *, key: str) -> None:
        self._app = app
        self._key = key
        self._waiting: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the admin call, or passes a request on with the fault it has to suffer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == PATH:
            response = await self._administer(Request(scope, receive))
            await response(scope, receive, send)
            return
        fault = None if scope["path"].startswith(ADMIN) else self._take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        scope[FAULT_KEY] = {"fault": fault.kind}
        await self._suffer(fault, scope, receive, send)

    def _take(self, method: str, path: str) -> Fault | None:
        for fault in self._waiting:
            if (fault.method and fault.method != method) or not fault.path.search(path):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.times <= 0:
                self._waiting.remove(fault)
            return fault
        return None

    async def _suffer(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind in {"refuse", "drop_before"}:
            # The body is read so that the journal has it and the connection stays usable.
            await Request(scope, receive).body()
        if fault.kind == "refuse":
            await Response(fault.body, fault.status)(scope, receive, send)
            return
        if fault.kind == "drop_before":
            await cut(scope)
            return
        answer = _Answer(scope)
        await self._app(scope, receive, answer.take)
        if fault.kind == "drop_after_write":
            await cut(scope)
            return
        if fault.kind == "truncate":
            await answer.give(send, answer.body[: len(answer.body) // 2])
            return
        if fault.kind == "slow_drip":
            await answer.give(send, answer.body, pieces=DROPS, seconds=fault.seconds)
            return
        await asyncio.sleep(fault.seconds)
        await answer.give(send, answer.body, pieces=PIECES, seconds=fault.seconds)

    async def _administer(self, request: Request) -> Response:
        if not hmac.compare_digest(_key_of(request.headers.get("authorization", "")), self._key.encode()):
            return JSONResponse({"error": "the faults are guarded by the service's own key"}, 401)
        if request.method == "POST":
            try:
                given = await request.json()
                self._waiting.append(Fault.read(given if isinstance(given, dict) else {}))
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)
        elif request.method == "DELETE":
            self._waiting.clear()
        elif request.method != "GET":
            return Response(status_code=405)
        return JSONResponse({"faults": [fault.shown() for fault in self._waiting]})


class _Answer:
    """Keeps an app's answer back."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._start: Message = {"type": "http.response.start", "status": 500, "headers": []}
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self._scope[FAULT_KEY]["performed"] = message["status"]
        else:
            self.body += message.get("body", b"")

    async def give(self, send: Send, body: bytes, *, pieces: int = 1, seconds: float = 0.0) -> None:
        headers = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**self._start, "headers": headers})
        size = max(1, -(-len(body) // pieces))
        begins = range(0, len(body), size)
        for begin in begins:
            await send({"type": "http.response.body", "body": body[begin : begin + size], "more_body": True})
            await asyncio.sleep(seconds / len(begins))
        await send({"type": "http.response.body", "body": b""})


async def cut(scope: Scope) -> None:
    """Breaks the connection off, after the journal has its line."""
    if NOTE_KEY in scope:
        scope[NOTE_KEY]()
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionResetError("cut on purpose")
    transport.abort()
    # The server has to learn of it before this request ends, or it would report an unfinished answer.
    while not transport.is_closing():
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def _key_of(header: str) -> bytes:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    try:
        return base64.b64decode(rest, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except binascii.Error:
        return b""
