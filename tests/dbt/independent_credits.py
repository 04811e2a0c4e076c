"""Conversions and their credits once more, in plain Python straight from the raw tables; see independent.py."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from lettertrail.settings import DBT_PROJECT_DIR

ZONE = ZoneInfo("Europe/Moscow")
MODELS = ("last_touch", "first_touch", "linear", "position_based", "time_decay", "w_shape", "last_non_direct")
ROUNDED = ("position_based", "time_decay", "w_shape")
"""Models whose weights are no whole numbers: the last unit may differ from an exact calculation."""
LOOKBACK = {
    "lead_created": timedelta(days=30),
    "form_submitted": timedelta(days=30),
    "call": timedelta(days=30),
    "deal_created": timedelta(days=90),
    "deal_won": timedelta(days=90),
    "order_placed": timedelta(days=30),
    "order_paid": timedelta(days=30),
}
HALF_LIFE = timedelta(days=7)
CREDIT_UNIT = Fraction(1, 10**10)
CENT = Fraction(1, 100)
CARD_TYPES = {1: "lead", 2: "deal", 3: "contact", 4: "company"}
CALL, INCOMING = 2, 1

Row = dict[str, Any]
Node = tuple[str, object]
Find = Callable[[str, object], Node | None]
"""The person of a card (contact, lead, user, company) or e-mail, None when nobody is known by it."""


class Raw(Protocol):
    """Rows of raw tables, without those that are gone unless asked for."""

    def rows(self, table: str, *, gone: bool = False) -> list[Row]:
        """All rows."""
        ...


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion with what its credits are made of."""

    conversion: str
    person: Node | None
    at: datetime
    amount: Decimal
    refunded: Decimal = Decimal(0)
    lead_at: datetime | None = None
    deal_at: datetime | None = None

    @property
    def kind(self) -> str:
        """The conversion type."""
        return self.conversion.split(":", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Touch:
    """One touch of a path."""

    at: datetime
    channel: str = "email"


def utc(naive: datetime | None) -> datetime | None:
    """A site time in UTC."""
    return None if naive is None else naive.replace(tzinfo=ZONE).astimezone(UTC)


# --- conversions ----------------------------------------------------------------------------------


def conversions(raw: Raw, find: Find) -> list[Conversion]:
    """All conversions of all types."""
    rates = Rates(raw)
    deals = list(_deals(raw, find))
    deal_people = {deal["id"]: deal["person"] for deal in deals}
    found = [*_of_leads(raw, find, rates), *_of_deals(deals, rates), *_of_orders(raw, find, rates)]
    found += _of_forms(raw, find, deal_people)
    found += _of_calls(raw, find, deal_people)
    return found


class Rates:
    """What currencies are worth in the base currency, by the site's day."""

    def __init__(self, raw: Raw) -> None:
        currencies = raw.rows("raw_bitrix.b_catalog_currency")
        self.base = next(row["currency"] for row in currencies if row["base"] == "Y")
        self._default = {r["currency"]: r["amount"] / r["amount_cnt"] for r in currencies if r["amount"]}
        self._default[self.base] = Decimal(1)
        self._dated: dict[str, list[tuple[date, Decimal]]] = defaultdict(list)
        for row in raw.rows("raw_bitrix.b_catalog_currency_rate"):
            if row["currency"] != self.base and row["base_currency"] in (None, self.base):
                self._dated[row["currency"]].append((row["date_rate"], row["rate"] / row["rate_cnt"]))

    def of(self, currency: str, at: datetime) -> Decimal:
        """The rate of the day."""
        day = at.astimezone(ZONE).date()
        dated = [rate for start, rate in sorted(self._dated[currency]) if start <= day]
        return dated[-1] if dated else self._default[currency]

    def in_base(self, amount: Decimal | None, currency: str, at: datetime) -> Decimal:
        """An amount at the rate of the day, in cents."""
        return cents((amount or Decimal(0)) * self.of(currency, at))

    def of_card(self, card: Row, at: datetime) -> Decimal:
        """What a lead or deal is worth: what the CRM froze, else at the rate of the day."""
        told: Decimal | None = card["opportunity_account"]
        if told is not None and card["account_currency_id"] in (None, self.base):
            return cents(told)
        return self.in_base(card["opportunity"], card["currency_id"], at) if card["currency_id"] else Decimal(0)


def cents(amount: Decimal) -> Decimal:
    """Rounded to hundredths, halves away from zero."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _of_leads(raw: Raw, find: Find, rates: Rates) -> Iterator[Conversion]:
    for lead in raw.rows("raw_bitrix.b_crm_lead"):
        at = utc(lead["date_create"])
        if at is not None:
            amount = rates.of_card(lead, at)
            yield Conversion(f"lead_created:{lead['id']}", find("lead", lead["id"]), at, amount, lead_at=at)


def _deals(raw: Raw, find: Find) -> Iterator[Row]:
    """Deals with person, won_at and the time of their lead."""
    won_at = {}
    for step in sorted(raw.rows("raw_bitrix.b_crm_deal_stage_history"), key=lambda step: step["id"]):
        if step["type_id"] == 3:
            won_at[step["owner_id"]] = step["created_time"]
    leads = {lead["id"]: lead["date_create"] for lead in raw.rows("raw_bitrix.b_crm_lead")}
    linked: dict[int, list[Row]] = defaultdict(list)
    for link in raw.rows("raw_bitrix.b_crm_deal_contact"):
        linked[link["deal_id"]].append(link)
    for deal in raw.rows("raw_bitrix.b_crm_deal"):
        if deal["is_recurring"] == "Y":
            continue
        links = sorted(linked[deal["id"]], key=lambda r: (r["is_primary"] != "Y", r["sort"], r["contact_id"]))
        owners = [find("contact", deal["contact_id"])]
        owners += [find("contact", link["contact_id"]) for link in links]
        owners += [find("lead", deal["lead_id"]), find("company", deal["company_id"])]
        person = next((owner for owner in owners if owner), None)
        is_won = deal["stage_semantic_id"] == "S"
        at = utc(won_at.get(deal["id"]) or deal["moved_time"] or deal["closedate"]) if is_won else None
        yield {**deal, "person": person, "won_at": at, "lead_at": utc(leads.get(deal["lead_id"]))}


def _of_deals(deals: Iterable[Row], rates: Rates) -> Iterator[Conversion]:
    for deal in deals:
        created_at = utc(deal["date_create"])
        for kind, at in (("deal_created", created_at), ("deal_won", deal["won_at"])):
            if at is not None:
                yield Conversion(
                    f"{kind}:{deal['id']}",
                    deal["person"],
                    at,
                    rates.of_card(deal, at),
                    lead_at=deal["lead_at"],
                    deal_at=created_at,
                )


def open_outcomes(raw: Raw, find: Find) -> Iterator[tuple[str, Node | None, datetime]]:
    """(conversion type, person, since when) of what may still become one: deals in progress, unpaid orders."""
    for deal in _deals(raw, find):
        since = utc(deal["date_create"])
        if deal["stage_semantic_id"] == "P" and since:
            yield "deal_won", deal["person"], since
    payments = _grouped(raw.rows("raw_bitrix.b_sale_order_payment"), "order_id")
    changes = _grouped(raw.rows("raw_bitrix.b_sale_order_change"), "order_id")
    people = _OrderPeople(raw, find)
    for order in _orders(raw):
        log = _came_in(changes[order["id"]])
        since = utc(order["date_insert"])
        if _money(order, payments[order["id"]], log)[2] is None and order["canceled"] != "Y" and since:
            yield "order_paid", people.of(order), since


def _orders(raw: Raw) -> Iterator[Row]:
    """Orders, archived ones with what is left of them."""
    every = {row["id"]: row for row in raw.rows("raw_bitrix.b_sale_order", gone=True)}
    live = {row["id"] for row in raw.rows("raw_bitrix.b_sale_order")}
    for number in live:
        yield every[number]
    for row in raw.rows("raw_bitrix.b_sale_order_archive"):
        if row["order_id"] not in live:
            yield {"date_payed": None, **every.get(row["order_id"], {}), **row, "id": row["order_id"]}


def _money(order: Row, payments: Sequence[Row], log: Sequence[datetime]) -> tuple[Decimal, Decimal, datetime | None]:
    """What came in, what was kept of it, and when the order was paid in full."""
    zero = Decimal(0)
    returned = [row for row in payments if row["is_return"] != "N"]
    paid = [row for row in payments if row["is_return"] == "N" and row["paid"] == "Y"]
    back = sum((row["sum"] for row in returned), zero)
    is_paid = order["payed"] == "Y"
    told = order["sum_paid"] or (order["price"] if is_paid else zero)
    kept = min(told, sum((row["sum"] for row in paid), zero)) if paid or returned else told
    came = max(kept + back, order["price"]) if is_paid else kept + back
    last = max(log, default=None)
    if is_paid:
        return came, kept, order["date_payed"] or last
    if back > 0 and kept + back >= order["price"]:
        return came, kept, last or min(row["date_paid"] for row in returned if row["date_paid"])
    return came, kept, None


def _came_in(changes: Iterable[Row]) -> list[datetime]:
    """When each payment was first marked as paid; the log says the same of one that is taken back."""
    paid = [row for row in changes if row["type"] == "PAYMENT_PAID"]
    payments = {row["entity_id"] if row["entity"] == "PAYMENT" else None for row in paid}
    return [
        min(row["date_create"] for row in paid if (row["entity_id"] if row["entity"] == "PAYMENT" else None) == payment)
        for payment in payments
    ]


def _of_orders(raw: Raw, find: Find, rates: Rates) -> Iterator[Conversion]:
    payments = _grouped(raw.rows("raw_bitrix.b_sale_order_payment"), "order_id")
    changes = _grouped(raw.rows("raw_bitrix.b_sale_order_change"), "order_id")
    people = _OrderPeople(raw, find)
    for order in _orders(raw):
        log = _came_in(changes[order["id"]])
        came, kept, paid_at = _money(order, payments[order["id"]], log)
        back = came - kept if paid_at else Decimal(0)
        back_of_placed = order["price"] if order["canceled"] == "Y" else min(back, order["price"])
        placed = utc(order["date_insert"])
        person = people.of(order)
        for kind, at, gross, minus in (
            ("order_placed", placed, order["price"], back_of_placed),
            ("order_paid", utc(paid_at), came, back),
        ):
            if at is None:
                continue
            refunded = rates.in_base(minus, order["currency"].strip(), at)
            amount = rates.in_base(gross, order["currency"].strip(), at) - refunded
            yield Conversion(f"{kind}:{order['id']}", person, at, amount, refunded, deal_at=placed)


class _OrderPeople:
    def __init__(self, raw: Raw, find: Find) -> None:
        self._find = find
        self._cards = _grouped(raw.rows("raw_bitrix.b_crm_order_contact_company"), "order_id")
        emails = {row["id"] for row in raw.rows("raw_bitrix.b_sale_order_props") if row["is_email"] == "Y"}
        values = [row for row in raw.rows("raw_bitrix.b_sale_order_props_value") if row["order_props_id"] in emails]
        self._emails = _grouped(values, "order_id")

    def of(self, order: Row) -> Node | None:
        cards = [row for row in self._cards[order["id"]] if row["entity_type_id"] == 3]
        cards.sort(key=lambda row: (row["is_primary"] != "Y", row["sort"], row["entity_id"]))
        owners = [self._find("contact", row["entity_id"]) for row in cards]
        owners.append(self._find("user", order["user_id"]))
        emails = sorted(self._emails[order["id"]], key=lambda row: row["id"])
        owners += [self._find("email", _address(row["value"])) for row in emails]
        return next((owner for owner in owners if owner), None)


def _address(text: str | None) -> str | None:
    return text.strip(" \t\r\n\u00a0").lower() if text and re.search(r".@.", text, re.DOTALL) else None


def _of_forms(raw: Raw, find: Find, deal_people: Mapping[int, Node | None]) -> Iterator[Conversion]:
    made = _grouped(raw.rows("raw_bitrix.b_crm_webform_result_entity"), "result_id")
    for form in raw.rows("raw_bitrix.b_crm_webform_result"):
        cards = [(row["entity_name"].lower(), row["item_id"]) for row in made[form["id"]]]
        at = utc(form["date_insert"])
        assert at is not None
        person = _surest(cards, find, deal_people)
        yield Conversion(f"form_submitted:{form['id']}", person, at, Decimal(0), lead_at=at)


def _of_calls(raw: Raw, find: Find, deal_people: Mapping[int, Node | None]) -> Iterator[Conversion]:
    binds = _grouped(raw.rows("raw_bitrix.b_crm_act_bind"), "activity_id")
    for call in raw.rows("raw_bitrix.b_crm_act"):
        if (call["type_id"], call["direction"]) != (CALL, INCOMING):
            continue
        cards = [(CARD_TYPES.get(row["owner_type_id"], ""), row["owner_id"]) for row in [call, *binds[call["id"]]]]
        at = utc(call["created"])
        assert at is not None
        yield Conversion(f"call:{call['id']}", _surest(cards, find, deal_people), at, Decimal(0), lead_at=at)


def _surest(cards: Iterable[tuple[str, int]], find: Find, deal_people: Mapping[int, Node | None]) -> Node | None:
    ranks = ("contact", "lead", "deal", "company")
    for kind, number in sorted((card for card in cards if card[0] in ranks), key=lambda c: (ranks.index(c[0]), c[1])):
        person = deal_people.get(number) if kind == "deal" else find(kind, number)
        if person:
            return person
    return None


def _grouped(rows: Iterable[Row], column: str) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return found


# --- credits --------------------------------------------------------------------------------------


def position_shares() -> dict[tuple[str, str], Fraction]:
    """The seed, by model and position."""
    path = DBT_PROJECT_DIR / "seeds" / "attribution_position_shares.csv"
    with path.open(encoding="utf-8") as file:
        return {(row["model"], row["position"]): Fraction(row["share"]) for row in csv.DictReader(file)}


def credited(model: str, conversion: Conversion, touches: Sequence[Touch]) -> list[tuple[Fraction, Fraction]]:
    """Credit and amount of each touch of a path that is not empty."""
    weights = weights_of(model, touches, lead_at=conversion.lead_at, deal_at=conversion.deal_at)
    credits = dealt_out(weights, total=Fraction(1), unit=CREDIT_UNIT)
    return list(zip(credits, dealt_out(weights, total=Fraction(conversion.amount), unit=CENT), strict=True))


def weights_of(
    model: str, touches: Sequence[Touch], *, lead_at: datetime | None, deal_at: datetime | None
) -> list[Fraction]:
    """What each touch weighs; any scale."""
    last = len(touches) - 1
    match model:
        case "last_touch":
            return _only(last, len(touches))
        case "first_touch":
            return _only(0, len(touches))
        case "linear":
            return [Fraction(1)] * len(touches)
        case "last_non_direct":
            return _only(max((i for i, t in enumerate(touches) if t.channel != "direct"), default=last), len(touches))
        case "time_decay":
            return [Fraction(0.5 ** ((touches[-1].at - touch.at) / HALF_LIFE)) for touch in touches]
        case "position_based":
            return _by_place([("first", 0), ("last", last)], "middle", model, len(touches))
    milestones = [("first", 0)]
    for position, moment in (("lead", lead_at), ("deal", deal_at)):
        before = [index for index, touch in enumerate(touches) if moment is not None and touch.at <= moment]
        milestones += [(position, before[-1])] if before else []
    return _by_place(milestones, "others", model, len(touches))


def _only(index: int, count: int) -> list[Fraction]:
    return [Fraction(place == index) for place in range(count)]


def _by_place(places: Iterable[tuple[str, int]], rest: str, model: str, count: int) -> list[Fraction]:
    shares = position_shares()
    weights = [Fraction(0)] * count
    taken = set()
    for position, index in places:
        weights[index] += shares[model, position]
        taken.add(index)
    others = [index for index in range(count) if index not in taken]
    for index in others:
        weights[index] += shares[model, rest] / len(others)
    return weights if sum(weights) else [Fraction(1)] * count


def dealt_out(weights: Sequence[Fraction], *, total: Fraction, unit: Fraction) -> list[Fraction]:
    """`total` in whole units along the path: what all up to here have together, rounded, less what was given before."""
    parts: list[Fraction] = []
    before, running, whole = 0, Fraction(0), sum(weights)
    for weight in weights:
        running += weight
        upto = floor(total / unit * running / whole + Fraction(1, 2))
        parts.append((upto - before) * unit)
        before = upto
    return parts
