"""Cuts key ranges into statements that are short, whatever the table holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from lettertrail.bitrix.port import Bounds, KeyRange

MOST_RANGES = 500
"""Of one statement: a predicate of many thousands takes a server longer to plan than to answer."""


class Pieces:
    """Disjoint, ascending ranges, taken off in pieces of a width that the caller may change every time."""

    def __init__(self, ranges: Sequence[KeyRange], bounds: Bounds) -> None:
        self._rest = deque(ranges)
        self._bounds = bounds

    def __bool__(self) -> bool:
        return bool(self._rest)

    def take(self, width: int) -> list[KeyRange]:
        """The next ranges that hold about `width` keys at most."""
        taken: list[KeyRange] = []
        left = width
        while self._rest and left > 0 and len(taken) < MOST_RANGES:
            first = self._rest.popleft()
            low, high = self._ends(first)
            if high - low <= left:
                taken.append(first)
                left -= max(1, high - low)
            else:
                taken.append(KeyRange(first.low, low + left))
                self._rest.appendleft(KeyRange(low + left, first.high))
                left = 0
        return taken

    def put_back(self, taken: Sequence[KeyRange]) -> None:
        """Undoes `take`."""
        self._rest.extendleft(reversed(taken))

    def next_low(self) -> int | None:
        """The first key that has not been taken; None when that is not known."""
        return self._rest[0].low if self._rest else None

    def skip_to(self, key: int | None) -> None:
        """Leaves out what lies below a key; None: everything."""
        if key is None:
            self._rest.clear()
            return
        while self._rest:
            first = self._rest.popleft()
            if first.high is not None and first.high <= key:
                continue
            low = key if first.low is None else max(first.low, key)
            self._rest.appendleft(KeyRange(low, first.high))
            return

    def _ends(self, key_range: KeyRange) -> tuple[int, int]:
        low, high = key_range.low, key_range.high
        if low is None:
            low = self._bounds.low if high is None else min(self._bounds.low, high)
        return low, max(self._bounds.high + 1, low) if high is None else high


@dataclass(slots=True)
class Pace:
    """How many keys the next statement may span, from how the last one went."""

    width: int
    most: float = 4.0

    def follow(self, *shares: float) -> None:
        """`shares`: how much of each limit (rows, bytes, seconds) the last statement used; 1.0 is all of it."""
        used = max(shares)
        factor = self.most if used <= 0 else 1 / used
        self.width = max(1, int(self.width * min(self.most, max(1 / 16, factor))))

    def slow_down(self) -> None:
        """The last statement was far too large."""
        self.width = max(1, self.width // 16)
