"""The HTTP shell: who may ask, how often, forms in and JSON out. What is answered is decided by the methods."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.service import Service
from lettertrail.sandbox.esps.unisender import campaigns, contacts, exports, hooks, importing, lists, mail, messages
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import LIMIT_OF_KEY, Call, Handler, Json, Refusal, read_params, to_bytes
from lettertrail.sandbox.limits import WindowLimit

CALLS = re.compile(r"/(?:ru|en|it)/api/((?:async/)?\w+)/?")
READING = re.compile(r"(?:async/)?(?:get|list|is|check|export)\w*")
PER_MINUTE = {"exportContacts": 20, "subscribe": 300, "sendEmail": 60}
"""Calls in 60 s of one method, beside those of the whole key."""


def all_methods() -> Methods[Handler]:
    """Everything the service can do."""
    found: Methods[Handler] = Methods()
    for module in (lists, contacts, importing, exports, campaigns, messages, mail, hooks):
        found.include(module.methods)
    return found


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something; reading goes by POST as well here."""
    match = CALLS.fullmatch(path)
    return match is not None and READING.fullmatch(match[1]) is None


def create_app(
    store: UnisenderStore,
    *,
    api_key: str,
    calls_per_minute: int = 1200,
    monotonic: Callable[[], float] = time.monotonic,
) -> UnisenderApp:
    """The service for one account.

    Args:
        store: the account's state.
        api_key: the key, a parameter of every call.
        calls_per_minute: how many calls the key may make in 60 seconds.
        monotonic: growing seconds, for the limits.
    """
    return UnisenderApp(store, api_key=api_key, calls_per_minute=calls_per_minute, monotonic=monotonic)


class UnisenderApp(Service):
    """An ASGI app: `/{ru|en|it}/api/{method}` and the files of exports."""

    service = "unisender"

    def __init__(
        self, store: UnisenderStore, *, api_key: str, calls_per_minute: int, monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._api_key = api_key
        self._methods = all_methods()
        self.limits = {"calls": WindowLimit(calls=calls_per_minute, seconds=60, monotonic=monotonic)} | {
            name: WindowLimit(calls=calls, seconds=60, monotonic=monotonic) for name, calls in PER_MINUTE.items()
        }

    async def respond(self, request: Request) -> Response:
        """A call of the service, or a file it has made."""
        path = request.url.path
        if path.startswith(exports.FILES):
            content = await run_in_threadpool(exports.file, self._store, path)
            return Response(content, media_type="text/csv") if content is not None else Response(status_code=404)
        match = CALLS.fullmatch(path)
        if match is None or request.method not in {"GET", "POST"}:
            return Response(status_code=404)
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        raw = await request.body()
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)
        base_url = f"{request.url.scheme}://{request.url.netloc}"
        body = await run_in_threadpool(self._answer, match[1], Call(read_params(pairs), base_url))
        # The service answers 200 whatever happened: clients must look into the body.
        return Response(to_bytes(body), media_type="application/json; charset=utf-8")

    def _answer(self, name: str, call: Call) -> Json:
        try:
            self._enter(name, call)
            result = self._handler(name)(self._store, call)
        except Refusal as refusal:
            return {"error": f"{refusal.text} [{refusal.code}]", "code": refusal.code}
        warnings = [{"warning": text} for text in call.warnings]
        return {"result": result} | ({"warnings": warnings} if warnings else {})

    def _enter(self, name: str, call: Call) -> None:
        if not hmac.compare_digest(call.text("api_key").encode(), self._api_key.encode()):
            raise Refusal("invalid_api_key", "The API key is not valid")
        short = name.rpartition("/")[2]
        for limit in ("calls", short):
            if limit in self.limits and not self.limits[limit].take():
                raise Refusal(LIMIT_OF_KEY, "The limit of calls is exceeded")

    def _handler(self, name: str) -> Handler:
        handler = self._methods.find(name)
        if handler is None:
            raise Refusal("unknown_method", f"Method '{name}' is unknown")
        return handler
