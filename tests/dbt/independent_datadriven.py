"""Paths, Markov chains and Shapley values once more, in plain Python from their definitions and in exact fractions.

A chain is solved by taking its states out one after the other, once for each unit that is missing; a Shapley value is
averaged over all orders of joining, or put together from the dividends of all coalitions. Nothing is shared with the
models' way: no last stays, no gains weighted by the size of a set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import chain, combinations, pairwise, permutations
from typing import Any, Literal

from tests.dbt.independent import Figures, Raw
from tests.dbt.independent_credits import open_outcomes
from tests.dbt.independent_engagement import letter_campaigns

Row = dict[str, Any]
Outcome = Literal["converted", "not_converted", "still_open", "window_running"]
Journeys = Mapping[tuple[str, ...], tuple[int, int]]
"""Units in order → how many paths converted, how many did not."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path and what came of it."""

    conversion_type: str
    units: tuple[str, ...]
    outcome: Outcome
    began: datetime | None
    """When the first unit was met; None without touches."""

    @property
    def converted(self) -> bool | None:
        """None while nobody can know."""
        return {"converted": True, "not_converted": False}.get(self.outcome)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What paths are made of."""

    touches: Sequence[Row]
    """In order."""
    conversions: Sequence[Row]
    opened: Mapping[tuple[str, Any], datetime]
    """Since when a person's first open deal or order is open."""


def inputs_of(raw: Raw, figures: Figures, *, kinds: Iterable[str]) -> Inputs:
    """Clicks, conversions and what is still open, from the raw tables; a touch's unit is its letter's campaign."""
    campaigns = letter_campaigns(raw)
    touches = [
        {
            "touch_event_id": act.order[3] or f"bitrix:click:{act.order[2]}",
            "person_id": act.person,
            "touched_at": act.at,
            "unit": campaigns[act.letter],
        }
        for act in sorted(figures.mail.clicks, key=lambda act: act.order)
        if not act.machine and act.person and act.letter
    ]
    conversions = [
        {
            "conversion_id": each.conversion,
            "conversion_type": each.kind,
            "person_id": each.person,
            "converted_at": each.at,
        }
        for each in figures.conversions
        if each.kind in kinds
    ]
    opened: dict[tuple[str, Any], datetime] = {}
    for kind, person, since in open_outcomes(raw, figures.identified.known):
        if person is not None:
            opened[kind, person] = min(since, opened.get((kind, person), since))
    return Inputs(touches, conversions, opened)


def journeys_of(paths: Iterable[Path]) -> dict[str, dict[tuple[str, ...], tuple[int, int]]]:
    """Per conversion type, how often which units were met in which order, and with what end."""
    found: dict[str, dict[tuple[str, ...], list[int]]] = defaultdict(dict)
    for path in paths:
        if path.units and path.converted is not None:
            found[path.conversion_type].setdefault(path.units, [0, 0])[0 if path.converted else 1] += 1
    return {kind: {units: (ends[0], ends[1]) for units, ends in of.items()} for kind, of in found.items()}


