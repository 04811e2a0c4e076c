"""Ordinary days of a shop: people join, leave, have birthdays, opt out; a campaign now and then. Nobody is needed.

Everything is drawn from one seed, so that a day is the same on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

PEOPLE = [f"shopper{number:04}@example.com" for number in range(1_200)]
CAMPAIGN_EVERY = 10
"""Days between two campaigns, which bring many into the slow segment at once."""


@dataclass(frozen=True, slots=True)
class Day:
    """What the marts say on one day."""

    number: int
    segments: dict[str, list[str]]
    left: list[str]
    """Who opted out since yesterday."""
    step: int
    """A field of the slow segment that changes once a week."""


@dataclass(slots=True)
class Shop:
    """The people and how they change. Weekends are quiet."""

    seed: int = 7
    chance: random.Random = field(init=False)
    slow: list[str] = field(init=False)
    few: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.slow = self.chance.sample(PEOPLE, 300)
        self.few = self.chance.sample(PEOPLE, 8)

    def days(self, count: int) -> Iterator[Day]:
        """One day after the other."""
        for number in range(count):
            is_weekend = number % 7 in (5, 6)
            if number:
                self._live(is_weekend=is_weekend, has_campaign=number % CAMPAIGN_EVERY == 0)
            yield Day(
                number,
                {
                    "slow": sorted(self.slow),
                    "few": sorted(self.few),
                    # a birthday lies within the next week: a seventh changes every day
                    "birthdays": [one for place, one in enumerate(PEOPLE) if (place - number) % 365 < 7],
                },
                self.chance.sample(PEOPLE, self.chance.choice((0, 0, 1, 2))),
                number // 7,
            )

    def _live(self, *, is_weekend: bool, has_campaign: bool) -> None:
        share = 0.01 if is_weekend else self.chance.uniform(0.01, 0.08)
        leaving = set(self.chance.sample(self.slow, int(len(self.slow) * share)))
        joining = int(len(self.slow) * (share + (0.3 if has_campaign else 0.01)))
        outside = sorted(set(PEOPLE) - set(self.slow))
        self.slow = [one for one in self.slow if one not in leaving]
        self.slow += self.chance.sample(outside, min(joining, len(outside)))
        if self.chance.random() < 0.3:
            self.few.remove(self.chance.choice(self.few))
            self.few.append(self.chance.choice(sorted(set(PEOPLE) - set(self.few))))
