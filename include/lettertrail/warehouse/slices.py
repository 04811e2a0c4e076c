"""Key ranges: cut for copying, sliced for comparing, joined for reading again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lettertrail.bitrix.port import Bounds, KeyRange


def cut_evenly(bounds: Bounds, pieces: int) -> list[KeyRange]:
    """Ranges of equal width that together cover every key; the outer ends are open."""
    width = max(1, -(-(bounds.high - bounds.low + 1) // pieces))
    return between(
        bounds.low + width * number for number in range(1, pieces) if bounds.low + width * number <= bounds.high
    )


def cut_by_count(cells: Iterable[tuple[int, int]], *, rows: int) -> list[KeyRange]:
    """Ranges of about `rows` rows each, of cells in order: their first key and how many rows; a cell is never cut."""
    cuts: list[int] = []
    held = 0
    for low, more in cells:
        if held and held + more > rows:
            cuts.append(low)
            held = 0
        held += more
    return between(cuts)


def between(cuts: Iterable[int]) -> list[KeyRange]:
    """The ranges between ascending cuts, and before the first and after the last."""
    inner = list(cuts)
    return [KeyRange(low, high) for low, high in zip([None, *inner], [*inner, None], strict=True)]


def slice_range(number: int, width: int) -> KeyRange:
    """The keys that divided by `width` give `number`.

    Division goes towards zero, so slice 0 is twice as wide and negative ones end where they begin.
    """
    if number > 0:
        return KeyRange(number * width, (number + 1) * width)
    if number == 0:
        return KeyRange(1 - width, width)
    return KeyRange((number - 1) * width + 1, number * width + 1)


def slice_of(key: int, width: int) -> int:
    """The number of the slice a key is in."""
    return abs(key) // width * (1 if key >= 0 else -1)


def joined(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    """The same keys in the fewest ranges, ascending and disjoint."""
    found: list[KeyRange] = []
    for part in sorted(ranges, key=_start):
        last = found[-1] if found else None
        if last is not None and (last.high is None or _start(part) <= last.high):
            ends = (last.high, part.high)
            found[-1] = KeyRange(last.low, None if None in ends else max(_known(end) for end in ends))
        else:
            found.append(part)
    return found


def cropped(ranges: Iterable[KeyRange], within: Sequence[KeyRange]) -> list[KeyRange]:
    """The parts of ranges that lie in `within`."""
    found: list[KeyRange] = []
    for part in ranges:
        for outer in within:
            low = part.low if outer.low is None else outer.low if part.low is None else max(part.low, outer.low)
            high = part.high if outer.high is None else outer.high if part.high is None else min(part.high, outer.high)
            if low is None or high is None or low < high:
                found.append(KeyRange(low, high))
    return found


def in_groups(numbers: Sequence[int], digests: Mapping[int, int], *, rows: int, most: int) -> list[list[int]]:
    """Slice numbers in groups that hold at most `rows` rows (or one slice) and are at most `most` slices."""
    groups: list[list[int]] = []
    held = 0
    for number in numbers:
        if not groups or len(groups[-1]) >= most or held + digests.get(number, 0) > rows:
            groups.append([])
            held = 0
        groups[-1].append(number)
        held += digests.get(number, 0)
    return groups


def _start(part: KeyRange) -> float:
    return float("-inf") if part.low is None else part.low


def _known(end: int | None) -> int:
    if end is None:
        raise ValueError("an open end has no value")
    return end
