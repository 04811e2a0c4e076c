"""The HTTP shell: who may ask, how often, JSON in and out. What is answered is decided by the methods."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lettertrail.sandbox.esps.mandrill import exports, hooks, messages, rejects
from lettertrail.sandbox.esps.mandrill.store import MandrillStore
from lettertrail.sandbox.esps.mandrill.wire import Call, Handler, Refusal, invalid
from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.service import Service
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.limits import RateLimit

CALLS = re.compile(r"/api/1\.[04]/([a-z]+/[a-z0-9-]+?)(?:\.json)?/?")
WRITING = re.compile(r"messages/(send|send-template|cancel-scheduled)|\w+/(add|update|delete)")


def all_methods() -> Methods[Handler]:
    """Everything the service can do."""
    found: Methods[Handler] = Methods()
    for module in (messages, rejects, exports, hooks):
        found.include(module.methods)
    return found


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something; reading goes by POST as well here."""
    match = CALLS.fullmatch(path)
    return match is not None and WRITING.fullmatch(match[1]) is not None


def create_app(
    store: MandrillStore,
    *,
    api_key: str,
    is_old: bool = False,
    post: Callable[[HookRequest], int] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> MandrillApp:
    """The service for one account.

    Args:
        store: the account's state.
        api_key: the key, in the body of every call.
        is_old: answers every error with status 500, as older servers do; the name tells them apart.
        post: sends the handshake of a webhook and gives the status; without it every webhook is taken.
        monotonic: growing seconds, for the limits.
    """
    return MandrillApp(store, api_key=api_key, is_old=is_old, post=post, monotonic=monotonic)


class MandrillApp(Service):
    """An ASGI app: the API under `/api/1.0` and the files of exports."""

    service = "mandrill"

    def __init__(
        self,
        store: MandrillStore,
        *,
        api_key: str,
        is_old: bool,
        post: Callable[[HookRequest], int] | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._api_key = api_key
        self._is_old = is_old
        self._post = post
        self._methods = all_methods()
        # The service publishes no figure; this one only stops a client that does not hold back at all.
        self.limits = {"calls": RateLimit(rate=100, burst=300, monotonic=monotonic)}

    async def respond(self, request: Request) -> Response:
        """A call of the service, or a file it has made."""
        path = request.url.path
        if path.startswith(exports.FILES):
            content = await run_in_threadpool(exports.file, self._store, path)
            return Response(content, media_type="application/zip") if content else Response(status_code=404)
        match = CALLS.fullmatch(path)
        if match is None or request.method != "POST":
            return Response(status_code=404)
        raw = await request.body()
        base_url = f"{request.url.scheme}://{request.url.netloc}"
        try:
            answer = await run_in_threadpool(self._answer, match[1], raw, base_url)
        except Refusal as refusal:
            return JSONResponse(refusal.body(), 500 if self._is_old else refusal.status)
        return JSONResponse(answer)

    def _answer(self, name: str, raw: bytes, base_url: str) -> Any:
        try:
            body = json.loads(raw)
        except ValueError:
            raise invalid("You must specify a key value") from None
        if not isinstance(body, dict):
            raise invalid("You must specify a key value")
        if not hmac.compare_digest(str(body.get("key", "")).encode(), self._api_key.encode()):
            raise Refusal("Invalid_Key", "Invalid API key")
        if not self.limits["calls"].take():
            raise Refusal("RequestLimitExceeded", "You have exceeded the allowed number of calls")
        handler = self._methods.find(name)
        if handler is None:
            raise Refusal("Unknown_Method", f'Unknown method "{name}"')
        call = Call(body, base_url)
        if name == "webhooks/add":
            self._shake_hands(call)
        return handler(self._store, call)

    def _shake_hands(self, call: Call) -> None:
        if self._post is None:
            return
        try:
            status = self._post(hooks.handshake(call.required("url")))
        except OSError:
            status = 0
        if status != 200:
            raise invalid('{"url":"The URL did not answer 200"}')
