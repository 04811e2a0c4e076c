"""What visits lead to: leads, deals, orders, and which letters truly caused them.

Every first human click of a letter is a visit. A visit becomes a lead with a known probability that grows with the
visits of other letters in the 30 days before it (at most three of them count). A letter *caused* the lead when the
lead would not have come without it: always the letter of the visit itself, and the earlier ones when the draw needed
all of them. Leads, deals and orders also come by themselves, more often from people who like to read letters, so that
any model that credits the last click gives letters more than they earned.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pandas as pd

from lettertrail.sandbox.world_letters import HOUR, Programme
from lettertrail.sandbox.world_people import DAY, NEVER, Ints, Population

P_LEAD, P_DEAL, P_ORDER = 0.055, 0.012, 0.03
CARRY_OVER_DAYS, CARRY_OVER_LETTERS, CARRY_OVER_GAIN = 30, 3, 0.5
ORGANIC_LEADS_A_YEAR, ORGANIC_DEALS_A_YEAR, ORGANIC_ORDERS_A_YEAR = 0.045, 0.01, 0.10
P_NEWCOMER_LEAD = 0.08
SAME_LEAD_DAYS = 14
P_CONVERTED, P_JUNK = 0.62, 0.22
P_WON, P_REOPENED = 0.45, 0.012
RATES = {"RUB": Decimal("1.0000"), "EUR": Decimal("98.5000"), "USD": Decimal("90.1500")}
OTHER_SOURCES = (
    ("yandex", "cpc", "brand"),
    ("google", "organic", ""),
    ("vk", "social", "spring"),
    ("", "", ""),
)
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Sales:
    """The frames of this part; see `world.World`."""

    leads: pd.DataFrame
    deals: pd.DataFrame
    orders: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _Causes:
    """Things that happened, in time order; `visit` is an index into the visits, or -1 when nothing caused it."""

    person: Ints
    at: Ints
    visit: Ints
    needed: Ints
    """How many earlier letters it needed besides that of the visit."""


def trade(
    rng: np.random.Generator,
    population: Population,
    programme: Programme,
    visits: pd.DataFrame,
    *,
    start: int,
    end: int,
) -> Sales:
    """`visits`: event, send, person, letter, occurred_at; one row per first human click."""
    visits = visits.sort_values(["person", "occurred_at", "event"]).reset_index(drop=True)
    earlier = _earlier_letters(visits)
    wanted = _Wanted(rng, population, programme, visits, earlier, start=start, end=end)
    leads = _leads(
        rng, programme, visits, _merge_close(wanted.draw(P_LEAD, ORGANIC_LEADS_A_YEAR, newcomers=True)), end=end
    )
    direct = wanted.draw(P_DEAL, ORGANIC_DEALS_A_YEAR)
    deals = _deals(rng, leads, direct, visits, end=end)
    orders = _orders(rng, wanted.draw(P_ORDER, ORGANIC_ORDERS_A_YEAR), visits, earlier, end=end)
    return Sales(
        leads=leads.assign(causes=_causes(leads, visits, earlier)),
        deals=deals.assign(causes=_causes(deals, visits, earlier)),
        orders=orders,
    )


def _causes(frame: pd.DataFrame, visits: pd.DataFrame, earlier: Ints) -> pd.Series[Any]:
    pairs = zip(frame["visit"].tolist(), frame["needed"].tolist(), strict=True)
    return pd.Series([_letters(visits, earlier, visit, needed) for visit, needed in pairs], dtype=object)


def _earlier_letters(visits: pd.DataFrame) -> Ints:
    """Up to three other letters visited by the same person in the 30 days before, latest first; 0 for none."""
    person, letter = visits["person"].to_numpy(), visits["letter"].to_numpy()
    at = visits["occurred_at"].to_numpy()
    found = np.zeros((len(visits), CARRY_OVER_LETTERS), dtype=np.int64)
    for back in range(1, 6):
        before = np.arange(len(visits)) - back
        usable = before >= 0
        before = np.maximum(before, 0)
        usable &= (person[before] == person) & (at - at[before] <= CARRY_OVER_DAYS * DAY)
        usable &= (letter[before] != letter) & ~(found == letter[before][:, None]).any(axis=1)
        place = (found > 0).sum(axis=1)
        rows = np.flatnonzero(usable & (place < CARRY_OVER_LETTERS))
        found[rows, place[rows]] = letter[before][rows]
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Draws things that visits cause and things that come by themselves."""

    rng: np.random.Generator
    population: Population
    programme: Programme
    visits: pd.DataFrame
    earlier: Ints
    start: int
    end: int

    def draw(self, chance: float, organic_a_year: float, *, newcomers: bool = False) -> _Causes:
        parts = [self._caused(chance), self._organic(organic_a_year)]
        if newcomers:
            parts.append(self._newcomers())
        joined = [
            np.concatenate([getattr(part, name) for part in parts]) for name in ("person", "at", "visit", "needed")
        ]
        keep = joined[1] < self.end
        order = np.lexsort((joined[0], joined[1]))
        order = order[keep[order]]
        return _Causes(*(values[order] for values in joined))

    def _caused(self, chance: float) -> _Causes:
        person, letter = self.visits["person"].to_numpy(), self.visits["letter"].to_numpy()
        size = len(self.visits)
        single = chance * self.population.buying[person - 1] * self.programme.sales_appeal[letter - 1]
        carried = (self.earlier > 0).sum(axis=1)
        draw = self.rng.random(size)
        happens = draw < np.minimum(0.9, single * (1 + CARRY_OVER_GAIN * carried))
        alone = draw < np.minimum(0.9, single * (1 + CARRY_OVER_GAIN * np.maximum(0, carried - 1)))
        delay = np.minimum(self.rng.lognormal(np.log(20 * HOUR), 1.4, size), 25.0 * DAY).astype(np.int64)
        at = self.visits["occurred_at"].to_numpy() + 120 + delay
        needed = np.where(alone, 0, carried)
        return _Causes(person[happens], at[happens], np.flatnonzero(happens), needed[happens])

    def _organic(self, a_year: float) -> _Causes:
        created = np.maximum(self.population.people["created_at"].to_numpy(), self.start)
        years = (self.end - created) / (365 * DAY)
        times = self.rng.poisson(a_year * self.population.buying * years)
        person = np.repeat(np.arange(1, self.population.size + 1), times)
        at = created[person - 1] + (self.rng.random(len(person)) * (self.end - created[person - 1])).astype(np.int64)
        return _by_itself(person, at)

    def _newcomers(self) -> _Causes:
        """People whose first sign of life is a lead, before any letter could reach them."""
        created = self.population.people["created_at"].to_numpy()
        new = (created >= self.start) & (self.rng.random(self.population.size) < P_NEWCOMER_LEAD)
        return _by_itself(np.flatnonzero(new) + 1, created[new])


