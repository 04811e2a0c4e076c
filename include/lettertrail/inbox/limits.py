"""What the inbox takes at most: of one body, of one address, of one sender's patience."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

# A text that does not end reaches to the end of the body; possessive, so that no body makes it look twice.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?+', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of the receiver; each worker process counts for itself."""

    body_bytes: int = 1 << 20
    header_bytes: int = 32 << 10
    json_depth: int = 32
    deliveries_per_second: float = 5_000.0
    """Per address, with twice that at once."""
    body_seconds: float = 10.0
    """How long a sender may take over one body."""


class Allowance:
    """So many a second, so many at once; says no instead of waiting."""

    def __init__(self, rate: float, burst: float, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._timer = timer
        self._filled_at = timer()

    def take(self) -> bool:
        """Whether there is one left."""
        now = self._timer()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body out of gzip, when that is its encoding; signatures are made over what is in it.

    Raises:
        ValueError: it is not whole, or longer than `limit` when unpacked.
    """
    if encoding.strip().lower() != "gzip":
        return body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, limit)
    except zlib.error:
        raise ValueError("not gzip") from None
    if not unpacker.eof:
        raise ValueError("cut short, or too long")
    return plain


def is_too_deep(body: bytes, depth: int) -> bool:
    """Whether brackets outside texts stand deeper than `depth` in what may or may not be JSON; linear in its length."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    level = 0
    for bracket in _TEXTS.sub(b"", body).translate(None, _NOT_BRACKETS):
        level += 1 if bracket in b"[{" else -1
        if level > depth:
            return True
    return False
