"""How a Bitrix24 portal is entered: through an incoming webhook, or as an OAuth application.

A webhook's secret is part of its address. An application has an access token of an hour and a refresh token of 180
days that is exchanged for a new one at every use (bitrix.md 6.1): whoever loses the new one is locked out. So the
newest tokens live in a file of their own (mode 0600, replaced atomically, locked between processes), and the refresh
token of the connection is only where the chain begins. It is renewed when the portal says `expired_token`, never by a
timer, which the portal's operator asks for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlsplit

from lettertrail.clock import Clock
from lettertrail.errors import ApiError, AuthenticationError, ConfigurationError, ContractError
from lettertrail.esps.port import AccountConnection
from lettertrail.http import Answer, RestClient

log = logging.getLogger(__name__)

OAUTH_SERVER = "https://oauth.bitrix24.tech"
OAUTH_HOSTS = ("oauth.bitrix24.tech", "oauth.bitrix.info")
SERVICE = "bitrix"
OPERATING_SECONDS = 480.0
"""The documentation's figure for the cloud."""


class Entrance(Protocol):
    """Where the methods are called, and what has to be sent along."""

    @property
    def base_url(self) -> str:
        """The address before `/<method>`; may hold a secret."""

    @property
    def is_application(self) -> bool:
        """Whether offline events may be asked for."""

    def token(self) -> str | None:
        """The access token to send as `auth`; None when the address is enough."""

    def renew(self, stale: str) -> None:
        """Replaces an access token the portal no longer takes.

        Raises:
            AuthenticationError: it cannot be replaced.
        """


@dataclass(frozen=True, slots=True)
class Webhook:
    """An incoming webhook: `https://<portal>/rest/<user id>/<secret>`."""

    base_url: str = field(repr=False)
    is_application: bool = False

    def token(self) -> str | None:
        """None: the secret is in the address."""
        return None

    def renew(self, stale: str) -> None:
        """A webhook has nothing to renew.

        Raises:
            AuthenticationError: always.
        """
        raise AuthenticationError(SERVICE, "the webhook was refused; make a new one and put it into the connection")


