"""The append-only log of every request a sandbox service received, refused ones included.

One JSON object a line: `ts, service, method, path, query, body, status, is_write`, and after a fault `fault` and
`performed` (the status the service would have given). The secret in Bitrix's path, the tokens of its applications and
keys among the parameters are masked. Bodies are otherwise written as they came: the file holds invented people only.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lettertrail.clock import Clock, system_clock

ADMIN = "/_sandbox/"
FAULT_KEY = "lettertrail.fault"
"""Where in the ASGI scope a fault notes what it did."""

NOTE_KEY = "lettertrail.note"
"""Where a fault finds the way to have the line written before it cuts the connection."""

SECRETS = frozenset({"auth", "access_token", "refresh_token", "client_secret", "api_key", "key"})
_SECRET_PAIR = re.compile(rf"((?:^|&)(?:{'|'.join(sorted(SECRETS))})=)[^&]*")

IsWrite = Callable[[str, str, Any], bool]
"""Whether method, path and parsed body ask for a change."""


class Journal:
    """The file. Several services may write to it."""

    def __init__(self, path: Path, *, clock: Clock = system_clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()

    def write(self, entry: dict[str, Any]) -> None:
        """Appends one line, on the disk when this returns."""
        line = json.dumps({"ts": self._clock().isoformat(timespec="milliseconds")} | entry, ensure_ascii=False)
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Journaled:
    """Wraps an ASGI app. The line is written before the answer leaves, so that a caller finds it there."""

    def __init__(
        self, app: ASGIApp, journal: Journal, *, service: str, is_write: IsWrite, mask: Callable[[str], str]
    ) -> None:
        self._app = app
        self._journal = journal
        self._service = service
        self._is_write = is_write
        self._mask = mask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on and writes its line."""
        if scope["type"] != "http" or scope["path"].startswith(ADMIN):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        written = False

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        def note(status: int | None) -> None:
            nonlocal written
            if not written:
                written = True
                self._journal.write(self._entry(scope, bytes(body), status))

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        scope[NOTE_KEY] = lambda: note(None)
        try:
            await self._app(scope, listen, speak)
        finally:
            note(None)

    def _entry(self, scope: Scope, raw: bytes, status: int | None) -> dict[str, Any]:
        body = _parsed(raw)
        method, path = scope["method"], scope["path"]
        entry: dict[str, Any] = {
            "service": self._service,
            "method": method,
            "path": self._mask(path),
            "query": _masked(dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))),
            "body": _masked(body),
            "status": status,
            "is_write": self._is_write(method, path, body),
        }
        fault: dict[str, Any] = scope.get(FAULT_KEY, {})
        return entry | fault


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if key in SECRETS else item for key, item in value.items()}
    return _SECRET_PAIR.sub(r"\1***", value) if isinstance(value, str) else value


def _parsed(raw: bytes) -> Any:
    if not raw.strip():
        return None
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
