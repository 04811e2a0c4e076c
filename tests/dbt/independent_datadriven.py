"""Paths, Markov chains and Shapley values once more, in plain Python from their definitions.

A chain is solved as a system of linear equations, once for each unit that is taken out of it; a Shapley value is
averaged over all orders of joining. Nothing is shared with the models' way: no last stays, no sums over subsets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, permutations
from typing import Any

import numpy as np

Row = dict[str, Any]
Journeys = Mapping[tuple[str, ...], tuple[int, int]]
"""Units in order → how many paths converted, how many did not."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path and what came of it; `converted` is None while nobody can know."""

    conversion_type: str
    units: tuple[str, ...]
    converted: bool | None


def journeys_of(paths: Iterable[Path]) -> dict[str, dict[tuple[str, ...], tuple[int, int]]]:
    """Per conversion type, how often which units were met in which order, and with what end."""
    found: dict[str, dict[tuple[str, ...], list[int]]] = defaultdict(dict)
    for path in paths:
        if path.units and path.converted is not None:
            found[path.conversion_type].setdefault(path.units, [0, 0])[0 if path.converted else 1] += 1
    return {kind: {units: (ends[0], ends[1]) for units, ends in of.items()} for kind, of in found.items()}


def paths_of(
    touches: Sequence[Row],
    conversions: Sequence[Row],
    opened: Mapping[tuple[str, str], datetime],
    *,
    lookback: Mapping[str, timedelta],
    run_at: datetime,
) -> dict[str, Path]:
    """All paths by id. `touches` come in order; `opened` says since when a person's first open deal is open."""
    touches_of: dict[str, list[Row]] = defaultdict(list)
    for touch in touches:
        touches_of[touch["person_id"]].append(touch)
    paths: dict[str, Path] = {}
    used: dict[str, set[str]] = defaultdict(set)
    for conversion in conversions:
        kind, at = conversion["conversion_type"], conversion["converted_at"]
        own = [
            touch for touch in touches_of[conversion["person_id"]] if at - lookback[kind] <= touch["touched_at"] <= at
        ]
        used[kind] |= {touch["touch_event_id"] for touch in own}
        paths[conversion["conversion_id"]] = Path(kind, tuple(touch["unit"] for touch in own), converted=True)
    for kind in {conversion["conversion_type"] for conversion in conversions}:
        for person, own in touches_of.items():
            rest = [touch for touch in own if touch["touch_event_id"] not in used[kind]]
            windows: dict[int, list[Row]] = defaultdict(list)
            for touch in rest:
                windows[(touch["touched_at"] - rest[0]["touched_at"]) // lookback[kind]].append(touch)
            for window in windows.values():
                until = window[-1]["touched_at"] + lookback[kind]
                is_open = (kind, person) in opened and opened[kind, person] <= until
                paths[f"{kind}:from:{window[0]['touch_event_id']}"] = Path(
                    kind,
                    tuple(touch["unit"] for touch in window),
                    converted=None if until > run_at or is_open else False,
                )
    return paths


def removal_effects(journeys: Journeys, *, order: int) -> dict[str, float]:
    """The part of the conversions lost when every path that comes to a unit ends there."""
    units = sorted({unit for path in journeys for unit in path})
    whole = _conversion_probability(journeys, order=order, removed=None)
    if whole == 0:
        return dict.fromkeys(units, 0.0)
    return {unit: 1 - _conversion_probability(journeys, order=order, removed=unit) / whole for unit in units}


def _conversion_probability(journeys: Journeys, *, order: int, removed: str | None) -> float:
    moves: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    converting: Counter[tuple[str, ...]] = Counter()
    leaving: Counter[tuple[str, ...]] = Counter()
    for units, (conversions, others) in journeys.items():
        states = [()] + [units[max(0, index + 1 - order) : index + 1] for index in range(len(units))]
        for state, after in pairwise(states):
            moves[state, after] += conversions + others
            leaving[state] += conversions + others
        converting[states[-1]] += conversions
        leaving[states[-1]] += conversions + others
    kept = [state for state in leaving if removed is None or not state or state[-1] != removed]
    place = {state: index for index, state in enumerate(kept)}
    matrix = np.eye(len(kept))
    for (state, after), count in moves.items():
        if state in place and after in place:
            matrix[place[state], place[after]] -= count / leaving[state]
    ends = np.array([converting[state] / leaving[state] for state in kept])
    return float(np.linalg.solve(matrix, ends)[place[()]])


def shapley_values(journeys: Journeys, *, worth: str = "conversion_rate") -> dict[str, float]:
    """The average gain in worth when a unit joins, over all orders of joining of all units."""
    units = sorted({unit for path in journeys for unit in path})
    known: dict[frozenset[str], float] = {}
    gains: dict[str, float] = dict.fromkeys(units, 0.0)
    orders = 0
    for order in permutations(units):
        orders += 1
        for place, unit in enumerate(order):
            for coalition in (frozenset(order[:place]), frozenset(order[: place + 1])):
                if coalition not in known:
                    known[coalition] = _worth(journeys, coalition, worth)
            gains[unit] += known[frozenset(order[: place + 1])] - known[frozenset(order[:place])]
    return {unit: gain / orders for unit, gain in gains.items()}


def _worth(journeys: Journeys, coalition: frozenset[str], worth: str) -> float:
    if worth == "conversions":
        return float(sum(ends[0] for path, ends in journeys.items() if coalition >= set(path)))
    met: dict[frozenset[str], list[int]] = defaultdict(lambda: [0, 0])
    for path, (conversions, others) in journeys.items():
        met[frozenset(path)][0] += conversions
        met[frozenset(path)][1] += conversions + others
    left = [(ends[1], met.get(units & coalition, [0, 1])) for units, ends in met.items()]
    return sum(paths * conversions / of for paths, (conversions, of) in left)
