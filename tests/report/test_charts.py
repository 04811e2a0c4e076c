"""Where marks go: nothing outside the plot, nothing out of proportion."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettertrail.report import charts

COUNTS = st.lists(st.integers(min_value=0, max_value=10**7), min_size=1, max_size=40)


def months(count: int) -> list[date]:
    return [date(2024 + n // 12, n % 12 + 1, 1) for n in range(count)]


def test_parts_of_a_bar_follow_each_other_in_proportion() -> None:
    """A quarter and a half of the longest bar, end to end."""
    first, second = charts.bar({"a": 25, "b": Decimal(50)}, longest=100)
    assert (first.start, first.size) == (0, 25)
    assert (second.start, second.size) == (25, 50)


def test_a_part_that_is_not_zero_is_seen() -> None:
    """One deal beside a million messages keeps a visible sliver; zero has none."""
    (only,) = charts.bar({"none": 0, "one": 1}, longest=1_000_000)
    assert (only.kind, only.size) == ("one", charts.LEAST_SEEN)


def test_nothing_to_compare_with_draws_nothing() -> None:
    """A chart of zeros has no bars."""
    assert charts.bar({"a": 0}, longest=0) == ()


def test_gains_stand_on_the_zero_line_and_losses_hang_from_it() -> None:
    """One scale for both directions: the loss of half the gain is half as long."""
    chart = charts.columns(months(1), labels=["Jan"], up={"joined": [100]}, down={"left": [50]}, height=150)
    joined, left = chart.columns[0].segments
    assert joined.start + joined.size == pytest.approx(chart.zero)
    assert left.start == pytest.approx(chart.zero)
    assert left.size == pytest.approx(joined.size / 2)


def test_losses_are_stacked_and_not_laid_over_each_other() -> None:
    """Each reason starts where the one before it ends."""
    chart = charts.columns(months(1), labels=["Jan"], up={"joined": [100]}, down={"left": [30], "bounced": [20]})
    _, left, bounced = chart.columns[0].segments
    assert bounced.start == pytest.approx(left.start + left.size, abs=0.02)


@given(up=COUNTS, more=st.integers(min_value=0, max_value=10**7))
def test_columns_stay_inside_the_plot(up: list[int], more: int) -> None:
    """Whatever the values, no mark leaves the plot and the ticks go up in even, whole steps."""
    down = [more % (value + 1) for value in up]
    chart = charts.columns(months(len(up)), labels=["m"] * len(up), up={"a": up}, down={"b": down}, height=200)
    for column in chart.columns:
        assert column.x >= 0
        assert column.x + column.width <= 100.001
        for segment in column.segments:
            assert segment.start >= -0.02
            assert segment.start + segment.size <= 200.02
    values = [tick.value for tick in chart.ticks]
    distances = {after - before for before, after in pairwise(values)}
    assert len(distances) == 1
    assert Decimal(0) in values
    assert max(values) >= max(up)
    assert 2 <= len(values) <= 9


@pytest.mark.parametrize(("largest", "distance"), [(0, "1"), (3, "1"), (100, "25"), (870, "250"), (12_345, "5000")])
def test_steps_are_round(largest: int, distance: str) -> None:
    """1, 2, 2.5 and 5 times a power of ten, and never a part of a person."""
    assert charts.step(largest) == Decimal(distance)


def test_labels_thin_out_and_name_each_year_once() -> None:
    """Two years of months leave every second label on a desktop and every fourth on a phone."""
    chart = charts.columns(months(24), labels=["m"] * 24, up={"a": [1] * 24})
    assert len(chart.wide_months) == 12
    assert [tick.month for tick in chart.narrow_months] == ["Jan", "May", "Sep", "Jan", "May", "Sep"]
    assert [tick.year for tick in chart.narrow_months if tick.year] == ["2024", "2025"]
