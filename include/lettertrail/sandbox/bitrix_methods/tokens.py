"""Applications: `/oauth/token/` gives access tokens for an hour and refresh tokens that work once (bitrix.md 6.1)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lettertrail.clock import Clock
from lettertrail.sandbox.bitrix_methods.portal import Access, Params, RestError

ACCESS_LIFE = timedelta(seconds=3600)
REFRESH_LIFE = timedelta(days=180)
CODE_LIFE = timedelta(seconds=30)
LIVES = {"access": ACCESS_LIFE, "refresh": REFRESH_LIFE, "code": CODE_LIFE}
ADMINISTRATOR = 1


@dataclass(frozen=True, slots=True)
class Application:
    """An application as it is registered; nothing here has a default that would let somebody in."""

    client_id: str
    client_secret: str
    scopes: frozenset[str]
    refresh_token: str | None = None
    """A first refresh token, for a client that was set up before the portal started."""


class Tokens:
    """The tokens of one application, kept as digests.

    Args:
        state: a file in which they survive a restart; None keeps them in memory.
    """

    def __init__(self, application: Application, *, clock: Clock, member_id: str, state: Path | None = None) -> None:
        self.application = application
        self._clock = clock
        self._member_id = member_id
        self._state = state
        self._lock = threading.Lock()
        self._live: dict[str, dict[str, str]] = {"access": {}, "refresh": {}, "code": {}}
        self._used: list[str] = []
        if state is not None and state.exists():
            held = json.loads(state.read_text(encoding="utf-8"))
            self._live, self._used = held["live"], held["used"]
        first = application.refresh_token
        if first is not None and _digest(first) not in self._used:
            self._live["refresh"].setdefault(_digest(first), self._until("refresh"))
            self._save()

    def install(self) -> tuple[str, str]:
        """An access and a refresh token, as the installation of the application gives them."""
        with self._lock:
            return self._issue("access"), self._issue("refresh")

    def authorize(self, client_id: str) -> str:
        """A code for half a minute, as the user's consent gives it.

        Raises:
            RestError: 400 `invalid_client`.
        """
        if not hmac.compare_digest(client_id.encode(), self.application.client_id.encode()):
            raise RestError("invalid_client", "Invalid client")
        with self._lock:
            return self._issue("code")

    def exchange(self, params: Params, *, endpoint: str) -> dict[str, Any]:
        """The answer of `/oauth/token/`. What was handed in is worth nothing afterwards.

        Raises:
            RestError: 400 `invalid_client`, `invalid_request`, `invalid_grant`.
        """
        mine = f"{self.application.client_id}\n{self.application.client_secret}"
        theirs = f"{params.get('client_id')}\n{params.get('client_secret')}"
        if not hmac.compare_digest(mine.encode(), theirs.encode()):
            raise RestError("invalid_client", "Invalid client")
        kinds = {"refresh_token": ("refresh", "refresh_token"), "authorization_code": ("code", "code")}
        kind = kinds.get(str(params.get("grant_type")))
        if kind is None:
            raise RestError("invalid_request", "Invalid grant_type")
        given = _digest(str(params.get(kind[1]) or ""))
        with self._lock:
            until = self._live[kind[0]].pop(given, None)
            if until is None or datetime.fromisoformat(until) <= self._clock():
                raise RestError("invalid_grant", "Invalid or expired grant")
            self._used.append(given)
            access, refresh = self._issue("access"), self._issue("refresh")
        seconds = int(ACCESS_LIFE.total_seconds())
        return {
            "access_token": access,
            "expires": int(self._clock().timestamp()) + seconds,
            "expires_in": seconds,
            "scope": ",".join(sorted(self.application.scopes)),
            "domain": "oauth.bitrix24.tech",
            "server_endpoint": "https://oauth.bitrix24.tech/rest/",
            "status": "L",
            "client_endpoint": endpoint,
            "member_id": self._member_id,
            "user_id": ADMINISTRATOR,
            "refresh_token": refresh,
        }

    def access(self, token: str, *, connector: str) -> Access:
        """Who comes with this access token.

        Raises:
            RestError: 401 `expired_token`, 401 `NO_AUTH_FOUND`.
        """
        with self._lock:
            until = self._live["access"].get(_digest(token))
        if until is None:
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", status=401)
        if datetime.fromisoformat(until) <= self._clock():
            raise RestError("expired_token", "The access token provided has expired.", status=401)
        return Access(ADMINISTRATOR, self.application.scopes, self.application.client_id, connector)

    def _issue(self, kind: str) -> str:
        token = secrets.token_hex(16)
        self._live[kind][_digest(token)] = self._until(kind)
        self._save()
        return token

    def _until(self, kind: str) -> str:
        return (self._clock() + LIVES[kind]).isoformat()

    def _save(self) -> None:
        if self._state is not None:
            self._state.write_text(json.dumps({"live": self._live, "used": self._used}), encoding="utf-8")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
