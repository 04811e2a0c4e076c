"""What the twins of SendPulse and eSputnik have in common as servers: calls, answers, routes, the ASGI shell.

Nothing here knows a resource or an error shape. Handlers are plain functions `(store, call) -> Answer`.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lettertrail.sandbox import limits as rates
from lettertrail.sandbox.esps.service import Service

Json = dict[str, Any]
StoreT = TypeVar("StoreT")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already authenticated."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    """The query in order, for names that come more than once."""
    body: Any = None
    names: Mapping[str, str] = field(default_factory=dict)
    """The values of the route's placeholders."""

    def all(self, name: str) -> list[str]:
        """Every value of a query parameter, written `name` or `name[]`."""
        return [value for key, value in self.pairs if key in {name, f"{name}[]"}]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body. Text is sent as plain text, anything else as JSON, None as no body at all."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """As it goes over the wire."""
        headers = dict(self.headers)
        if self.body is None:
            return Response(status_code=self.status, headers=headers)
        if isinstance(self.body, str):
            return Response(self.body, self.status, headers, media_type="text/plain; charset=utf-8")
        return Response(dump(self.body).encode(), self.status, headers, media_type="application/json")


class Refused(Exception):
    """Ends a call with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer


class NoRoute(Exception):
    """Nothing answers this path, or not by this method."""

    def __init__(self, *, is_known_path: bool) -> None:
        super().__init__("no such route")
        self.is_known_path = is_known_path


Handler = Callable[[StoreT, Call], Answer]


class Router(Generic[StoreT]):
    """Finds the handler of a call. `{name}` in a path stands for one segment."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler[StoreT]]] = []

    def on(self, method: str, path: str) -> Callable[[Handler[StoreT]], Handler[StoreT]]:
        """Registers the decorated handler."""
        pattern = re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?$")

        def register(handler: Handler[StoreT]) -> Handler[StoreT]:
            self._routes.append((method, pattern, handler))
            return handler

        return register

    def include(self, other: Router[StoreT]) -> None:
        """Takes over the routes of `other`."""
        self._routes.extend(other)

    def __iter__(self) -> Iterator[tuple[str, re.Pattern[str], Handler[StoreT]]]:
        return iter(self._routes)

    def dispatch(self, store: StoreT, call: Call) -> Answer:
        """Answers the call.

        Raises:
            NoRoute: for an unknown path, or a known path under another method.
            Refused: from the handler.
        """
        is_known_path = False
        for method, pattern, handler in self._routes:
            match = pattern.match(call.path)
            if match is None:
                continue
            is_known_path = True
            if method == call.method:
                names = {name: unquote(value) for name, value in match.groupdict().items()}
                return handler(store, replace(call, names=names))
        raise NoRoute(is_known_path=is_known_path)


class Shell(Service, Generic[StoreT]):
    """An ASGI app whose service is plain functions on a store."""

    def __init__(self, store: StoreT, limits: Mapping[str, rates.Limit]) -> None:
        self.store = store
        self.limits = limits

    async def respond(self, request: Request) -> Response:
        """The answer as it goes over the wire."""
        raw = await request.body()
        return (await run_in_threadpool(self._answered, request, raw)).response()

    @abstractmethod
    def answer(self, request: Request, raw: bytes) -> Answer:
        """Answers one call of the service; runs in a thread."""

    def _answered(self, request: Request, raw: bytes) -> Answer:
        try:
            return self.answer(request, raw)
        except Refused as refused:
            return refused.answer


def call_of(request: Request, body: Any) -> Call:
    """The request as a call, path as it was escaped."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii", "replace").split("?")[0]
    pairs = tuple(parse_qsl(request.url.query, keep_blank_values=True))
    return Call(request.method, path, dict(pairs), pairs, body)


def dump(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def key_of(address: str) -> str:
    """How an address is compared."""
    return address.strip().lower()


ADDRESS = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,.]+")


def is_address(value: Any) -> bool:
    """Whether it can be an e-mail address at all."""
    return isinstance(value, str) and ADDRESS.fullmatch(value.strip()) is not None
