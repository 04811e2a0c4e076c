"""Who may come in, and what he may call: webhooks, scopes (bitrix.md 6.1)."""

from __future__ import annotations

import hmac
import re

from lettertrail.sandbox.bitrix_methods.portal import Access, Params, RestError

WEBHOOK_SCOPES = frozenset({"crm", "sale", "user", "user_brief", "userconsent"})
USERS = frozenset({"user", "user_brief", "user_basic"})
FREE = frozenset({"profile", "scope", "methods", "method.get", "server.time", "app.info", "feature.get", "batch"})

WEBHOOK = re.compile(r"^/rest/(?P<user>\d+)/(?P<secret>[^/]+)/(?P<method>[\w.]+?)(?:\.json)?/?$")


def scope_of(method: str) -> frozenset[str]:
    """The scopes of which one is enough for a method; none when everybody may call it."""
    name = method.lower()
    first = name.partition(".")[0]
    if name in FREE or first in {"event", "events"}:
        return frozenset()
    return USERS if first == "user" else frozenset({first})


class Entrance:
    """The door of one portal."""

    def __init__(self, secret: str, scopes: frozenset[str]) -> None:
        self._secret = secret
        self._scopes = scopes

    def admit(self, path: str, params: Params, authorization: str) -> tuple[Access, str]:
        """Who is calling which method.

        Raises:
            RestError: 404 for an address that is none, 401 `NO_AUTH_FOUND`.
        """
        match = WEBHOOK.match(path)
        if match is None:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", status=404)
        if not hmac.compare_digest(match["secret"].encode(), self._secret.encode()):
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", status=401)
        connector = str(params.get("auth_connector") or "")
        return Access(int(match["user"]), self._scopes, connector=connector), match["method"]

    def allow(self, access: Access, method: str) -> None:
        """Lets a known method through.

        Raises:
            RestError: 403 `insufficient_scope`.
        """
        needed = scope_of(method)
        if needed and not needed & access.scopes:
            raise RestError(
                "insufficient_scope",
                "The request requires higher privileges than provided by the access token",
                status=403,
            )
