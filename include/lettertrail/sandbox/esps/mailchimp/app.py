"""The HTTP shell: who may ask, how many at once, JSON in and out. What is answered is decided by the routes."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lettertrail.sandbox import limits
from lettertrail.sandbox.esps.mailchimp import (
    batches,
    campaigns,
    history,
    lists,
    members,
    recipients,
    reports,
    tags,
    webhooks,
    writing,
)
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Problem, Router, invalid_resource, not_found, to_bytes
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.limits import RateLimit

log = logging.getLogger(__name__)

PREFIX = "/3.0"
MAX_CONNECTIONS = 10
WEBHOOKS = re.compile(r"/lists/[^/]+/webhooks/?")
OVERRIDABLE = ("PUT", "PATCH", "DELETE", "GET")


def routes() -> Router:
    """All resources of the service."""
    router = Router()
    for module in (lists, members, writing, tags, history, campaigns, reports, recipients, webhooks, batches):
        router.include(module.router)
    return router


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something; a batch is judged by its operations."""
    if method == "POST" and path.rstrip("/") == f"{PREFIX}/batches" and isinstance(body, dict):
        operations = body.get("operations")
        return isinstance(operations, list) and any(
            isinstance(operation, dict) and operation.get("method") != "GET" for operation in operations
        )
    return method not in {"GET", "HEAD"}


def create_app(
    store: MailchimpStore,
    *,
    api_key: str,
    batch_step_seconds: float = 0.2,
    post: Callable[[HookRequest], int] | None = None,
) -> MailchimpApp:
    """The service for one account.

    Args:
        store: the account's state.
        api_key: `<32 hex>-<data centre>`.
        batch_step_seconds: how long a batch stays pending, and then finalizing.
        post: sends the handshake of a webhook and gives the status; without it every webhook is taken.
    """
    return MailchimpApp(store, api_key=api_key, batch_step_seconds=batch_step_seconds, post=post)


class MailchimpApp:
    """An ASGI app: the Marketing API under `/3.0`, `/_sandbox/health` and `/_sandbox/limits`."""

    def __init__(
        self,
        store: MailchimpStore,
        *,
        api_key: str,
        batch_step_seconds: float,
        post: Callable[[HookRequest], int] | None = None,
    ) -> None:
        self._store = store
        self._api_key = api_key
        self._post = post
        self._router = routes()
        self.limits = {"connections": RateLimit(connections=MAX_CONNECTIONS)}
        self._batches = batches.BatchRunner(store, self._router, step_seconds=batch_step_seconds)
        self._batches.wake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if request.url.path == "/_sandbox/health":
            await JSONResponse({"status": "ok", "service": "mailchimp"})(scope, receive, send)
            return
        if request.url.path == limits.PATH:
            await limits.shown(self.limits)(scope, receive, send)
            return
        if not self.limits["connections"].enter():
            # The real service answers without a JSON body here: clients must go by the status alone.
            await Response(status_code=429)(scope, receive, send)
            return
        try:
            response = await self._respond(request)
            await response(scope, receive, send)
        finally:
            self.limits["connections"].leave()

    def close(self) -> None:
        """Stops the work on batches."""
        self._batches.close()

    async def _respond(self, request: Request) -> Response:
        raw = await request.body()
        if request.url.path.startswith(batches.DOWNLOADS):
            return await run_in_threadpool(self._download, request.url.path, request.url.query)
        try:
            call = self._call(request, raw)
            answer = await run_in_threadpool(self._answer, call)
        except Problem as problem:
            return Response(
                to_bytes(problem.body()),
                problem.status,
                media_type="application/problem+json",
            )
        if call.method == "POST" and call.path.startswith("/batches"):
            self._batches.wake()
        return _response(answer)

    def _answer(self, call: Call) -> Answer:
        if self._post is not None and call.method == "POST" and WEBHOOKS.fullmatch(call.path):
            self._shake_hands(self._post, str(call.fields().get("url", "")))
        return self._router.dispatch(self._store, call)

    def _shake_hands(self, post: Callable[[HookRequest], int], url: str) -> None:
        try:
            status = post(webhooks.handshake(url))
        except OSError:
            status = 0
        if status != 200:
            raise invalid_resource(("url", "The URL did not answer 200."))

    def _download(self, path: str, query: str) -> Response:
        content = batches.archive(self._store, path, query)
        if content is None:
            return Response("Access denied: the link has expired or is wrong.", 403)
        return Response(content, media_type="application/gzip")

    def _call(self, request: Request, raw: bytes) -> Call:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii", "replace").split("?")[0]
        if path != PREFIX and not path.startswith(PREFIX + "/"):
            raise not_found()
        self._authenticate(request.headers.get("authorization", ""))
        method = request.method
        override = request.headers.get("x-http-method-override", "").upper()
        if method == "POST" and override in OVERRIDABLE:
            method = override
        body = None
        if raw.strip():
            try:
                body = json.loads(raw)
            except ValueError:
                raise Problem(
                    400,
                    "JSONParseError",
                    "We encountered an unspecified JSON parsing error. Ensure your JSON is valid.",
                ) from None
        return Call(
            method=method,
            path=path[len(PREFIX) :] or "/",
            query=dict(parse_qsl(request.url.query, keep_blank_values=True)),
            body=body,
            base_url=f"{request.url.scheme}://{request.url.netloc}{PREFIX}",
        )

    def _authenticate(self, header: str) -> None:
        key = _key_of(header)
        if not key:
            raise Problem(401, "API Key Missing", "Your request did not include an API key.")
        if hmac.compare_digest(key.encode(), self._api_key.encode()):
            return
        ours, theirs = self._api_key.rpartition("-"), key.rpartition("-")
        if ours[0] and hmac.compare_digest(theirs[0].encode(), ours[0].encode()):
            raise Problem(403, "Wrong Datacenter", "The API key provided is linked to a different datacenter.")
        raise Problem(
            401,
            "API Key Invalid",
            "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
        )


def _key_of(header: str) -> str:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status)
    return Response(to_bytes(answer.body), answer.status, media_type="application/json; charset=utf-8")
