"""The HTTP shell: Basic auth, key scopes, limits, the one-minute guard. What is answered is decided by the routes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from lettertrail.sandbox.esps.esputnik import account, activity, contacts, groups, imports, messages
from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import SCOPE, EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import body_of, said
from lettertrail.sandbox.esps.shell import Answer, NoRoute, Refused, Shell, call_of
from lettertrail.sandbox.limits import Limit, RateLimit

PREFIX = "/api"
DEEP_SCOPE_PATHS = ("/v1/message/email/status",)
SUBSCRIBE_RATE = 200
CONTACTS_RATE = 1
OTHER_RATE = 10


def routes() -> EsputnikRouter:
    """All resources of the service."""
    router = EsputnikRouter()
    for module in (account, contacts, imports, groups, activity, messages):
        router.include(module.router)
    return router


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something."""
    return method not in {"GET", "HEAD"}


def usual_limits(monotonic: Callable[[], float] = time.monotonic) -> dict[str, Limit]:
    """One call a second for contacts, as a live account showed, 200 for subscribing, and 10 for the rest (U)."""
    rates = {"contacts": CONTACTS_RATE, "subscribe": SUBSCRIBE_RATE, "other": OTHER_RATE}
    return {name: RateLimit(rate=rate, burst=rate, monotonic=monotonic) for name, rate in rates.items()}


def create_app(
    store: EsputnikStore, *, login: str, api_key: str, limits: Mapping[str, Limit] | None = None
) -> EsputnikApp:
    """The service for one account.

    Args:
        store: the account's state.
        login: the owner's address; any user name does for most calls.
        api_key: the password of Basic auth.
        limits: `contacts`, `subscribe` and `other`; `usual_limits()` when not given, `{}` for none.
    """
    return EsputnikApp(store, login=login, api_key=api_key, limits=usual_limits() if limits is None else limits)


class EsputnikApp(Shell[EsputnikStore]):
    """An ASGI app: the API under `/api`, with `/_sandbox/health` and `/_sandbox/limits`."""

    service = "esputnik"

    def __init__(self, store: EsputnikStore, *, login: str, api_key: str, limits: Mapping[str, Limit]) -> None:
        super().__init__(store, limits)
        self._login = login
        self._api_key = api_key
        self._router = routes()
        store.remember("login", login)

    def answer(self, request: Request, raw: bytes) -> Answer:
        """Answers one call."""
        call = call_of(request, None)
        if not call.path.startswith(PREFIX + "/"):
            raise said(404, "Not Found")
        path = call.path[len(PREFIX) :]
        self._authenticate(request.headers.get("authorization", ""), path)
        limit = self.limits.get(_resource(path))
        if limit is not None and not limit.take():
            raise said(429, "Too Many Requests")
        if raw.strip() and not request.headers.get("content-type", "").startswith("application/json"):
            raise said(415, "Unsupported Media Type")
        digest = _digest(request, raw)
        if request.method == "POST" and self.store.is_repeated(digest):
            raise said(409, "Duplicate request: the same request was sent less than a minute ago")
        answer = self._dispatch(request, path, raw)
        if request.method == "POST":
            self.store.remember_request(digest)
        return answer

    def _dispatch(self, request: Request, path: str, raw: bytes) -> Answer:
        whole = call_of(request, body_of(raw))
        call = type(whole)(whole.method, path, whole.query, whole.pairs, whole.body)
        try:
            return self._router.dispatch(self.store, call)
        except NoRoute as problem:
            raise said(*((405, "Method Not Allowed") if problem.is_known_path else (404, "Not Found"))) from None

    def _authenticate(self, header: str, path: str) -> None:
        user, key = _basic(header)
        if not hmac.compare_digest(key.encode(), self._api_key.encode()):
            raise said(401, "Unauthorized")
        if path.rstrip("/") in DEEP_SCOPE_PATHS and user != self._login:
            raise said(401, "Unauthorized")
        if not _is_open(self.store.setting(SCOPE), path):
            raise Refused(Answer({"message": "Access is denied for this API key"}, 403))


def _basic(header: str) -> tuple[str, str]:
    scheme, _, rest = header.partition(" ")
    try:
        text = base64.b64decode(rest, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    user, _, key = text.partition(":")
    return user, key


def _is_open(scope: str, path: str) -> bool:
    if scope == "full" or path.split("/")[2:3] == ["event"]:
        return True
    return scope == "contacts" and path.split("/")[2:3] in (["contact"], ["contacts"])


def _resource(path: str) -> str:
    if path.rstrip("/") == "/v1/contact/subscribe":
        return "subscribe"
    return "contacts" if path.startswith(("/v1/contacts", "/v2/contacts")) else "other"


def _digest(request: Request, raw: bytes) -> str:
    return hashlib.sha256(b"\n".join((request.method.encode(), str(request.url).encode(), raw))).hexdigest()
