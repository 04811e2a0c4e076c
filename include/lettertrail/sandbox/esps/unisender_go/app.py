"""The HTTP shell: who may ask, how often, JSON in and out. What is answered is decided by the methods."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable, Collection
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.service import Service
from lettertrail.sandbox.esps.unisender_go import dumps, hooks, sending, suppression
from lettertrail.sandbox.esps.unisender_go.store import UnisenderGoStore
from lettertrail.sandbox.esps.unisender_go.wire import Call, Handler, Json, Refusal
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.limits import RateLimit

CALLS = re.compile(r"/(?:ru|en)/transactional/api/v1/([\w/-]+?)(?:\.json)?/?")
READING = frozenset({"suppression/get", "suppression/list", "webhook/get", "webhook/list"})
MAX_BODY = 10 << 20


def all_methods() -> Methods[Handler]:
    """Everything the service can do."""
    found: Methods[Handler] = Methods()
    for module in (sending, suppression, dumps, hooks):
        found.include(module.methods)
    return found


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something; reading goes by POST as well here, and a dump changes nothing."""
    match = CALLS.fullmatch(path)
    return match is not None and match[1] not in READING and not match[1].startswith("event-dump/")


def create_app(
    store: UnisenderGoStore,
    *,
    api_key: str,
    approved_headers: Collection[str] = (),
    post: Callable[[HookRequest], int] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> UnisenderGoApp:
    """The service for one project.

    Args:
        store: the project's state.
        api_key: the key, in the header `X-API-KEY` or in the body.
        approved_headers: mail headers that support has allowed, such as `List-Unsubscribe`.
        post: sends the handshake of a webhook and gives the status; without it every webhook is taken.
        monotonic: growing seconds, for the limits.
    """
    return UnisenderGoApp(store, api_key=api_key, approved_headers=approved_headers, post=post, monotonic=monotonic)


class UnisenderGoApp(Service):
    """An ASGI app: the web API and the files of dumps."""

    service = "unisender_go"

    def __init__(
        self,
        store: UnisenderGoStore,
        *,
        api_key: str,
        approved_headers: Collection[str],
        post: Callable[[HookRequest], int] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._api_key = api_key
        self._approved = frozenset(name.lower() for name in approved_headers)
        self._post = post
        self._methods = all_methods()
        # The service publishes no figure; this one only stops a client that does not hold back at all.
        self.limits = {"calls": RateLimit(rate=100, burst=300, monotonic=monotonic)}

    async def respond(self, request: Request) -> Response:
        """A call of the service, or a file it has made."""
        path = request.url.path
        if path.startswith(dumps.FILES):
            found = await run_in_threadpool(dumps.file, self._store, path)
            return Response(status_code=404) if found is None else Response(found[0], media_type=found[1])
        match = CALLS.fullmatch(path)
        if match is None or request.method != "POST":
            return Response(status_code=404)
        raw = await request.body()
        base_url = f"{request.url.scheme}://{request.url.netloc}"
        header = request.headers.get("x-api-key", "")
        try:
            answer = await run_in_threadpool(self._answer, match[1], raw, header, base_url)
        except Refusal as refusal:
            return JSONResponse(refusal.body(), refusal.status)
        return JSONResponse(answer)

    def _answer(self, name: str, raw: bytes, header: str, base_url: str) -> Json:
        if len(raw) > MAX_BODY:
            raise Refusal(199, "The request is larger than 10 MB", status=413)
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            raise Refusal(111, "The request is no JSON") from None
        if not isinstance(body, dict):
            raise Refusal(111, "The request is no JSON object")
        self._authenticate(header or str(body.get("api_key", "")))
        if not self.limits["calls"].take():
            raise Refusal(901, "Too many requests", status=429)
        call = Call(body, base_url, self._approved)
        if name == "webhook/set":
            self._shake_hands(call)
        handler = self._methods.find(name)
        if handler is None:
            raise Refusal(103, f"Unknown method '{name}'", status=404)
        return handler(self._store, call)

    def _authenticate(self, key: str) -> None:
        if not key:
            raise Refusal(101, "The API key is missing", status=401)
        if not hmac.compare_digest(key.encode(), self._api_key.encode()):
            raise Refusal(102, "The API key is not valid", status=401)

    def _shake_hands(self, call: Call) -> None:
        if self._post is None or call.text("status", "active") != "active":
            return
        try:
            status = self._post(hooks.handshake(call.required("url")))
        except OSError:
            status = 0
        if status != 200:
            raise Refusal(3201, "The webhook's URL did not answer 200")
