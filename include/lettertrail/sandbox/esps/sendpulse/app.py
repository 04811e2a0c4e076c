"""The HTTP shell: tokens, limits, bodies in, answers out. What is answered is decided by the routes."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from lettertrail.sandbox.esps.sendpulse import books, campaigns, hooks, people, smtp, writing
from lettertrail.sandbox.esps.sendpulse.store import ERRORS, SendPulseStore
from lettertrail.sandbox.esps.sendpulse.wire import SendPulseRouter, body_of, fields_of
from lettertrail.sandbox.esps.sendpulse.words import RATE
from lettertrail.sandbox.esps.shell import Answer, Call, NoRoute, Refused, Shell, call_of
from lettertrail.sandbox.limits import Limit, RateLimit, WindowLimit

TOKEN_PATH = "/oauth/access_token"  # noqa: S105  a path
TOKEN_SECONDS = 3600
READING_POSTS = ("/emails", "/emails/campaigns", "/smtp/emails/info", TOKEN_PATH)
HARD_RATE = 10
PER_MINUTE = 1000


def routes() -> SendPulseRouter:
    """All resources of the service."""
    router = SendPulseRouter()
    for module in (books, writing, people, campaigns, smtp, hooks):
        router.include(module.router)
    return router


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something; some questions are asked by POST."""
    if method == "POST" and path.rstrip("/") in READING_POSTS:
        return False
    return method not in {"GET", "HEAD"}


def usual_limits(monotonic: Callable[[], float] = time.monotonic) -> dict[str, Limit]:
    """Those of the free plan: 10 calls a second and 1000 a minute; the half million a day is out of a test's reach."""
    return {
        "second": RateLimit(rate=HARD_RATE, burst=HARD_RATE, monotonic=monotonic),
        "minute": WindowLimit(calls=PER_MINUTE, seconds=60, monotonic=monotonic),
    }


def create_app(
    store: SendPulseStore,
    *,
    client_id: str,
    client_secret: str,
    api_key: str | None = None,
    limits: Mapping[str, Limit] | None = None,
    token_seconds: int = TOKEN_SECONDS,
) -> SendPulseApp:
    """The service for one account.

    Args:
        store: the account's state.
        client_id: of the API application.
        client_secret: of the API application.
        api_key: a static key that opens without the token call.
        limits: what is counted and refused, by name; `usual_limits()` when not given, `{}` for none.
        token_seconds: how long a token lives by the store's clock.
    """
    return SendPulseApp(
        store,
        client_id=client_id,
        client_secret=client_secret,
        api_key=api_key,
        limits=usual_limits() if limits is None else limits,
        token_seconds=token_seconds,
    )


class SendPulseApp(Shell[SendPulseStore]):
    """An ASGI app: the API at the root, with `/_sandbox/health` and `/_sandbox/limits`."""

    service = "sendpulse"

    def __init__(
        self,
        store: SendPulseStore,
        *,
        client_id: str,
        client_secret: str,
        api_key: str | None,
        limits: Mapping[str, Limit],
        token_seconds: int,
    ) -> None:
        super().__init__(store, limits)
        self._client = (client_id, client_secret)
        self._api_key = api_key
        self._token_seconds = token_seconds
        self._router = routes()

    def answer(self, request: Request, raw: bytes) -> Answer:
        """Answers one call, by the account's setting with every error inside a 200."""
        try:
            return self._call(request, raw)
        except Refused as refused:
            return self._spelled(refused.answer)

    def _call(self, request: Request, raw: bytes) -> Answer:
        if not all(limit.take() for limit in self.limits.values()):
            raise Refused(Answer({"message": "Too many requests", "error_code": RATE}, 429))
        path = request.url.path.rstrip("/")
        if path != TOKEN_PATH:
            self._authenticate(request.headers.get("authorization", ""))
        call = call_of(request, body_of(raw, request.headers.get("content-type", "")))
        if path == TOKEN_PATH:
            return self._token(call)
        try:
            return self._router.dispatch(self.store, call)
        except NoRoute as problem:
            status, words = (405, "Method Not Allowed") if problem.is_known_path else (404, "Not Found")
            return Answer({"message": words, "error_code": status}, status)

    def _token(self, call: Call) -> Answer:
        given = fields_of(call)
        client = (str(given.get("client_id", "")), str(given.get("client_secret", "")))
        if given.get("grant_type") != "client_credentials" or not _same(client, self._client):
            # U: the error word beside the shape that all refusals have.
            body = {"error": "invalid_client", "message": "Client authentication failed", "error_code": 401}
            return Answer(body, 401)
        token = self.store.issue_token(self._token_seconds)
        return Answer({"access_token": token, "token_type": "Bearer", "expires_in": self._token_seconds})

    def _authenticate(self, header: str) -> None:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and token:
            if self._api_key and _same((token,), (self._api_key,)):
                return
            if self.store.is_valid(token):
                return
        raise Refused(Answer({"message": "Unauthorized", "error_code": 401}, 401))

    def _spelled(self, answer: Answer) -> Answer:
        is_plain = answer.status in {400, 404, 422} and isinstance(answer.body, dict)
        if not is_plain or self.store.setting(ERRORS) == "http":
            return answer
        return Answer({"is_error": True, **answer.body})


def _same(given: tuple[str, ...], ours: tuple[str, ...]) -> bool:
    return hmac.compare_digest("\n".join(given).encode(), "\n".join(ours).encode())
