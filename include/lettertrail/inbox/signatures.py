"""Tells a service's webhook from a forgery: one function per word of `port.Signature`, over the bytes as they came.

Each gives the *content* that was vouched for, or None. The inbox stores the same content once, so what can be varied
without breaking a signature must not be part of it. Secrets are compared in constant time, and all of them are tried:
how long it takes does not tell which one was nearly right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import unquote_to_bytes

MAX_AGE = timedelta(minutes=5)
"""How far the time in a signature may be from ours, either way."""
_MANDRILL_FIELD = b"mandrill_events"
_TEST_KEY = b"test-webhook"
_UNIX_TIME = re.compile(r"[1-9][0-9]{0,11}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_AUTH = re.compile(rb'"auth"\s*:\s*"([0-9a-f]{32})"')


def hmac_sha256_time(body: bytes, header: str, secrets: Sequence[bytes], *, now: datetime) -> bytes | None:
    """Mailchimp: `t=<unix>,v1=<hex>`, HMAC-SHA256 of `<t>.<body>`. Several `v1` may stand there while keys change.

    Args:
        header: empty when there was none.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1" and _SHA256_HEX.fullmatch(value)]
    if len(times) != 1 or not _UNIX_TIME.fullmatch(times[0]):
        return None
    if abs(now.timestamp() - int(times[0])) > MAX_AGE.total_seconds():
        return None
    signed = times[0].encode() + b"." + body
    expected = [hmac.new(secret, signed, hashlib.sha256).hexdigest() for secret in secrets]
    return body if _any_equal(given, expected) else None


def hmac_sha256_headers(
    body: bytes, time: str, signature: str, secrets: Sequence[bytes], *, now: datetime
) -> bytes | None:
    """The handler on a Bitrix site: time and hex in headers of their own, HMAC-SHA256 of `<time>.<body>`."""
    return hmac_sha256_time(body, f"t={time},v1={signature}", secrets, now=now) if "," not in time + signature else None


def hmac_sha1_form(body: bytes, header: str, secrets: Sequence[bytes], *, url: str) -> bytes | None:
    """Mandrill: base64 of HMAC-SHA1 over the address as registered and the one field of the form, name then value.

    Name and value are signed without anything between them, so a letter could be moved from one to the other; hence
    no other form than Mandrill's is taken.
    """
    value = _mandrill_value(body)
    if value is None:
        return None
    return value if _any_equal([header], [_mandrill(url, value, secret) for secret in secrets]) else None


def is_mandrill_test(body: bytes, header: str, *, url: str) -> bool:
    """Whether this is the request by which Mandrill tries an address before it shows the key: no events in it."""
    value = _mandrill_value(body)
    return value is not None and value.strip() == b"[]" and _any_equal([header], [_mandrill(url, value, _TEST_KEY)])


def md5_body(body: bytes, secrets: Sequence[bytes]) -> bytes | None:
    """UniSender: the field `auth` holds the MD5 of the body in which the key stands in place of that very value.

    MD5 over key and text can be extended by who does not know the key, but not into JSON: so JSON it must be, to the
    last byte, with that `auth` at its top.
    """
    auth = _top_auth(body)
    found = next((match for match in _AUTH.finditer(body) if match[1].decode() == auth), None)
    if found is None:
        return None
    before, after = body[: found.start(1)], body[found.end(1) :]
    expected = [
        hashlib.md5(before + secret + after, usedforsecurity=False).hexdigest()  # the service's choice, not ours
        for secret in secrets
    ]
    return body if _any_equal([found[1].decode()], expected) else None


def _mandrill_value(body: bytes) -> bytes | None:
    """The value of the form's one field, decoded; None when it is another form."""
    name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in body.partition(b"="))
    return value if name == _MANDRILL_FIELD and b"&" not in body else None


def _mandrill(url: str, value: bytes, secret: bytes) -> str:
    signed = url.encode() + _MANDRILL_FIELD + value
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha1).digest()).decode()


def _top_auth(body: bytes) -> object:
    try:
        read = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return read.get("auth") if isinstance(read, dict) else None


def _any_equal(given: Sequence[str], expected: Sequence[str]) -> bool:
    equal = [hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected]
    return any(equal)
