"""Signed links: what stands in a letter, and whom a request that comes back is about.

    <public URL>/preferences/<token>     the page to choose on, and to come back by
    <public URL>/unsubscribe/<token>     one click to leave (RFC 8058); this token cannot choose anything

A token is the random number of an address in `ops.links` (16 bytes) and the first 16 bytes of an HMAC-SHA256 over the
purpose and that number, in URL-safe base64. No address is in it, not even enciphered: a token in a log tells nothing to
who cannot read the table, and an erased row makes it worthless. The number alone could not be guessed either; the
signature turns forgeries away before the database is asked, keeps the two purposes apart and can be changed.

Tokens do not expire: a letter of last year must still let its reader leave. What ends them is a secret taken out of
LETTERTRAIL_LINK_SECRETS. All secrets there are accepted and the first signs, so a new one goes in front, and the old
one stays for as long as letters signed with it are read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

from lettertrail.errors import ConfigurationError

SECRETS = "LETTERTRAIL_LINK_SECRETS"
URL = "LETTERTRAIL_INBOX_URL"
MIN_SECRET = 32
"""Characters."""

Purpose = Literal["preferences", "unsubscribe"]

_LABEL = b"lettertrail link 1"
_NUMBER_BYTES, _MAC_BYTES = 16, 16
_TOKEN_LENGTH = 43
"""Of 32 bytes in base64 without padding."""


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and reads links."""

    secrets: tuple[bytes, ...] = field(repr=False)
    """Newest first; not empty."""
    public_url: str
    """What stands before our paths, without a slash at the end; empty where links are only read."""

    @property
    def fingerprint(self) -> str:
        """Changes when links have to be made anew; says nothing about the secret."""
        return hmac.new(self.secrets[0], b"fingerprint\0" + self.public_url.encode(), hashlib.sha256).hexdigest()[:16]

    def url(self, purpose: Purpose, number: UUID) -> str:
        """The link of an address.

        Raises:
            ConfigurationError: the public address is not known.
        """
        if not self.public_url:
            raise ConfigurationError(f"{URL} is not set: links in letters begin with it")
        return f"{self.public_url}/{purpose}/{self.token(purpose, number)}"

    def token(self, purpose: Purpose, number: UUID) -> str:
        """43 letters, digits, `-` and `_`; always the same ones under the same secret."""
        return _spelled(number.bytes + _mac(self.secrets[0], purpose, number.bytes))

    def read(self, purpose: Purpose, token: str) -> UUID | None:
        """Whose link it is; None when it is not one of ours, or for something else."""
        known = _unspelled(token)
        number, given = known[:_NUMBER_BYTES], known[_NUMBER_BYTES:]
        matches = [hmac.compare_digest(given, _mac(secret, purpose, number)) for secret in self.secrets]
        return UUID(bytes=number) if any(matches) else None


def read_links(environ: Mapping[str, str]) -> Links | None:
    """What the environment says; None when LETTERTRAIL_LINK_SECRETS says nothing: then there are no links.

    Raises:
        ConfigurationError: a secret is too short, or the public address cannot stand in a letter.
    """
    secrets = [part.strip() for part in environ.get(SECRETS, "").split(",") if part.strip()]
    if not secrets:
        return None
    if min(map(len, secrets)) < MIN_SECRET:
        raise ConfigurationError(f"{SECRETS}: a secret has fewer than {MIN_SECRET} characters")
    return Links(tuple(secret.encode() for secret in secrets), _public_url(environ.get(URL, "")))


def _public_url(text: str) -> str:
    url = text.strip().rstrip("/")
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ConfigurationError(f"{URL} must be an address like https://hooks.example.com/inbox")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{URL} holds a user and password, which must not stand in letters")
    return url


def _mac(secret: bytes, purpose: str, number: bytes) -> bytes:
    signed = b"\0".join((_LABEL, purpose.encode(), number))
    return hmac.new(secret, signed, hashlib.sha256).digest()[:_MAC_BYTES]


def _spelled(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _unspelled(token: str) -> bytes:
    """32 bytes. Of what no token can be: zeros, which no signature fits, so that it takes as long as any other."""
    nothing = bytes(_NUMBER_BYTES + _MAC_BYTES)
    if len(token) != _TOKEN_LENGTH or not token.isascii():
        return nothing
    try:
        content = base64.b64decode(token + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        return nothing
    # The last letter has two bits to spare; only one spelling is ours.
    return content if _spelled(content) == token else nothing
