"""Bitrix24 REST on top of the sample site's own database, built from reference/bitrix.md section 6.

    app = create_app("mysql://bitrix:pw@127.0.0.1:3306/sitemanager", secret="…", timezone=ZoneInfo("Europe/Moscow"))

Called as an incoming webhook is: `/rest/{user}/{secret}/{method}` or `…/{method}.json`, parameters in the query, as a
form or as JSON. It reads and writes what the site holds: an update changes `b_crm_contact` and `b_uts_crm_contact`.

With `application=Application(…)` also as an application is: `/rest/{method}` with an access token as the parameter
`auth` or as a bearer. Tokens come from `/oauth/token/` (or `app.tokens.install()`), offline events from changes made
through REST and from `bitrix_methods.events.note` for changes made straight in the database.

`app.gate.violations` counts the refusals by code (also under `/_sandbox/limits`): a client that keeps to the limits
leaves it empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import MySQLdb
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lettertrail.clock import Clock, system_clock
from lettertrail.sandbox.bitrix_methods import (
    activities,
    caller,
    cards,
    dictionaries,
    events,
    field_info,
    history,
    items,
    links,
    offline,
    people,
    php_query,
    products,
    shop,
    site_handler,
    userfields,
)
from lettertrail.sandbox.bitrix_methods.batch import run_batch
from lettertrail.sandbox.bitrix_methods.entrance import WEBHOOK_SCOPES, Entrance, scope_of
from lettertrail.sandbox.bitrix_methods.limits import Gate, Limits
from lettertrail.sandbox.bitrix_methods.portal import (
    Access,
    Database,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    columns_of,
)
from lettertrail.sandbox.bitrix_methods.tokens import Application, Tokens

log = logging.getLogger(__name__)

MODULES = (
    activities,
    cards,
    dictionaries,
    field_info,
    history,
    items,
    links,
    offline,
    people,
    products,
    shop,
    site_handler,
    userfields,
    caller,
)


def all_methods() -> Methods:
    """Every method there is, but `batch`."""
    methods = Methods()
    for module in MODULES:
        methods.include(module.methods)
    methods.include(caller.listers(methods.names, scope_of))
    return methods


def create_app(
    dsn: str,
    *,
    secret: str,
    timezone: ZoneInfo,
    limits: Limits | None = None,
    scopes: frozenset[str] = WEBHOOK_SCOPES,
    application: Application | None = None,
    state: Path | None = None,
    clock: Clock = system_clock,
    monotonic: Callable[[], float] = time.monotonic,
) -> BitrixRest:
    """The service for one site.

    Args:
        scopes: what the webhook was allowed when it was made.
        application: lets an application in; its queue of offline events is kept in two more tables of the site.
        state: a file in which the application's tokens survive a restart.

    Raises:
        ConfigurationError: when the database cannot be reached.
    """
    database = Database(dsn)
    member_id = hashlib.md5(urlsplit(dsn).path.encode(), usedforsecurity=False).hexdigest()
    portal = Portal(
        database,
        timezone,
        access=Access(1, scopes),
        clock=clock,
        member_id=member_id,
        has_events=application is not None,
    )
    tokens = None
    if application is not None:
        events.prepare(database)
        tokens = Tokens(application, clock=clock, member_id=member_id, state=state)
    return BitrixRest(
        portal, entrance=Entrance(secret, scopes, tokens), gate=Gate(limits or Limits(), monotonic), tokens=tokens
    )


class BitrixRest:
    """An ASGI app: an incoming webhook, an application where there is one, and `/_sandbox/health`."""

    def __init__(self, portal: Portal, *, entrance: Entrance, gate: Gate, tokens: Tokens | None = None) -> None:
        self._portal = portal
        self._entrance = entrance
        self._methods = all_methods()
        self.gate = gate
        self.tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        response = self._told(request.url.path) or await self._respond(request)
        await response(scope, receive, send)

    def close(self) -> None:
        """Closes the connections to the site's database."""
        self._portal.database.close()

    def _told(self, path: str) -> Response | None:
        """What the sandbox itself answers to whoever runs it."""
        if path == "/_sandbox/health":
            return JSONResponse({"status": "ok", "service": "bitrix"})
        if path == "/_sandbox/limits":
            return JSONResponse({"violations": dict(self.gate.violations), "calls": dict(self.gate.calls)})
        return None

    async def _respond(self, request: Request) -> Response:
        path = request.url.path
        raw = await request.body()
        try:
            params = _params(request, raw)
            if path.startswith("/oauth/"):
                return self._authorize(request, params)
            access, method = self._entrance.admit(path, params, request.headers.get("authorization", ""))
            self.gate.enter(request.client.host if request.client else "")
            work = run_in_threadpool(self._answer, access, method, params)
            body = await asyncio.wait_for(asyncio.shield(work), self.gate.limits.request_seconds)
        except TimeoutError:
            # The balancer before the portal hangs up; what was asked for may still be done.
            return HTMLResponse("<html><head><title>504 Gateway Time-out</title></head></html>", 504)
        except RestError as error:
            return JSONResponse(error.body(), error.status)
        except MySQLdb.Error:
            log.exception("the site's database failed")
            return JSONResponse({"error": "INTERNAL_SERVER_ERROR", "error_description": "Internal server error"}, 500)
        return JSONResponse(body)

    def _authorize(self, request: Request, params: Params) -> Response:
        """The authorisation server, which for a real portal is another host and has no part in the limits."""
        path = request.url.path.rstrip("/")
        if self.tokens is None or path not in {"/oauth/token", "/oauth/authorize"}:
            raise RestError("invalid_client", "Invalid client")
        if path == "/oauth/token":
            return JSONResponse(self.tokens.exchange(params, endpoint=f"{request.base_url}rest/"))
        code = self.tokens.authorize(str(params.get("client_id") or ""))
        return JSONResponse({"code": code, "state": params.get("state"), "member_id": self._portal.member_id})

    def _answer(self, access: Access, method: str, params: Params) -> dict[str, Any]:
        portal = self._seen_by(access)
        if method.lower() == "batch":
            self.gate.counted("batch")
            reply, times = self._timed(
                portal, None, lambda: run_batch(params, lambda name, given: self._run(portal, name, given))
            )
        else:
            reply, times = self._run(portal, method, params)
        body: dict[str, Any] = {"result": reply.result}
        if reply.next is not None:
            body["next"] = reply.next
        if reply.total is not None:
            body["total"] = reply.total
        return body | {"time": times}

    def _seen_by(self, access: Access) -> Portal:
        """The portal with the user's own time zone, where he has one."""
        row = None
        with self._portal.database.transaction() as cursor:
            # A test's site may have no users at all.
            if "TIME_ZONE" in columns_of(cursor, "b_user"):
                cursor.execute("select TIME_ZONE from b_user where ID = %s", (access.user_id,))
                row = cursor.fetchone()
        zone = None
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo(row["TIME_ZONE"]) if row and row["TIME_ZONE"] else None
        return replace(self._portal, access=access, user_zone=zone)

    def _run(self, portal: Portal, name: str, params: Params) -> tuple[Reply, dict[str, Any]]:
        method = self._methods.find(name)
        self._entrance.allow(portal.access, name.lower())
        return self._timed(portal, name.lower(), lambda: method(portal, params))

    def _timed(self, portal: Portal, name: str | None, work: Callable[[], Reply]) -> tuple[Reply, dict[str, Any]]:
        """Carries a method out under its run time; a batch as a whole (no name) has none of its own."""
        caller_key = portal.access.key
        if name is not None:
            self.gate.check_operating(caller_key, name)
            self.gate.counted(name)
        began, start = portal.clock(), time.perf_counter()
        try:
            reply = work()
        finally:
            seconds = time.perf_counter() - start
            if name is not None:
                self.gate.spent(caller_key, name, seconds)
        ended = began + timedelta(seconds=seconds)
        times: dict[str, Any] = {
            "start": began.timestamp(),
            "finish": ended.timestamp(),
            "duration": seconds,
            "processing": seconds,
            "date_start": began.astimezone(portal.timezone).isoformat(timespec="seconds"),
            "date_finish": ended.astimezone(portal.timezone).isoformat(timespec="seconds"),
        }
        if name is None:
            return reply, times | {"operating": 0}
        reset = int(ended.timestamp() + self.gate.frees_in(caller_key, name))
        return reply, times | {"operating_reset_at": reset, "operating": self.gate.operating(caller_key, name)}


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
