"""What eSputnik calls and answers look like: paging from 1, results that are an object or an array, errors as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.esps.shell import Answer, Call, Json, Refused

MAX_DIGITS = 18
MAX_ROWS = 500
"""Default and maximum of `maxrows`, activity excepted."""


def bad(message: str) -> Refused:
    """400 as JSON."""
    return Refused(Answer({"message": message}, 400))


def said(status: int, text: str) -> Refused:
    """An error whose body is a plain sentence."""
    return Refused(Answer(text, status))


def missing(what: str) -> Refused:
    """404."""
    return said(404, f"{what} not found")


def body_of(raw: bytes) -> Any:
    """The body as JSON.

    Raises:
        Refused: 400 when it is something else.
    """
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except ValueError:
        raise bad("Can not parse request body") from None


def fields_of(call: Call) -> Json:
    """The body as an object.

    Raises:
        Refused: 400 when it is something else.
    """
    if not isinstance(call.body, dict):
        raise bad("Request body must be an object")
    return call.body


def rows_of(fields: Json, name: str, maximum: int) -> list[Any]:
    """A list from the body.

    Raises:
        Refused: 400 when it is missing, empty or too long.
    """
    rows = fields.get(name)
    if not isinstance(rows, list) or not rows:
        raise bad(f"{name} must not be empty")
    if len(rows) > maximum:
        raise bad(f"{name}: maximum {maximum} items")
    return rows


def texts(fields: Json, name: str) -> list[str] | None:
    """A list of texts from the body; None when it is not there."""
    value = fields.get(name)
    return [str(item) for item in value] if isinstance(value, list) else None


def whole(call: Call, name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """A whole query parameter.

    Raises:
        Refused: 400 when it is no number or out of bounds.
    """
    text = call.query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) < least or (most is not None and int(text) > most):
        raise bad(f"Invalid value of parameter {name}")
    return int(text)


def page(call: Call) -> tuple[int, int]:
    """`(limit, offset)` from `maxrows` and the 1-based `startindex`."""
    limit = whole(call, "maxrows", MAX_ROWS, least=1, most=MAX_ROWS)
    return limit, whole(call, "startindex", 1, least=1) - 1


def results(rows: Sequence[Json]) -> Json:
    """`{results: …}`: one row comes bare, several as an array."""
    return {"results": rows[0] if len(rows) == 1 else list(rows)}