class Application:
    """An OAuth application of the portal; see the module for how its tokens are kept.

    Args:
        portal: `https://<portal>`.
        first_refresh_token: the one a person put into the connection.
        state_file: where the newest tokens are kept.
    """

    is_application = True

    def __init__(
        self,
        portal: str,
        *,
        client_id: str,
        client_secret: str,
        first_refresh_token: str,
        server: RestClient,
        state_file: Path,
    ) -> None:
        self.base_url = f"{portal}/rest"
        self._client_id = client_id
        self._client_secret = client_secret
        self._first = first_refresh_token
        self._server = server
        self._file = state_file
        self._access: str | None = None

    def __repr__(self) -> str:
        return f"Application({urlsplit(self.base_url).hostname})"

    def token(self) -> str:
        """The access token this process, or another one, got last; a new one when there is none.

        Raises:
            AuthenticationError: the refresh token was refused.
        """
        if self._access is None:
            self._access = self._kept().get("access_token")
        if self._access is None:
            self.renew("")
        assert self._access is not None
        return self._access

    def renew(self, stale: str) -> None:
        """Gets new tokens, unless another process already did; they are on disk before they are used.

        Raises:
            AuthenticationError: the refresh token was refused: the application has to be authorised again.
            ContractError: the answer holds no tokens.
        """
        with self._locked():
            kept = self._kept()
            if kept.get("access_token") not in (None, stale):
                self._access = kept["access_token"]
                return
            refresh = kept.get("refresh_token", self._first)
            answer = self._server.get(
                "/oauth/token/",
                params={
                    "grant_type": "refresh_token",
                    "client_id": self._client_id,
                    "client_secret": self._client_secret,
                    "refresh_token": refresh,
                },
            )
            if not isinstance(answer, Mapping) or not answer.get("access_token") or not answer.get("refresh_token"):
                raise ContractError("bitrix: the answer of the authorisation server has no tokens")
            self._keep(str(answer["access_token"]), str(answer["refresh_token"]))
            self._access = str(answer["access_token"])
        log.info("bitrix renewed the access token of %s", urlsplit(self.base_url).hostname)

    def _kept(self) -> dict[str, str]:
        """What the file holds, unless a person has since put another refresh token into the connection."""
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the token file {self._file.name} cannot be read ({type(error).__name__}); delete it and put a"
                " new refresh token into the connection"
            ) from None
        return kept if kept.get("began_with") == _fingerprint(self._first) else {}

    def _keep(self, access: str, refresh: str) -> None:
        tokens = {"access_token": access, "refresh_token": refresh, "began_with": _fingerprint(self._first)}
        # mkstemp makes the file 0600; the rename swaps old for new in one step.
        handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(tokens, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a connection says besides the key; every one is a field of its `extra`."""

    is_enterprise: bool = False
    """`plan: enterprise`: the bucket drains 5 a second and blocks above 250 instead of 2 and 50."""
    operating_seconds: float = OPERATING_SECONDS
    """`operating_seconds`: run time a method may use in ten minutes; 420 on a box with the limit switched on."""
    with_events: bool = True
    """`offline_events: false` leaves the events alone; they need an application in any case."""

    @classmethod
    def of(cls, connection: AccountConnection) -> Self:
        """Reads the connection's extra.

        Raises:
            ConfigurationError: naming the field that cannot be used.
        """
        plan = str(connection.extra.get("plan", "")).lower()
        seconds = connection.extra.get("operating_seconds", OPERATING_SECONDS)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise ConfigurationError(
                f"connection {connection.conn_id!r}: operating_seconds is {seconds!r}; say a number of seconds"
            )
        return cls(plan == "enterprise", float(seconds), connection.extra.get("offline_events", True) is not False)


def entrance(
    connection: AccountConnection, *, state_dir: Path, clock: Clock, allowed_hosts: Sequence[str] = ()
) -> Entrance:
    """The webhook or application a connection describes.

    A webhook is its whole URL as address, or the portal's address with the user id as login and the secret as
    password. An application is the portal's address, the client id as login, the client secret as password and
    `{"refresh_token": "…"}` in the extra.

    Raises:
        ConfigurationError: the connection is neither.
    """
    address, login, password = connection.address, (connection.login or "").strip(), (connection.password or "").strip()
    refresh = connection.extra.get("refresh_token")
    if re.search(r"/rest/\d+/[^/]+$", address):
        return Webhook(address)
    portal = address.removesuffix("/rest")
    if portal and login and password and isinstance(refresh, str) and refresh:
        server = RestClient(
            str(connection.extra.get("oauth_server", OAUTH_SERVER)),
            service=SERVICE,
            hosts=OAUTH_HOSTS,
            allowed_hosts=allowed_hosts,
            classify=_judge_token_answer,
            clock=clock,
        )
        return Application(
            portal,
            client_id=login,
            client_secret=password,
            first_refresh_token=refresh,
            server=server,
            state_file=state_dir / "bitrix24" / f"{_fingerprint(f'{portal} {login}')}.json",
        )
    if portal and login.isdigit() and password:
        return Webhook(f"{portal}/rest/{login}/{password}")
    raise ConfigurationError(
        f"connection {connection.conn_id!r} must hold an incoming webhook (its whole URL as address, or the portal's"
        " address with the user id as login and the secret as password) or an application (client id as login, client"
        " secret as password, refresh_token in the extra)"
    )


def _judge_token_answer(answer: Answer) -> ApiError | None:
    code = answer.body.get("error") if isinstance(answer.body, Mapping) else None
    if code is None or answer.status >= 500:
        return None
    word = str(code) if re.fullmatch(r"\w+", str(code)) else "without a code"
    return AuthenticationError(
        SERVICE,
        f"the authorisation server refused the application ({word}); authorise it again and put the new refresh token"
        " into the connection",
        status=answer.status,
        code=word,
    )


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
