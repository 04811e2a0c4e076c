"""A segment's trial with a known effect: what each of its people spends with the segment's letters and without.

The people are those of the sample world (`world_people`), and letters work on them as in it: whoever likes to read
visits, a visit becomes an order with the world's chance (`world_sales`). Both fates of everybody are known, so the
true effect is a plain mean, and a measurement can be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lettertrail.sandbox.world_people import DAY, Floats, Ints, populate
from lettertrail.sandbox.world_sales import ORGANIC_ORDERS_A_YEAR, P_ORDER

MEDIAN_ORDER, ORDER_SIGMA, SMALLEST_ORDER = 4_500.0, 0.8, 300.0
"""RUB; a lognormal, as the world's orders."""


@dataclass(frozen=True, slots=True)
class TrialWorld:
    """Sums in RUB, one per person, index 0 is person 1."""

    before: Floats
    """Spent in the days before the draw."""
    without_letters: Floats
    """Spent in the days after it by somebody held out."""
    with_letters: Floats
    """Spent by the same person when sent."""

    @property
    def true_lift(self) -> float:
        """What the letters cause per person."""
        return float((self.with_letters - self.without_letters).mean())


def try_out(seed: int, *, people: int, days: int, letters: int) -> TrialWorld:
    """A segment of `people` who get `letters` in `days`. The same arguments give the same world."""
    rng = np.random.default_rng([seed, 4])
    population = populate(rng, count=people, start=0, end=548 * DAY)
    organic = ORGANIC_ORDERS_A_YEAR * population.buying * days / 365
    before = _spent(rng, rng.poisson(organic))
    without = _spent(rng, rng.poisson(organic))
    visits = rng.binomial(letters, 1 / (1 + np.exp(1.5 - population.engagement)))
    caused = rng.binomial(visits, np.minimum(0.9, P_ORDER * population.buying))
    return TrialWorld(before, without, without + _spent(rng, caused))


def _spent(rng: np.random.Generator, orders: Ints) -> Floats:
    who = np.repeat(np.arange(len(orders)), orders)
    amounts = np.maximum(SMALLEST_ORDER, rng.lognormal(np.log(MEDIAN_ORDER), ORDER_SIGMA, len(who)))
    spent: Floats = np.zeros(len(orders))
    np.add.at(spent, who, np.round(amounts, 2))
    return spent
