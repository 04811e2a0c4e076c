"""Key ranges: nothing lost, nothing twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lettertrail.bitrix.port import Bounds, KeyRange
from lettertrail.warehouse.slices import cropped, cut_by_count, cut_evenly, in_groups, joined, slice_of, slice_range

ends = st.integers(-50, 50)


def holds(part: KeyRange, key: int) -> bool:
    """Whether a key lies in a range."""
    return (part.low is None or key >= part.low) and (part.high is None or key < part.high)


@given(key=st.integers(-10_000, 10_000), width=st.integers(1, 700))
def test_a_key_lies_in_its_slice_alone(key: int, width: int) -> None:
    """Division goes towards zero on both sides of it."""
    number = slice_of(key, width)
    assert holds(slice_range(number, width), key)
    assert not any(holds(slice_range(other, width), key) for other in (number - 1, number + 1))


@given(low=ends, span=st.integers(0, 100), pieces=st.integers(1, 30), key=st.integers(-200, 200))
def test_even_cuts_cover_every_key_once(low: int, span: int, pieces: int, key: int) -> None:
    """Also keys outside the bounds, which turn up while the copy runs."""
    parts = cut_evenly(Bounds(low, low + span), pieces)
    assert sum(holds(part, key) for part in parts) == 1
    assert len(parts) <= pieces


@given(
    cells=st.dictionaries(st.integers(-100, 100), st.integers(1, 9), max_size=20),
    rows=st.integers(1, 30),
    key=st.integers(-150, 150),
)
def test_cuts_by_count_are_bounded(cells: dict[int, int], rows: int, key: int) -> None:
    """Every key once, and no range with more rows than asked unless a single cell has them."""
    parts = cut_by_count(sorted(cells.items()), rows=rows)
    assert sum(holds(part, key) for part in parts) == 1
    for part in parts:
        inside = [n for low, n in cells.items() if holds(part, low)]
        assert sum(inside) <= rows or len(inside) == 1


@given(
    pairs=st.lists(st.tuples(ends, st.integers(1, 20)), max_size=8),
    is_open=st.booleans(),
    outer=st.lists(st.tuples(ends, st.integers(1, 20)), max_size=3),
    key=st.integers(-80, 80),
)
def test_joining_and_cropping_keep_the_keys(
    pairs: list[tuple[int, int]], is_open: bool, outer: list[tuple[int, int]], key: int
) -> None:
    """The same keys, ascending and apart."""
    ranges = [KeyRange(low, low + span) for low, span in pairs] + ([KeyRange(None, -40)] if is_open else [])
    found = joined(ranges)
    assert any(holds(part, key) for part in found) == any(holds(part, key) for part in ranges)
    assert all(one.high is not None and one.high < (two.low or 0) for one, two in pairwise(found))
    within = joined(KeyRange(low, low + span) for low, span in outer)
    inside = cropped(found, within)
    assert any(holds(part, key) for part in inside) == (
        any(holds(part, key) for part in found) and any(holds(part, key) for part in within)
    )


@pytest.mark.parametrize(("rows", "most", "groups"), [(10, 9, [[1, 2], [3], [4, 5]]), (99, 2, [[1, 2], [3, 4], [5]])])
def test_groups_are_bounded(rows: int, most: int, groups: list[list[int]]) -> None:
    """By rows and by number; a slice that is too large is a group by itself."""
    assert in_groups([1, 2, 3, 4, 5], {1: 5, 2: 5, 3: 12, 4: 3}, rows=rows, most=most) == groups