def _by_itself(person: Ints, at: Ints) -> _Causes:
    return _Causes(person, at, np.full(len(person), -1), np.zeros(len(person), dtype=np.int64))


def _merge_close(causes: _Causes) -> _Causes:
    """A second request within two weeks lands on the same lead."""
    order = np.lexsort((causes.at, causes.person))
    keep = np.zeros(len(order), dtype=bool)
    last_person, last_at = 0, 0
    for place in order.tolist():
        person, at = int(causes.person[place]), int(causes.at[place])
        if person != last_person or at - last_at >= SAME_LEAD_DAYS * DAY:
            keep[place] = True
            last_person, last_at = person, at
    return _Causes(causes.person[keep], causes.at[keep], causes.visit[keep], causes.needed[keep])


def _letters(visits: pd.DataFrame, earlier: Ints, visit: int, needed: int) -> list[int]:
    """The causing letters in the order they were visited."""
    if visit < 0:
        return []
    before = [int(letter) for letter in earlier[visit][::-1] if letter > 0] if needed else []
    return [*before, int(visits["letter"].to_numpy()[visit])]


def _leads(
    rng: np.random.Generator, programme: Programme, visits: pd.DataFrame, causes: _Causes, *, end: int
) -> pd.DataFrame:
    size = len(causes.at)
    caused = causes.visit >= 0
    fate = rng.random(size)
    decided_at = causes.at + np.maximum(600, rng.lognormal(np.log(2 * DAY), 1.0, size)).astype(np.int64)
    status = np.where(fate < P_CONVERTED, "converted", np.where(fate < P_CONVERTED + P_JUNK, "junk", "new"))
    status = np.where(decided_at < end, status, "new")
    leads = pd.DataFrame(
        {
            "lead": np.arange(1, size + 1),
            "person": causes.person,
            "created_at": causes.at,
            "status": status,
            "closed_at": np.where(status == "new", NEVER, decided_at),
            "visit": causes.visit,
            "needed": causes.needed,
        }
    )
    # A form writes the tags of the landing page; after a day or a change of device they are lost more often.
    visited_at = visits["occurred_at"].to_numpy()[np.maximum(causes.visit, 0)]
    tagged = caused & (rng.random(size) < np.where(causes.at - visited_at < DAY, 0.92, 0.6))
    # A stale cookie puts a letter's tags on a lead that the letter did not cause.
    last = _last_visit(visits, causes)
    stale = ~caused & (last >= 0) & (rng.random(size) < 0.4)
    shown = np.where(tagged, causes.visit, np.where(stale, last, -1))
    letter = np.where(shown >= 0, visits["letter"].to_numpy()[np.maximum(shown, 0)], 0)
    other = rng.choice(len(OTHER_SOURCES), size, p=[0.3, 0.1, 0.1, 0.5])
    for place, column in enumerate(("utm_source", "utm_medium", "utm_campaign", "utm_content")):
        own = [None, *programme.letters[column].astype(object).tolist()]
        others = [[*row, ""][place] or None for row in OTHER_SOURCES]
        leads[column] = pd.array(
            [
                own[number] if number else (None if is_caused else others[kind])
                for number, is_caused, kind in zip(letter.tolist(), caused.tolist(), other.tolist(), strict=True)
            ],
            dtype="string",
        )
    event = visits["event"].to_numpy()
    leads["landing_event"] = pd.array(np.where(shown >= 0, event[np.maximum(shown, 0)], 0), dtype="Int64")
    leads["landing_event"] = leads["landing_event"].mask(leads["landing_event"] == 0)
    return leads


