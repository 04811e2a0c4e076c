"""The clock is injected, aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lettertrail.clock import fixed_clock, system_clock


def test_the_system_clock_is_aware() -> None:
    """Naive times never enter the product through its own clock."""
    assert system_clock().tzinfo is UTC


def test_a_fixed_clock_speaks_utc() -> None:
    """Whatever zone it was set in."""
    noon_in_moscow = datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=3)))
    assert fixed_clock(noon_in_moscow)() == datetime(2026, 11, 1, 9, tzinfo=UTC)


def test_a_naive_time_is_refused() -> None:
    """A clock without a zone would be wrong somewhere."""
    with pytest.raises(ValueError, match="time zone"):
        fixed_clock(datetime(2026, 11, 1))
