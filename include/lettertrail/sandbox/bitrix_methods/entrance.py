"""Who may come in, and what he may call: webhooks, applications, scopes (bitrix.md 6.1)."""

from __future__ import annotations

import hmac
import re

from lettertrail.sandbox.bitrix_methods.portal import Access, Params, RestError
from lettertrail.sandbox.bitrix_methods.tokens import Tokens

WEBHOOK_SCOPES = frozenset({"crm", "sale", "user", "user_brief", "userconsent"})
USERS = frozenset({"user", "user_brief", "user_basic"})
FREE = frozenset(
    {"profile", "scope", "methods", "method.get", "server.time", "app.info", "feature.get", "batch", "events"}
)
APPLICATIONS_ONLY = "event."

WEBHOOK = re.compile(r"^/rest/(?P<user>\d+)/(?P<secret>[^/]+)/(?P<method>[\w.]+?)(?:\.json)?/?$")
APPLICATION = re.compile(r"^/rest/(?P<method>[a-zA-Z][\w.]*?)(?:\.json)?/?$")


def scope_of(method: str) -> frozenset[str]:
    """The scopes of which one is enough for a method; none when everybody may call it."""
    name = method.lower()
    if name in FREE or name.startswith(APPLICATIONS_ONLY):
        return frozenset()
    first = name.partition(".")[0]
    return USERS if first == "user" else frozenset({first})


class Entrance:
    """The door of one portal: one webhook, and at most one application."""

    def __init__(self, secret: str, scopes: frozenset[str], tokens: Tokens | None = None) -> None:
        self._secret = secret
        self._scopes = scopes
        self._tokens = tokens

    def admit(self, path: str, params: Params, authorization: str) -> tuple[Access, str]:
        """Who is calling which method.

        Args:
            authorization: the header of that name; `Bearer …` does what the parameter `auth` does.

        Raises:
            RestError: 404 for an address that is none, 401 `NO_AUTH_FOUND`, 401 `expired_token`.
        """
        connector = str(params.get("auth_connector") or "")
        match = WEBHOOK.match(path)
        if match is not None:
            if not hmac.compare_digest(match["secret"].encode(), self._secret.encode()):
                raise RestError("NO_AUTH_FOUND", "Wrong authorization data", status=401)
            return Access(int(match["user"]), self._scopes, connector=connector), match["method"]
        match = APPLICATION.match(path)
        if match is None:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", status=404)
        scheme, _, bearer = authorization.partition(" ")
        token = str(params.get("auth") or (bearer.strip() if scheme.lower() == "bearer" else ""))
        if self._tokens is None or not token:
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", status=401)
        return self._tokens.access(token, connector=connector), match["method"]

    def allow(self, access: Access, method: str) -> None:
        """Lets a known method through.

        Raises:
            RestError: 403 `WRONG_AUTH_TYPE` for a webhook where an application is wanted, 403 `insufficient_scope`.
        """
        if access.client_id is None and method.startswith(APPLICATIONS_ONLY):
            raise RestError(
                "WRONG_AUTH_TYPE",
                "Current authorization type is denied for this method Application context required",
                status=403,
            )
        needed = scope_of(method)
        if needed and not needed & access.scopes:
            raise RestError(
                "insufficient_scope",
                "The request requires higher privileges than provided by the access token",
                status=403,
            )