def _last_visit(visits: pd.DataFrame, causes: _Causes) -> Ints:
    """Index of each person's last visit in the 30 days before, or -1."""
    keys = visits["person"].to_numpy() * (1 << 34) + visits["occurred_at"].to_numpy()
    place = np.searchsorted(keys, causes.person * (1 << 34) + causes.at) - 1
    known = np.maximum(place, 0)
    fits = (place >= 0) & (visits["person"].to_numpy()[known] == causes.person)
    fits &= causes.at - visits["occurred_at"].to_numpy()[known] < CARRY_OVER_DAYS * DAY
    return np.where(fits, place, -1)


def _deals(
    rng: np.random.Generator, leads: pd.DataFrame, direct: _Causes, visits: pd.DataFrame, *, end: int
) -> pd.DataFrame:
    converted = leads[leads["status"] == "converted"]
    frame = (
        pd.concat(
            [
                converted[["lead", "person", "closed_at", "visit", "needed"]].rename(
                    columns={"closed_at": "created_at"}
                ),
                pd.DataFrame(
                    {
                        "lead": 0,
                        "person": direct.person,
                        "created_at": direct.at,
                        "visit": direct.visit,
                        "needed": direct.needed,
                    }
                ),
            ],
            ignore_index=True,
        )
        .sort_values(["created_at", "person"])
        .reset_index(drop=True)
    )
    size = len(frame)
    frame.insert(0, "deal", np.arange(1, size + 1))
    frame["lead"] = frame["lead"].astype("Int64").mask(frame["lead"] == 0)
    closed_at = frame["created_at"].to_numpy() + np.maximum(HOUR, rng.lognormal(np.log(12 * DAY), 0.9, size)).astype(
        np.int64
    )
    won = rng.random(size) < P_WON
    reopened = won & (rng.random(size) < P_REOPENED)
    if won.sum() > 20 and not reopened.any():
        reopened[np.flatnonzero(won)[0]] = True
    # A reopened deal was won, taken back to work after a week and, most often, won again.
    reopened_at = np.where(reopened, closed_at + 7 * DAY, NEVER)
    final_at = np.where(reopened, reopened_at + rng.integers(2 * DAY, 30 * DAY, size), closed_at)
    reopened &= reopened_at < end
    frame["first_won_at"] = np.where(reopened, closed_at, NEVER)
    frame["reopened_at"] = np.where(reopened, reopened_at, NEVER)
    final_at = np.where(reopened, final_at, closed_at)
    is_closed = final_at < end
    frame["stage"] = np.where(is_closed, np.where(won, "won", "lost"), "open")
    frame["closed_at"] = np.where(is_closed, final_at, NEVER)
    frame["funnel"] = np.where(rng.random(size) < 0.15, 1, 0)
    return _priced(rng, frame)


def _priced(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    size = len(frame)
    currency = np.array(["RUB", "EUR", "USD"])[rng.choice(3, size, p=[0.93, 0.05, 0.02])]
    drift = rng.integers(-400, 400, size)
    kopecks = np.maximum(100_000, rng.lognormal(np.log(3_800_000), 0.9, size)).astype(np.int64)
    amounts, bases, rates = [], [], []
    for code, value, shift in zip(currency.tolist(), kopecks.tolist(), drift.tolist(), strict=True):
        rate = RATES[code] if code == "RUB" else RATES[code] + Decimal(shift) / 100
        amount = (Decimal(value) / 100 / rate).quantize(CENT, ROUND_HALF_UP)
        amounts.append(amount)
        rates.append(rate.quantize(Decimal("0.0001")))
        bases.append((amount * rate).quantize(CENT, ROUND_HALF_UP))
    return frame.assign(
        amount=pd.Series(amounts, dtype=object),
        currency=currency,
        exchange_rate=pd.Series(rates, dtype=object),
        amount_base=pd.Series(bases, dtype=object),
    )


def _orders(
    rng: np.random.Generator, causes: _Causes, visits: pd.DataFrame, earlier: Ints, *, end: int
) -> pd.DataFrame:
    size = len(causes.at)
    paid_at = causes.at + np.maximum(60, rng.lognormal(np.log(2 * HOUR), 1.5, size)).astype(np.int64)
    paid = (rng.random(size) < 0.86) & (paid_at < end)
    kopecks = np.maximum(30_000, rng.lognormal(np.log(450_000), 0.8, size)).astype(np.int64)
    return pd.DataFrame(
        {
            "order": np.arange(1, size + 1),
            "person": causes.person,
            "created_at": causes.at,
            "amount": [Decimal(value) / 100 for value in kopecks.tolist()],
            "paid_at": np.where(paid, paid_at, NEVER),
            "canceled": ~paid & (rng.random(size) < 0.5),
            "causes": [
                _letters(visits, earlier, v, n)
                for v, n in zip(causes.visit.tolist(), causes.needed.tolist(), strict=True)
            ],
        }
    )
