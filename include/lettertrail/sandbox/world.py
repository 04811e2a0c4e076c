"""The sample world: people with known causes and effects, seeded and repeatable.

    world = generate(seed=7, scale=1.0, as_of=date(2026, 11, 1))

The world covers the 548 days before `as_of` 00:00 in Moscow. The same arguments give identical frames, in any
process: randomness comes from numpy Generators only. `scale` 1 is about 20 000 people and 500 000 sends; letters are 80
at every scale. What caused what is in `truth` (and `write_truth`), for tests and the demo's comparison; the pipeline
never sees it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.world_engagement import Engagement, simulate
from lettertrail.sandbox.world_letters import BITRIX_LETTERS, plan
from lettertrail.sandbox.world_people import DAY, NEVER, populate
from lettertrail.sandbox.world_sales import trade

SITE_ZONE = ZoneInfo("Europe/Moscow")
PEOPLE_AT_SCALE_ONE = 20_000
DAYS = 548
MIN_PEOPLE = 100


@dataclass(frozen=True, slots=True)
class World:
    """Everything that happened. Times are aware UTC; ids are whole numbers from 1; NA where something did not happen.

    people: person, email (lower case), email_as_typed, former_email (NA unless the address changed), email_changed_at,
        former_stays (the old address is still on the card), first_name, last_name, phone, created_at, apple_mail,
        corporate_scanner, company (NA for private people), on_bitrix (has a contact card), on_mailchimp,
        mailchimp_status ('subscribed'|'unsubscribed'|'cleaned', NA when not there), mailchimp_changed_at, birthday
    companies: company, title, domain, phone, email (info@, shared by its people), has_scanner
    cards: card, person, contact_id, email_as_typed, created_at, merged_at: second contact cards of the same person;
        with merged_at the card was merged into the person's own and deleted
    letters: letter, channel ('bitrix'|'mailchimp'), campaign (1..3, NA for Mailchimp), title, subject, utm_source,
        utm_medium, utm_campaign, utm_content (NA when unused), sent_at, urls (list)
    dispatches: dispatch, letter, channel, campaign, wave, started_at: one run of a letter
    sends: send, dispatch, letter, person, email, sent_at, outcome ('delivered'|'failed'|'hard_bounce'|'soft_bounce'),
        bounced_at (of a hard bounce; later than sent_at for a third of them)
    queued: dispatch, letter, person, email: still waiting when the world ends
    events: event, send, kind ('open'|'click'|'unsubscribe'|'complaint'), occurred_at, url (of clicks), actor
        ('human'|'apple_proxy'|'scanner'); in time order. A Bitrix complaint comes with an unsubscribe, as in Bitrix.
    minds: person, email, campaign, at, how ('consent'|'consent_unflipped'|'flip'), send: came back after leaving a
        Bitrix campaign; 'flip' is a renewed subscription without a consent record
    leads: lead, person, created_at, status ('new'|'converted'|'junk'), closed_at, utm_source, utm_medium, utm_campaign,
        utm_content, landing_event (the click whose tags the form saw), causes (list of letters)
    deals: deal, lead (NA), person, created_at, stage ('open'|'won'|'lost'), closed_at, first_won_at and reopened_at (of
        a reopened deal), funnel (0 or 1), amount (Decimal, in `currency`), currency, exchange_rate, amount_base
        (Decimal, RUB), causes
    orders: order, person, created_at, amount (Decimal, RUB), paid_at, canceled, causes
    truth: conversion ('lead_created'|'deal_won'), id, letters (list, in order; empty = organic), amount (Decimal in
        RUB, None for leads)
    """

    seed: int
    scale: float
    as_of: date
    people: pd.DataFrame
    companies: pd.DataFrame
    cards: pd.DataFrame
    letters: pd.DataFrame
    dispatches: pd.DataFrame
    sends: pd.DataFrame
    queued: pd.DataFrame
    events: pd.DataFrame
    minds: pd.DataFrame
    leads: pd.DataFrame
    deals: pd.DataFrame
    orders: pd.DataFrame
    truth: pd.DataFrame

    @property
    def started_at(self) -> pd.Timestamp:
        """The first moment of the world, aware UTC."""
        return self.ended_at - pd.Timedelta(days=DAYS)

    @property
    def ended_at(self) -> pd.Timestamp:
        """`as_of` 00:00 in the site's zone, aware UTC."""
        return pd.Timestamp(datetime.combine(self.as_of, datetime.min.time(), SITE_ZONE)).tz_convert("UTC")

    def write(self, directory: Path) -> None:
        """Writes `world.json` (the arguments, enough to make this world again) and `truth.json`."""
        directory.mkdir(parents=True, exist_ok=True)
        arguments = {"seed": self.seed, "scale": self.scale, "as_of": self.as_of.isoformat()}
        (directory / "world.json").write_text(json.dumps(arguments) + "\n", encoding="utf-8")
        self.write_truth(directory / "truth.json")

    def write_truth(self, path: Path) -> None:
        """Writes what really caused what, with letter ids in warehouse spelling; see `truth_report`."""
        path.write_text(json.dumps(truth_report(self), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def generate(seed: int, scale: float, as_of: date) -> World:
    """Makes the world.

    Raises:
        ConfigurationError: when `scale` is too small for a world of 100 people.
    """
    count = round(PEOPLE_AT_SCALE_ONE * scale)
    if count < MIN_PEOPLE:
        raise ConfigurationError(
            f"scale {scale} makes {count} people; the sample world needs {MIN_PEOPLE} (scale 0.005)"
        )
    end = int(datetime.combine(as_of, datetime.min.time(), SITE_ZONE).timestamp())
    start = end - DAYS * DAY
    # One stream per part, so that a change in one leaves the others as they were.
    rng = [np.random.default_rng([seed, part]) for part in range(4)]
    population = populate(rng[0], count=count, start=start, end=end)
    programme = plan(rng[1], start=start, end=end)
    engagement = simulate(rng[2], population, programme, end=end)
    sales = trade(rng[3], population, programme, engagement.human_clicks, start=start, end=end)
    people = population.people.copy()
    # Converting a lead makes a contact card for people who had none.
    people["on_bitrix"] |= people["person"].isin(sales.deals["person"])
    return World(
        seed=seed,
        scale=scale,
        as_of=as_of,
        people=_with_times(
            _mailchimp(people, engagement, end=end), "created_at", "email_changed_at", "mailchimp_changed_at"
        ),
        companies=population.companies,
        cards=_with_times(population.cards, "created_at", "merged_at"),
        letters=_with_times(programme.letters, "sent_at"),
        dispatches=_with_times(programme.dispatches.drop(columns="per_second"), "started_at"),
        sends=_with_times(engagement.sends.drop(columns="slot"), "sent_at", "bounced_at"),
        queued=engagement.queued.drop(columns="slot"),
        events=_with_times(engagement.events, "occurred_at"),
        minds=_with_times(engagement.minds.drop(columns="slot"), "at"),
        leads=_with_times(sales.leads.drop(columns=["visit", "needed"]), "created_at", "closed_at"),
        deals=_with_times(
            sales.deals.drop(columns=["visit", "needed"]), "created_at", "closed_at", "first_won_at", "reopened_at"
        ),
        orders=_with_times(sales.orders, "created_at", "paid_at"),
        truth=_truth(sales.leads, sales.deals),
    )


def letter_id(letter: int) -> str:
    """The warehouse's spelling of a letter id."""
    return f"bitrix:{letter}" if letter <= BITRIX_LETTERS else f"mailchimp:mailchimp:{letter:010x}"


def _mailchimp(people: pd.DataFrame, engagement: Engagement, *, end: int) -> pd.DataFrame:
    left, cleaned = engagement.mailchimp_left_at, engagement.mailchimp_cleaned_at
    # A complaint is an unsubscribe to Mailchimp; only a bounce makes a member "cleaned".
    is_cleaned = (cleaned < NEVER) & (left >= NEVER)
    is_out = (left < end) & ~is_cleaned
    status: NDArray[np.object_] = np.where(
        is_cleaned, "cleaned", np.where(is_out, "unsubscribed", "subscribed")
    ).astype(object)
    changed = np.where(is_cleaned, cleaned, np.where(is_out, left, people["created_at"].to_numpy()))
    there = people["on_mailchimp"].to_numpy(bool)
    return people.assign(
        mailchimp_status=pd.array(
            [word if here else None for word, here in zip(status, there, strict=True)], dtype="string"
        ),
        mailchimp_changed_at=np.where(there, changed, NEVER),
    )


def _with_times(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Seconds to aware UTC; NEVER becomes NaT."""
    frame = frame.copy()
    for column in columns:
        seconds = frame[column].to_numpy()
        moments = np.where(seconds >= NEVER, 0, seconds).astype("datetime64[s]")
        moments[seconds >= NEVER] = np.datetime64("NaT")
        frame[column] = pd.Series(moments.astype("datetime64[ns]"), index=frame.index).dt.tz_localize("UTC")
    return frame


def _truth(leads: pd.DataFrame, deals: pd.DataFrame) -> pd.DataFrame:
    won = deals[deals["stage"] == "won"]
    return pd.DataFrame(
        {
            "conversion": ["lead_created"] * len(leads) + ["deal_won"] * len(won),
            "id": [*leads["lead"], *won["deal"]],
            "letters": [*leads["causes"], *won["causes"]],
            "amount": [*([None] * len(leads)), *won["amount_base"]],
        }
    )


def truth_report(world: World) -> dict[str, object]:
    """The answer sheet as plain JSON values; amounts are text with two digits, in RUB.

    `totals.<conversion>`: all and caused (by at least one letter) counts and amounts, and the caused share.
    `letters.<letter id>`: what the letter caused, a conversion with several causes counted as an equal part for each.
    `events.<channel>.<kind>.<actor>`: how many events whose doing they were.
    """
    channel = world.letters.set_index("letter")["channel"]
    of_send = world.sends["letter"].map(channel).to_numpy()
    keys = zip(
        of_send[world.events["send"].to_numpy() - 1].tolist(),
        world.events["kind"].tolist(),
        world.events["actor"].tolist(),
        strict=True,
    )
    events: dict[str, dict[str, dict[str, int]]] = {}
    for (where, kind, actor), count in sorted(Counter(keys).items()):
        events.setdefault(where, {}).setdefault(kind, {})[actor] = count
    return {
        "seed": world.seed,
        "scale": world.scale,
        "as_of": world.as_of.isoformat(),
        "counts": {
            name: len(getattr(world, name)) for name in ("people", "letters", "sends", "events", "leads", "deals")
        },
        "people": {
            "apple_mail": int(world.people["apple_mail"].sum()),
            "corporate_scanner": int(world.people["corporate_scanner"].sum()),
        },
        "events": events,
        "totals": {name: _totals(rows) for name, rows in world.truth.groupby("conversion")},
        "letters": _by_letter(world.truth),
        "conversions": [
            {
                "conversion": conversion,
                "id": number,
                "letters": [letter_id(letter) for letter in letters],
                "amount": None if amount is None else str(amount),
            }
            for conversion, number, letters, amount in _truth_rows(world.truth)
        ],
    }


def _truth_rows(truth: pd.DataFrame) -> Iterator[tuple[str, int, list[int], Decimal | None]]:
    amounts = [value if isinstance(value, Decimal) else None for value in truth["amount"]]
    return zip(truth["conversion"], truth["id"].tolist(), truth["letters"], amounts, strict=True)


def _totals(rows: pd.DataFrame) -> dict[str, object]:
    facts = [(bool(letters), amount or Decimal(0)) for _, _, letters, amount in _truth_rows(rows)]
    total = sum((amount for _, amount in facts), Decimal(0))
    caused = [amount for is_caused, amount in facts if is_caused]
    caused_amount = sum(caused, Decimal(0))
    return {
        "count": len(facts),
        "caused_count": len(caused),
        "caused_share": round(len(caused) / len(facts), 6),
        "amount": str(total),
        "caused_amount": str(caused_amount),
        "caused_amount_share": round(float(caused_amount / total), 6) if total else None,
    }


def _by_letter(truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    sums: dict[int, dict[str, float]] = {}
    for conversion, _, letters, amount in _truth_rows(truth):
        for letter in letters:
            own = sums.setdefault(letter, {"leads": 0.0, "deals": 0.0, "revenue": 0.0})
            own["leads" if conversion == "lead_created" else "deals"] += 1 / len(letters)
            own["revenue"] += float(amount or 0) / len(letters)
    return {
        letter_id(letter): {name: round(value, 4) for name, value in own.items()}
        for letter, own in sorted(sums.items())
    }
