"""The one place that asks what time it is.

Everything else takes a `Clock` (or a time) as an argument, so that tests and backfills decide when "now" is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns an aware UTC datetime."""


def system_clock() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def fixed_clock(moment: datetime) -> Clock:
    """A clock that always says `moment`.

    Raises:
        ValueError: when `moment` carries no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a clock needs an aware datetime; give it a time zone")
    in_utc = moment.astimezone(UTC)
    return lambda: in_utc
