"""Where the marks of the report's charts go: arithmetic only, the templates do the drawing.

Across, positions are percent of the plot's width; down, they are pixels. An SVG drawn that way stretches to any screen
while its text and strokes keep their size, so one drawing serves a desktop and a phone without a script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal

from lettertrail.report.format import Number

WIDE_LABELS = 18
NARROW_LABELS = 6
"""Month labels that fit side by side on a desktop and on a phone."""

BAR_SHARE = 0.66
"""Part of a month's slot its column fills."""

LEAST_SEEN = 0.6
"""Percent of the plot: a part that is not zero must not vanish beside a huge one."""

WIDEST_BAR = 6.0
"""Percent of the plot; keeps a warehouse of two months from drawing two walls."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a bar. `kind` picks its colour in the style sheet."""

    kind: str
    start: float
    size: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the value axis: pixels from the top of the plot, and the value it stands for."""

    y: float
    value: Decimal


@dataclass(frozen=True, slots=True)
class MonthTick:
    """A mark on the time axis: percent from the left; the year is named only where it starts."""

    x: float
    month: str
    year: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One month's stacked column: percent across, segments in pixels down."""

    label: str
    """What the column says in words."""
    x: float
    width: float
    slot_x: float
    slot_width: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Columns over months, with losses below the zero line where there are any."""

    height: float
    zero: float
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    wide_months: tuple[MonthTick, ...]
    narrow_months: tuple[MonthTick, ...]


def bar(parts: Mapping[str, Number], *, longest: Number) -> tuple[Segment, ...]:
    """A horizontal bar of stacked parts, in percent of the room the longest bar of the chart takes."""
    if not longest:
        return ()
    segments = []
    start = 0.0
    for kind, value in parts.items():
        if value > 0:
            size = max(100 * float(value) / float(longest), LEAST_SEEN)
            segments.append(Segment(kind=kind, start=round(start, 3), size=round(size, 3)))
            start += size
    return tuple(segments)


def columns(
    months: Sequence[date],
    *,
    labels: Sequence[str],
    up: Mapping[str, Sequence[int]],
    down: Mapping[str, Sequence[int]] | None = None,
    height: float = 240,
) -> ColumnChart:
    """Stacks `up` above and `down` below a common zero line, one column per month, one scale for both.

    Args:
        months: at least one, in order.
        labels: what each column says in words.
        up: values per kind, as long as `months`; the first kind touches the zero line.
        down: the same for what is counted downwards.
        height: of the plot in pixels.
    """
    below = down or {}
    highest = max(_stacked(up, len(months)), default=0)
    deepest = max(_stacked(below, len(months)), default=0)
    values = _axis(highest, deepest)
    top, bottom = float(max(values)), float(min(values))
    scale = height / (top - bottom)
    slot = 100 / len(months)
    width = min(slot * BAR_SHARE, WIDEST_BAR)
    drawn = tuple(
        Column(
            label=labels[index],
            x=round((index + 0.5) * slot - width / 2, 3),
            width=round(width, 3),
            slot_x=round(index * slot, 3),
            slot_width=round(slot, 3),
            segments=(
                *_pile(up, index, zero=top * scale, scale=-scale),
                *_pile(below, index, zero=top * scale, scale=scale),
            ),
        )
        for index in range(len(months))
    )
    return ColumnChart(
        height=height,
        zero=round(top * scale, 2),
        columns=drawn,
        ticks=tuple(Tick(y=round((top - float(value)) * scale, 2), value=value) for value in values),
        wide_months=_month_ticks(months, WIDE_LABELS),
        narrow_months=_month_ticks(months, NARROW_LABELS),
    )


def step(largest: Number, *, marks: int = 4) -> Decimal:
    """The round distance (1, 2, 2.5 or 5 times a power of ten, at least 1) that needs about `marks` marks."""
    if largest <= 0:
        return Decimal(1)
    rough = Decimal(str(largest)) / marks
    magnitude = Decimal(10) ** math.floor(rough.log10())
    nice = next(size for size in map(Decimal, ("1", "2", "2.5", "5", "10")) if size * magnitude >= rough)
    return max(Decimal(1), nice * magnitude)


def _axis(highest: int, deepest: int) -> list[Decimal]:
    distance = step(highest + deepest, marks=5)
    above = int((Decimal(highest) / distance).to_integral_value(rounding=ROUND_CEILING))
    below = int((Decimal(deepest) / distance).to_integral_value(rounding=ROUND_CEILING))
    return [distance * mark for mark in range(-below, max(above, 1) + 1)]


def _stacked(series: Mapping[str, Sequence[int]], length: int) -> list[int]:
    return [sum(values[index] for values in series.values()) for index in range(length)]


def _pile(series: Mapping[str, Sequence[int]], index: int, *, zero: float, scale: float) -> tuple[Segment, ...]:
    """Segments away from the zero line: a negative scale goes up the screen."""
    segments = []
    edge = zero
    for kind, values in series.items():
        next_edge = edge + values[index] * scale
        if values[index]:
            top, size = min(edge, next_edge), abs(next_edge - edge)
            segments.append(Segment(kind=kind, start=round(top, 2), size=round(size, 2)))
        edge = next_edge
    return tuple(segments)


def _month_ticks(months: Sequence[date], room: int) -> tuple[MonthTick, ...]:
    every = math.ceil(len(months) / room)
    slot = 100 / len(months)
    shown = [(index, month) for index, month in enumerate(months) if index % every == 0]
    before: list[int | None] = [None, *(month.year for _, month in shown)]
    return tuple(
        MonthTick(
            x=round((index + 0.5) * slot, 3),
            month=f"{month:%b}",
            year=str(month.year) if month.year != previous else None,
        )
        for (index, month), previous in zip(shown, before, strict=False)
    )
