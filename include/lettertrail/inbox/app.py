"""The webhook receiver: a bare ASGI application.

    POST <public URL>/<connection id>/<kind>/<token>     a webhook: 200 once it is on disk
    GET, HEAD the same                                   the services' test of the address: 200
    GET, HEAD /health                                    200 while the database takes deliveries, else 503
    /preferences/<token>, /unsubscribe/<token>           pages for people, see `lettertrail.preferences.routes`

Any other address, and any wrong token, is 404. 401: not signed as it should be. 422: a letter that the site has to send
by itself. 400, 405, 408, 413, 429, 431: more, deeper or slower than any service sends. 503 with `Retry-After`: the
database did not commit in time. Never 410, which services take for a farewell.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from lettertrail.clock import Clock, system_clock
from lettertrail.errors import ConfigurationError, ContractError, WarehouseError
from lettertrail.inbox import site
from lettertrail.inbox.accounts import Webhook, Webhooks, read_webhooks
from lettertrail.inbox.limits import Allowance, Limits, is_too_deep, unpacked
from lettertrail.inbox.reading import Answer, Gone, Message, Receive, Send, own_path, read_body, read_headers
from lettertrail.inbox.store import Incoming, PostgresStore, Store
from lettertrail.preferences.routes import PreferenceRoutes, read_routes

log = logging.getLogger(__name__)

DSN = "LETTERTRAIL_INBOX_DSN"

_PRIVATE = frozenset(
    {
        "authorization", "proxy-authorization", "cookie",
        # what proxies add, with the token of the address in it
        "referer", "forwarded", "x-forwarded-uri", "x-original-uri", "x-original-url", "x-rewrite-url",
    }
)  # fmt: skip
"""Headers that are not stored."""
_RETRY = ((b"retry-after", b"2"),)


class Inbox:
    """The ASGI application; see `create_app`."""

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        *,
        limits: Limits,
        clock: Clock,
        preferences: PreferenceRoutes | None = None,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._preferences = preferences
        self._limits = limits
        self._clock = clock
        self._allowances = {
            (webhook.account, webhook.kind): Allowance(limits.deliveries_per_second, 2 * limits.deliveries_per_second)
            for webhook in webhooks
        }
        self._refused: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection of the server."""
        if scope["type"] == "http":
            path = own_path(scope["path"], scope.get("root_path", ""))
            if self._preferences is not None and self._preferences.serves(path):
                await self._preferences(scope, path, receive, send)
                return
            try:
                await _answer(send, await self._handle(path, scope, receive))
            except Answer as answer:
                await _answer(send, answer.status, answer.headers)
            except Gone:
                return
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._store.close()
                if self._preferences is not None:
                    await self._preferences.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def _handle(self, path: str, scope: Message, receive: Receive) -> int:
        method: str = scope["method"]
        if path == "/health" and method in ("GET", "HEAD"):
            return 200 if self._store.is_well() else 503
        parts = path.split("/")
        webhook = self._webhooks.find(*parts[1:]) if len(parts) == 4 and not parts[0] else None
        if webhook is None:
            raise Answer(404, "unknown address")
        if method == "POST":
            await self._take(webhook, path, scope, receive)
        elif method not in ("GET", "HEAD"):
            raise Answer(405, "method", (b"allow", b"GET, HEAD, POST"))
        return 200

    async def _take(self, webhook: Webhook, path: str, scope: Message, receive: Receive) -> None:
        """One webhook. Returns when it is on disk, or needs not be."""
        try:
            delivery = await self._let_in(webhook, path, scope, receive)
            if delivery is not None:
                await self._store.put(delivery)
        except WarehouseError:
            raise Answer(503, "not on disk in time", *_RETRY) from None
        except Answer as answer:
            self._tell(webhook, answer)
            raise

    async def _let_in(self, webhook: Webhook, path: str, scope: Message, receive: Receive) -> Incoming | None:
        """What is to be stored; None for a signed trial without content."""
        headers = read_headers(scope["headers"], most=self._limits.header_bytes)
        body = await read_body(headers, receive, most=self._limits.body_bytes, seconds=self._limits.body_seconds)
        plain = self._plain(webhook, headers, body)
        query: bytes = scope.get("query_string", b"")
        address = f"{path}?{query.decode('latin-1')}" if query else path
        now = self._clock()
        verdict, content = webhook.verify(plain, headers, address, now=now)
        if verdict == "forged":
            raise Answer(401, "not signed as it should be")
        if content is None:
            return None
        if not self._allowances[webhook.account, webhook.kind].take():
            raise Answer(429, "too many", *_RETRY)
        kept = {name: value for name, value in headers.items() if name not in _PRIVATE}
        told = self._told(webhook, plain, now)
        if told is not None:
            kept.pop("content-encoding", None)  # stored as it was signed
            return Incoming(webhook.account, webhook.kind, content, verdict, kept, told.body, now, told.letters)
        return Incoming(webhook.account, webhook.kind, content, verdict, kept, body, now)

    def _told(self, webhook: Webhook, plain: bytes, now: datetime) -> site.Told | None:
        """What a site told; None when no site posts here."""
        if webhook.site is None:
            return None
        try:
            return site.take(plain, webhook.site, account=webhook.account, received_at=now)
        except site.NoMail as error:
            raise Answer(422, str(error)) from None
        except ContractError as error:
            raise Answer(400, str(error)) from None

    def _plain(self, webhook: Webhook, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body as it was signed."""
        try:
            plain = unpacked(body, headers.get("content-encoding", ""), self._limits.body_bytes)
        except ValueError as error:
            raise Answer(400, str(error)) from None
        if webhook.is_json and is_too_deep(plain, self._limits.json_depth):
            raise Answer(400, "too deep")
        return plain

    def _tell(self, webhook: Webhook, answer: Answer) -> None:
        """Logs the first, the tenth, the hundredth … of a kind: a flood of forgeries must not become one of lines."""
        address = f"{webhook.account}/{webhook.kind}"
        self._refused[address, answer.why] += 1
        times = self._refused[address, answer.why]
        if str(times).strip("0") == "1":
            log.warning("inbox: %s refused with %s (%s), %d so far", address, answer.status, answer.why, times)


async def _answer(send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *headers]})
    await send({"type": "http.response.body", "body": b""})


def create_app(
    store: Store | str | None = None,
    webhooks: Webhooks | None = None,
    *,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    preferences: PreferenceRoutes | None = None,
) -> Inbox:
    """The receiver. Without arguments everything comes from the environment.

    Args:
        store: or the DSN of a role that may call `raw_inbox.receive`; LETTERTRAIL_INBOX_DSN.
        webhooks: see `lettertrail.inbox.accounts`.
        preferences: the pages for people; with a DSN they come from the environment as well.

    Raises:
        ConfigurationError: naming the variable that is missing or wrong.
    """
    where = store or os.environ.get(DSN, "").strip()
    if not where:
        raise ConfigurationError(f"{DSN} is not set: it is the warehouse, as the role lettertrail_inbox")
    if isinstance(where, str) and preferences is None:
        preferences = read_routes(os.environ, where, clock=clock)
    return Inbox(
        PostgresStore(where) if isinstance(where, str) else where,
        read_webhooks(os.environ) if webhooks is None else webhooks,
        limits=limits or Limits(),
        clock=clock,
        preferences=preferences,
    )
