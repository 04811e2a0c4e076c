"""When a source column is not what it was: which types hold which without loss, and what the old column is called."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Literal

Fit = Literal["same", "holds", "widens", "differs"]

_INTEGER_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_EXACT_IN_A_DOUBLE = {"smallint", "integer", "real"}
_NOT_TEXT = {"bytea", "jsonb"}
_NUMERIC = re.compile(r"numeric(?:\((\d+),(-?\d+)\))?")
_NAME_LENGTH = 63


def fit(held: str, wanted: str) -> Fit:
    """How the warehouse's type of a column stands to the one the source has now.

    `holds`: every value of the source fits as it is. `widens`: every value held fits the source's type, and not the
    other way round. `differs`: neither; what is held and what comes cannot share a column.
    """
    if held == wanted:
        return "same"
    if _holds(held, wanted):
        return "holds"
    if _holds(wanted, held) or (wanted == "text" and held not in _NOT_TEXT):
        return "widens"
    return "differs"


def aside_name(column: str, at: datetime, taken: Collection[str]) -> str:
    """What the old column is called from now on: `<name>__until_<yyyymmdd>`, cut to what PostgreSQL can name."""
    number = 1
    while True:
        suffix = f"__until_{at:%Y%m%d}" + (f"_{number}" if number > 1 else "")
        name = column[: _NAME_LENGTH - len(suffix)] + suffix
        if name not in taken:
            return name
        number += 1


def _holds(wide: str, narrow: str) -> bool:
    """Whether every value of `narrow` is one of `wide`, digit for digit. A number is never a text here."""
    if narrow in _INTEGER_DIGITS and wide in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[wide] >= _INTEGER_DIGITS[narrow]
    if (room := _room(wide)) is not None and (need := _need(narrow)) is not None:
        return room[0] >= need[0] and room[1] >= need[1]
    if wide == "double precision":
        return narrow in _EXACT_IN_A_DOUBLE
    return wide == "timestamp" and narrow == "date"


def _room(kind: str) -> tuple[float, float] | None:
    """Digits before and behind the point that a numeric has room for; without bounds there is room for all."""
    match = _NUMERIC.fullmatch(kind)
    if match is None:
        return None
    if match[1] is None:
        return float("inf"), float("inf")
    precision, scale = int(match[1]), int(match[2])
    return precision - scale, scale


def _need(kind: str) -> tuple[float, float] | None:
    return (_INTEGER_DIGITS[kind], 0) if kind in _INTEGER_DIGITS else _room(kind)