def paths_of(inputs: Inputs, *, lookback: Mapping[str, timedelta], run_at: datetime) -> dict[str, Path]:
    """All paths by id."""
    touches_of: dict[Any, list[Row]] = defaultdict(list)
    for touch in inputs.touches:
        touches_of[touch["person_id"]].append(touch)
    paths: dict[str, Path] = {}
    used: dict[str, set[str]] = defaultdict(set)
    for conversion in inputs.conversions:
        kind, at = conversion["conversion_type"], conversion["converted_at"]
        theirs = touches_of.get(conversion["person_id"], [])
        own = [touch for touch in theirs if at - lookback[kind] <= touch["touched_at"] <= at]
        used[kind] |= {touch["touch_event_id"] for touch in own}
        began = own[0]["touched_at"] if own else None
        paths[conversion["conversion_id"]] = Path(kind, tuple(touch["unit"] for touch in own), "converted", began)
    for kind in {conversion["conversion_type"] for conversion in inputs.conversions}:
        for person, theirs in touches_of.items():
            rest = [touch for touch in theirs if touch["touch_event_id"] not in used[kind]]
            windows: dict[int, list[Row]] = defaultdict(list)
            for touch in rest:
                windows[(touch["touched_at"] - rest[0]["touched_at"]) // lookback[kind]].append(touch)
            for window in windows.values():
                until = window[-1]["touched_at"] + lookback[kind]
                outcome = _outcome(until, inputs.opened.get((kind, person)), run_at)
                units = tuple(touch["unit"] for touch in window)
                began = window[0]["touched_at"]
                paths[f"{kind}:from:{window[0]['touch_event_id']}"] = Path(kind, units, outcome, began)
    return paths


def _outcome(until: datetime, opened: datetime | None, run_at: datetime) -> Outcome:
    if until > run_at:
        return "window_running"
    return "still_open" if opened is not None and opened <= until else "not_converted"


def removal_effects(journeys: Journeys, *, order: int) -> dict[str, Fraction]:
    """The part of the conversions lost when every path that comes to a unit ends there."""
    units = sorted({unit for path in journeys for unit in path})
    whole = _conversion_probability(journeys, order=order, removed=None)
    if whole == 0:
        return dict.fromkeys(units, Fraction(0))
    return {unit: 1 - _conversion_probability(journeys, order=order, removed=unit) / whole for unit in units}


State = tuple[str, ...]
"""The last units met; the start is empty."""


def _conversion_probability(journeys: Journeys, *, order: int, removed: str | None) -> Fraction:
    """From the start of the absorbing chain. A state that is taken out hands its way on to those who came to it."""
    moves, ends = _chain(journeys, order=order, removed=removed)
    while len(ends) > 1:
        state = min((each for each in ends if each), key=lambda each: len(moves[each]))
        end, ways = ends.pop(state), moves.pop(state)
        stay = 1 - ways.pop(state, Fraction(0))
        for other, theirs in moves.items():
            if part := theirs.pop(state, Fraction(0)) / stay:
                ends[other] += part * end
                for after, share in ways.items():
                    theirs[after] = theirs.get(after, Fraction(0)) + part * share
    return ends[()]


def _chain(
    journeys: Journeys, *, order: int, removed: str | None
) -> tuple[dict[State, dict[State, Fraction]], dict[State, Fraction]]:
    """The shares of the moves between states, and how likely each converts at once; none that ends in `removed`."""
    moves: dict[State, Counter[State]] = defaultdict(Counter)
    converting: Counter[State] = Counter()
    leaving: Counter[State] = Counter()
    for units, (conversions, others) in journeys.items():
        states = [(), *(units[max(0, index + 1 - order) : index + 1] for index in range(len(units)))]
        for state, after in pairwise(states):
            moves[state][after] += conversions + others
            leaving[state] += conversions + others
        converting[states[-1]] += conversions
        leaving[states[-1]] += conversions + others
    kept = {state for state in leaving if removed is None or not state or state[-1] != removed}
    shares = {
        state: {
            after: Fraction(count, leaving[state]) for after, count in moves[state].items() if after in kept and count
        }
        for state in kept
    }
    return shares, {state: Fraction(converting[state], leaving[state]) for state in kept}


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
    met = _met(journeys)
    left = [(paths, met.get(units & coalition, (0, 1))) for units, (_, paths) in met.items()]
    return sum(paths * conversions / of for paths, (conversions, of) in left)


def shapley_by_dividends(journeys: Journeys) -> dict[str, Fraction]:
    """The same values for the worth `conversion_rate`, out of all coalitions that some path met in full.

    A coalition's dividend (Harsanyi) is what it is worth beyond the dividends of its parts, and is shared evenly by
    its members. No other coalition has one: each path's worth is that of the coalition's part that it met.
    """
    met = _met(journeys)
    rates = {units: Fraction(conversions, paths) for units, (conversions, paths) in met.items() if conversions}
    passing: Counter[frozenset[str]] = Counter()
    for units, (_, paths) in met.items():
        for coalition in _coalitions(units):
            passing[coalition] += paths
    values = dict.fromkeys(sorted({unit for units in met for unit in units}), Fraction(0))
    for coalition, paths in passing.items():
        parts = (
            rate if (len(coalition) - len(units)) % 2 == 0 else -rate
            for units, rate in rates.items()
            if units <= coalition
        )
        dividend = paths * sum(parts, Fraction(0))
        for unit in coalition:
            values[unit] += dividend / len(coalition)
    return values


def _coalitions(units: frozenset[str]) -> Iterator[frozenset[str]]:
    sizes = range(1, len(units) + 1)
    return map(frozenset, chain.from_iterable(combinations(sorted(units), size) for size in sizes))


def _met(journeys: Journeys) -> dict[frozenset[str], tuple[int, int]]:
    """The units that paths met, in whatever order: conversions and paths."""
    found: dict[frozenset[str], tuple[int, int]] = {}
    for path, (conversions, others) in journeys.items():
        before = found.get(frozenset(path), (0, 0))
        found[frozenset(path)] = (before[0] + conversions, before[1] + conversions + others)
    return found
