"""Bitrix24 REST on top of the sample site's own database, built from reference/bitrix.md section 6.

    app = create_app("mysql://bitrix:pw@127.0.0.1:3306/sitemanager", secret="…", timezone=ZoneInfo("Europe/Moscow"))

Called as an incoming webhook is: `/rest/{user}/{secret}/{method}` or `…/{method}.json`, parameters in the query, as a
form or as JSON. It reads and writes what the site holds: an update changes `b_crm_contact` and `b_uts_crm_contact`.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import MySQLdb
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lettertrail.clock import Clock, system_clock
from lettertrail.sandbox.bitrix_methods import cards, dictionaries, items, php_query, userfields
from lettertrail.sandbox.bitrix_methods.batch import run_batch
from lettertrail.sandbox.bitrix_methods.limits import Gate, Limits
from lettertrail.sandbox.bitrix_methods.portal import Database, Methods, Params, Portal, Reply, RestError

log = logging.getLogger(__name__)

PATH = re.compile(r"^/rest/(?P<user>\d+)/(?P<secret>[^/]+)/(?P<method>[\w.]+?)(?:\.json)?/?$")


def all_methods() -> Methods:
    """Every method there is, but `batch`."""
    methods = Methods()
    for module in (cards, items, userfields, dictionaries):
        methods.include(module.methods)
    methods.include(dictionaries.lister(methods.names))
    return methods


def create_app(
    dsn: str,
    *,
    secret: str,
    timezone: ZoneInfo,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    monotonic: Callable[[], float] = time.monotonic,
) -> BitrixRest:
    """The service for one site.

    Raises:
        ConfigurationError: when the database cannot be reached.
    """
    portal = Portal(Database(dsn), timezone, clock=clock)
    return BitrixRest(portal, secret=secret, gate=Gate(limits or Limits(), monotonic))


class BitrixRest:
    """An ASGI app: one incoming webhook, and `/_sandbox/health`."""

    def __init__(self, portal: Portal, *, secret: str, gate: Gate) -> None:
        self._portal = portal
        self._secret = secret
        self._gate = gate
        self._methods = all_methods()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if request.url.path == "/_sandbox/health":
            await JSONResponse({"status": "ok", "service": "bitrix"})(scope, receive, send)
            return
        response = await self._respond(request)
        await response(scope, receive, send)

    def close(self) -> None:
        """Closes the connections to the site's database."""
        self._portal.database.close()

    async def _respond(self, request: Request) -> Response:
        raw = await request.body()
        try:
            user, method = self._authenticate(request.url.path)
            self._gate.enter(request.client.host if request.client else "")
            params = _params(request, raw)
            portal = replace(self._portal, user_id=user)
            body = await run_in_threadpool(self._answer, portal, method, params)
        except RestError as error:
            return JSONResponse(error.body(), error.status)
        except MySQLdb.Error:
            log.exception("the site's database failed")
            return JSONResponse({"error": "INTERNAL_SERVER_ERROR", "error_description": "Internal server error"}, 500)
        return JSONResponse(body)

    def _authenticate(self, path: str) -> tuple[int, str]:
        match = PATH.match(path)
        if match is None:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", status=404)
        if not hmac.compare_digest(match["secret"].encode(), self._secret.encode()):
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", status=401)
        return int(match["user"]), match["method"]

    def _answer(self, portal: Portal, method: str, params: Params) -> dict[str, Any]:
        if method.lower() == "batch":
            reply, times = self._timed(
                portal, "batch", lambda: run_batch(params, lambda name, given: self._run(portal, name, given))
            )
        else:
            reply, times = self._run(portal, method, params)
        body: dict[str, Any] = {"result": reply.result}
        if reply.next is not None:
            body["next"] = reply.next
        if reply.total is not None:
            body["total"] = reply.total
        return body | {"time": times}

    def _run(self, portal: Portal, name: str, params: Params) -> tuple[Reply, dict[str, Any]]:
        method = self._methods.find(name)
        return self._timed(portal, name.lower(), lambda: method(portal, params))

    def _timed(self, portal: Portal, name: str, work: Callable[[], Reply]) -> tuple[Reply, dict[str, Any]]:
        self._gate.check_operating(name)
        began, start = portal.clock(), time.perf_counter()
        try:
            reply = work()
        finally:
            seconds = time.perf_counter() - start
            self._gate.spent(name, seconds)
        ended = began + timedelta(seconds=seconds)
        return reply, {
            "start": began.timestamp(),
            "finish": ended.timestamp(),
            "duration": seconds,
            "processing": seconds,
            "date_start": began.astimezone(portal.timezone).isoformat(timespec="seconds"),
            "date_finish": ended.astimezone(portal.timezone).isoformat(timespec="seconds"),
            "operating_reset_at": int(ended.timestamp() + self._gate.frees_in(name)),
            "operating": self._gate.operating(name),
        }


def _params(request: Request, raw: bytes) -> dict[str, Any]:
    """Query parameters, overlaid by the body."""
    params = php_query.parse(request.url.query)
    if not raw.strip():
        return params
    if "json" in request.headers.get("content-type", ""):
        try:
            body = json.loads(raw)
        except ValueError:
            raise RestError("INVALID_REQUEST", "The request body is not valid JSON.") from None
        return params | body if isinstance(body, dict) else params
    return params | php_query.parse(raw.decode("utf-8", "replace"))
