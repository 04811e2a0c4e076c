"""An inbox without a network: the application driven by ASGI messages, and stores to look into."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from bench.inbox import letters

from lettertrail.clock import fixed_clock
from lettertrail.errors import WarehouseError
from lettertrail.inbox.accounts import Webhooks, read_webhooks
from lettertrail.inbox.app import Inbox, create_app
from lettertrail.inbox.limits import Limits
from lettertrail.inbox.store import Incoming

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
UNIX = int(NOW.timestamp())
ACCOUNTS = {
    **json.loads(letters.accounts()),
    "sendpulse": {"token": letters.TOKEN},
    "bitrix24": {"token": letters.TOKEN, "secrets": {"events": ["application-token"]}, "member_id": "portal-1"},
}


@dataclass
class MemoryStore:
    """Keeps what is put in, unless told to fail."""

    kept: list[Incoming] = field(default_factory=list)
    is_down: bool = False
    is_closed: bool = False

    async def put(self, delivery: Incoming) -> None:
        """Keeps it."""
        if self.is_down:
            raise WarehouseError("down")
        self.kept.append(delivery)

    async def close(self) -> None:
        """Notes it."""
        self.is_closed = True

    def is_well(self) -> bool:
        """As told."""
        return not self.is_down


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    app: Callable[..., Awaitable[None]],
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    **scope: Any,
) -> Answer:
    """One request; a sequence of bytes is a body that comes in pieces."""
    return run(asking(app, method, path, body, headers, **scope))


def run(work: Awaitable[Answer]) -> Answer:
    """Runs it in an event loop of its own."""

    async def inner() -> Answer:
        return await work

    return asyncio.run(inner())


async def asking(
    app: Callable[..., Awaitable[None]],
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    **scope: Any,
) -> Answer:
    """As `ask`, in a loop that runs."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    sent: list[dict[str, Any]] = []
    pairs = headers.items() if isinstance(headers, Mapping) else headers

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    given = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in pairs],
    }  # fmt: skip
    await app({**given, **scope}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, sent[1]["body"])


def post(app: Inbox, hook: letters.Hook) -> Answer:
    """Sends a webhook as a service does."""
    return ask(app, "POST", hook.path, hook.body, hook.headers)


def webhooks(accounts: Mapping[str, object] = ACCOUNTS) -> Webhooks:
    """Those of `ACCOUNTS`, at `letters.URL`."""
    text = json.dumps(accounts)
    return read_webhooks({"LETTERTRAIL_INBOX_ACCOUNTS": text, "LETTERTRAIL_INBOX_URL": letters.URL})


@pytest.fixture
def store() -> MemoryStore:
    """What the application under test puts its deliveries into."""
    return MemoryStore()


@pytest.fixture
def app(store: MemoryStore) -> Inbox:
    """The application at `NOW`."""
    return create_app(store, webhooks(), clock=fixed_clock(NOW), limits=Limits(body_seconds=0.2))


@dataclass(frozen=True)
class Inside:
    """A warehouse, looked into."""

    dsn: str

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, values or None).fetchall()


@pytest.fixture
def inside(warehouse_dsn: str) -> Inside:
    """A migrated, empty warehouse."""
    return Inside(warehouse_dsn)
