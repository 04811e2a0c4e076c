"""SendPulse's OAuth client credentials: a bearer token that lasts an hour."""

from __future__ import annotations

from collections.abc import Mapping

from lettertrail.errors import AuthenticationError, RequestRejected
from lettertrail.http import RestClient


class ClientToken:
    """Signs requests with a token, fetched at the first request and again when the service refuses it."""

    def __init__(self, api: RestClient, client_id: str, secret: str) -> None:
        """`api` speaks to the same host, without a key of its own."""
        self.api = api
        self._client_id = client_id
        self._secret = secret
        self._token: str | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header."""
        if self._token is None:
            self.renew()
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> None:
        """Fetches a new token.

        Raises:
            AuthenticationError: the id or the secret was refused.
            RateLimited, TemporaryApiError: no answer that can be used.
        """
        try:
            answer = self.api.post(
                "/oauth/access_token",
                json={
                    "grant_type": "client_credentials",
                    "client_id": self._client_id,
                    "client_secret": self._secret,
                },
                write=False,
            )
        except RequestRejected as refused:
            answer, status = None, refused.status
        else:
            status = 200
        token = answer.get("access_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str) or not token:
            message = "the API id and secret were refused; renew them in the connection"
            raise AuthenticationError(self.api.service, message, status=status)
        self._token = token
