"""A local HTTP server that says what a test tells it to, over real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `cut` announces the whole body and sends half; `drop` closes the connection without a word."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    drop: bool = False
    delay: float = 0.0

    def raw(self) -> bytes:
        """The body as sent: JSON unless it is text or bytes already."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any

    def one(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.query.get(name, [])), None)


class ScriptedServer:
    """Answers with the script's replies in order, then with the last one for ever; or asks a function."""

    def __init__(self, script: Iterable[Reply] | Callable[[Seen], Reply]) -> None:
        self.seen: list[Seen] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._answer = script if callable(script) else _in_order(script)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def host(self) -> str:
        """`127.0.0.1:<port>`."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._serve(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # names http.server looks for

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            raw = request.rfile.read(int(request.headers.get("Content-Length") or 0))
            url = urlsplit(request.path)
            seen = Seen(
                request.command,
                url.path,
                parse_qs(url.query, keep_blank_values=True),
                dict(request.headers),
                json.loads(raw) if raw else None,
            )
            with self._lock:
                self.seen.append(seen)
                reply = self._answer(seen)
            _send(request, reply)
        finally:
            with self._lock:
                self._at_once -= 1


def _in_order(script: Iterable[Reply]) -> Callable[[Seen], Reply]:
    replies = deque(script)
    return lambda _: replies.popleft() if len(replies) > 1 else replies[0]


def _send(request: BaseHTTPRequestHandler, reply: Reply) -> None:
    time.sleep(reply.delay)
    if reply.drop:
        request.close_connection = True
        return
    body = reply.raw()
    request.send_response(reply.status)
    for name, value in {"Content-Type": "application/json", **reply.headers}.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2] if reply.cut else body)
    request.close_connection = request.close_connection or reply.cut
