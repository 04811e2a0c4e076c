"""Reads a request of the inbox, piece by piece and never more than is allowed, for whichever room answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CLOSE = ((b"connection", b"close"),)


class Answer(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.why = why
        """For our log; the sender is not told."""
        self.headers = headers
        super().__init__(why)


class Gone(Exception):
    """The sender hung up."""


def own_path(path: str, root: str) -> str:
    """The path below where we are mounted. A proxy may have taken the beginning of `root` away already."""
    while root and not path.startswith(f"{root}/"):
        _, slash, rest = root.removeprefix("/").partition("/")
        root = slash + rest
    return path.removeprefix(root)


def read_headers(raw: list[tuple[bytes, bytes]], *, most: int) -> Mapping[str, str]:
    """By lower-case name; those of one name joined by a comma.

    Raises:
        Answer: 431, they are longer than `most` bytes.
    """
    if sum(len(name) + len(value) for name, value in raw) > most:
        raise Answer(431, "long headers", *_CLOSE)
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").replace("\0", "")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


async def read_body(headers: Mapping[str, str], receive: Receive, *, most: int, seconds: float) -> bytes:
    """The whole body.

    Raises:
        Answer: 413, it is longer than `most` bytes; 408, it took longer than `seconds`.
        Gone: it broke off.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise Answer(413, "long body", *_CLOSE)
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        whole: bytes = message.get("body", b"")
        _check_length(whole, most)
        return whole
    try:
        async with asyncio.timeout(seconds):
            return await _rest(message, receive, most)
    except TimeoutError:
        raise Answer(408, "slow body", *_CLOSE) from None


async def _rest(message: Message, receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] != "http.request":
            raise Gone
        body += message.get("body", b"")
        _check_length(body, most)
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def _check_length(body: bytes | bytearray, most: int) -> None:
    if len(body) > most:
        raise Answer(413, "long body", *_CLOSE)
