"""Reading what a SendPulse call brings: bodies, pages, addresses."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import parse_qsl

from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore
from lettertrail.sandbox.esps.sendpulse.words import invalid
from lettertrail.sandbox.esps.shell import Call, Json, Router

PAGE = 100
"""Default and maximum of `limit`."""
MAX_DIGITS = 18
MAX_EMAILS = 100
"""Addresses in one writing call. Documented for removing and unsubscribing; for adding U."""

SendPulseRouter = Router[SendPulseStore]


def body_of(raw: bytes, content_type: str) -> Any:
    """The body as JSON, or as a form, which the official clients send.

    Raises:
        Refused: 422 when it is neither.
    """
    if not raw.strip():
        return {}
    if content_type.startswith("application/x-www-form-urlencoded"):
        return _form(raw)
    try:
        return json.loads(raw)
    except ValueError:
        raise invalid("The body is not valid JSON") from None


def _form(raw: bytes) -> Json:
    fields: Json = {}
    for name, value in parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True):
        if name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(value)
        else:
            fields[name] = value
    return fields


def fields_of(call: Call) -> Json:
    """The body as an object.

    Raises:
        Refused: 422 when it is something else.
    """
    if not isinstance(call.body, dict):
        raise invalid("The body must be an object")
    return call.body


def words(fields: Json, name: str) -> str | None:
    """A text from the body, numbers included; None when it is not there.

    Raises:
        Refused: 422 when it is a list or an object.
    """
    value = fields.get(name)
    if isinstance(value, list | dict):
        raise invalid(f"The {name} must be a string.")
    return None if value is None else str(value)


def listed(fields: Json, name: str) -> list[Any]:
    """A list from the body; the official client for Python sends it as JSON inside a string.

    Raises:
        Refused: 422 when it is missing or no list.
    """
    value = fields.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or not value:
        raise invalid(f"The {name} field is required.")
    return value


def addresses(call: Call, *, maximum: int | None = MAX_EMAILS) -> list[str]:
    """The addresses of `emails`.

    Raises:
        Refused: 422 when there are none or too many.
    """
    values = [str(value) for value in listed(fields_of(call), "emails")]
    if maximum is not None and len(values) > maximum:
        raise invalid(f"The emails may not have more than {maximum} items.")
    return values


def decoded_addresses(call: Call) -> list[str]:
    """The addresses of a blacklist call: base64 over a comma-joined list.

    Raises:
        Refused: 422 when that cannot be read.
    """
    try:
        text = base64.b64decode(str(fields_of(call).get("emails", "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid("The emails field must be base64.") from None
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values:
        raise invalid("The emails field is required.")
    return values


def page(call: Call, maximum: int = PAGE) -> tuple[int, int]:
    """`(limit, offset)`; a larger limit is cut to the maximum without a word (U).

    Raises:
        Refused: 422 when one is no whole number.
    """
    limit, offset = call.query.get("limit") or str(maximum), call.query.get("offset") or "0"
    if not (limit.isdecimal() and offset.isdecimal()) or len(limit + offset) > MAX_DIGITS:
        raise invalid("limit and offset must be whole numbers")
    return min(int(limit), maximum), int(offset)


def direction(call: Call, default: str) -> str:
    """`asc` or `desc` for an `order by`; any other word means the default (U: the words of `order`)."""
    word = call.query.get("order", "").lower()
    return word if word in {"asc", "desc"} else default


def is_set(value: Any) -> bool:
    """Whether a flag is on in any of the spellings clients use."""
    return str(value).lower() in {"1", "true", "yes", "on"}
