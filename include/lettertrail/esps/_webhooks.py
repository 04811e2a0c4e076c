"""Webhook bodies in JSON: arrays of events, and objects that hold such arrays."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from lettertrail.errors import ContractError
from lettertrail.esps.port import Delivery

MAX_BODY = 10 << 20
"""Bytes of a body after unpacking."""


def unpacked(service: str, delivery: Delivery) -> bytes:
    """The body, out of gzip when its header says so.

    Raises:
        ContractError: it cannot be unpacked, or is larger than `MAX_BODY` afterwards.
    """
    if "gzip" not in delivery.headers.get("content-encoding", ""):
        return delivery.body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(delivery.body, MAX_BODY)
    except zlib.error:
        raise ContractError(f"{service}: the webhook cannot be unpacked") from None
    if not unpacker.eof:
        raise ContractError(f"{service}: the webhook is cut short, or too large when unpacked")
    return body


def rows_of(service: str, body: bytes) -> Sequence[Mapping[str, Any]]:
    """The events of a JSON array; one object alone counts as an array of one.

    Raises:
        ContractError: it is no JSON, or not of that shape.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ContractError(f"{service}: the webhook is no JSON") from None
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ContractError(f"{service}: the webhook is no array of events")
    return rows


def objects(service: str, value: object) -> Sequence[Mapping[str, Any]]:
    """A list of objects inside a body; nothing counts as an empty one.

    Raises:
        ContractError: it is something else.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ContractError(f"{service}: a part of the webhook is no list of objects")
    return value


def part(service: str, row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an object; nothing counts as an empty one.

    Raises:
        ContractError: it is something else.
    """
    value = row.get(name)
    if value is None or value == []:  # PHP writes an empty object as an empty list
        return {}
    if not isinstance(value, dict):
        raise ContractError(f"{service}: {name!r} in the webhook is no object")
    return value
