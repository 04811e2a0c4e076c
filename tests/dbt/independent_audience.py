"""Consents, preferences, disagreements and segments once more, in plain Python from the raw tables.

Written from the definitions (docs/marts.md, dbt_project.yml) and not from the models. Who an address belongs to, which
open is a person's and what a conversion is worth have their own independent checks; here they are taken as built.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row
from tests.dbt.independent import Raw, Row, crm_answers, email, evidence_of, utc
from tests.dbt.independent_credits import Rates

CATEGORIES = ("company_news", "sales_and_discounts", "product_updates", "event_invitations")
TOPICS = ("Company news", "Sales and discounts", "Product updates", "Event invitations")
FLAGS = ("uf_crm_mail_news", "uf_crm_mail_sales", "uf_crm_mail_products", "uf_crm_mail_events")
CHOICES = {"Скидки": "sales_and_discounts", "Новинки": "product_updates"}
INACTIVE = timedelta(days=180)
GIVEN_UP = timedelta(days=365)
CART_IDLE, CART_FORGOTTEN = timedelta(hours=24), timedelta(days=14)
SILENT, SILENT_FORGOTTEN = timedelta(days=3), timedelta(days=30)
VIP_AMOUNT, VIP_WINDOW = Decimal(30_000), timedelta(days=365)
BIRTHDAY_DAYS = 7
NOT_ENGAGED = timedelta(days=90)
DEAL = 2
LEFT = ("erased", "complaint", "unsubscribed", "no_consent")


@dataclass(frozen=True, slots=True)
class People:
    """What other rooms prove: who is who, and what they last did."""

    of_email: dict[str, str]
    of_card: dict[tuple[str, int], str]
    rows: dict[str, Row]
    conversions: list[Row]
    visits: list[Row]

    def emails(self, person: str | None) -> set[str]:
        """All addresses of a person."""
        return {address for address, owner in self.of_email.items() if owner == person}

    def segment(self, found: dict[str, Any]) -> dict[str, Any]:
        """By the address each person would be written to; without one nobody is in a segment."""
        return {
            self.rows[person]["primary_email"]: what
            for person, what in found.items()
            if self.rows[person]["primary_email"] is not None
        }


def people(dsn: str) -> People:
    """As built."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        connection.execute("set time zone 'UTC'")

        def rows(query: str) -> list[Row]:
            return connection.execute(query).fetchall()

        return People(
            {row["email"]: row["person_id"] for row in rows("select * from intermediate.int_people_emails")},
            {
                (row["card_type"], row["card_id"]): row["person_id"]
                for row in rows("select * from intermediate.int_people_crm_cards")
            },
            {row["person_id"]: row for row in rows("select * from marts.dim_person")},
            rows("select * from marts.fct_conversions where person_id is not null"),
            rows("select * from intermediate.int_visits where person_id is not null and not is_gone"),
        )


# --- preferences ----------------------------------------------------------------------------------


def preferences(raw: Raw, who: People) -> dict[tuple[str, str], str]:
    """(person, category) → subscribed or unsubscribed, for what anybody said anything about."""
    said: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for person, category, is_wanted in _wishes(raw, who):
        if person is not None:
            said[person, category].add(is_wanted)
    return {key: "unsubscribed" if False in answers else "subscribed" for key, answers in said.items()}


def _wishes(raw: Raw, who: People) -> Iterator[tuple[str | None, str, bool]]:
    contacts = {row["id"] for row in raw.rows("raw_bitrix.b_crm_contact")}
    for row in raw.rows("raw_bitrix.b_uts_crm_contact"):
        for category, name in zip(CATEGORIES, FLAGS, strict=True):
            if row["value_id"] in contacts and row[name] is not None:
                yield who.of_card.get(("contact", row["value_id"])), category, bool(row[name])
    field = next(r["id"] for r in raw.rows("raw_bitrix.b_user_field") if r["field_name"] == "UF_CRM_TOPICS")
    names = {r["id"]: r["value"] for r in raw.rows("raw_bitrix.b_user_field_enum") if r["user_field_id"] == field}
    chosen: dict[int, set[str]] = defaultdict(set)
    for row in raw.rows("raw_bitrix.b_utm_crm_contact"):
        if row["field_id"] == field and row["value_int"] in names and row["value_id"] in contacts:
            chosen[row["value_id"]].add(names[row["value_int"]])
    for contact, words in chosen.items():
        for word, category in CHOICES.items():
            yield who.of_card.get(("contact", contact)), category, word in words
    for row in raw.rows("raw_esp.contacts"):
        ticked = [bool(row["fields"].get(topic)) for topic in TOPICS]
        for category, topic, is_wanted in zip(CATEGORIES, TOPICS, ticked, strict=True):
            if any(ticked) and topic in row["fields"]:
                yield who.of_email[email(row["email"]) or ""], category, is_wanted


# --- consents -------------------------------------------------------------------------------------


def standing(raw: Raw, who: People) -> dict[str, set[str]]:
    """Address → the states that stand against everything, none hidden by a stronger one."""
    answered = {
        address: at
        for row in raw.rows("raw_bitrix.b_sender_contact")
        if row["consent_status"] == "A"
        and row["type_id"] == 1
        and (address := email(row["code"]))
        and (at := utc(row["date_update"]))
    }
    found: dict[str, set[str]] = defaultdict(set)
    for address, state, at, _ in evidence_of(raw):
        if address is None:
            continue
        others = set() if state == "hard_bounce" else who.emails(who.of_email[address])
        for each in {address} | others:
            is_over = state not in ("erased", "complaint") and at and each in answered and answered[each] > at
            if not is_over:
                found[each].add(state)
    return found


def consents(raw: Raw, who: People) -> dict[str, tuple[str, datetime | None]]:
    """Address → (state, newest consent)."""
    given: dict[str, datetime] = {}
    for address, at in _given(raw):
        if address:
            given[address] = max(at, given.get(address, at))
    ended = {address: states & set(LEFT) for address, states in standing(raw, who).items()}
    found: dict[str, tuple[str, datetime | None]] = {}
    for address in given.keys() | {address for address, states in ended.items() if states}:
        states = ended.get(address) or set()
        state = "given" if not states else "refused" if states == {"no_consent"} else "withdrawn"
        found[address] = (state, given.get(address))
    return found


def _given(raw: Raw) -> Iterator[tuple[str | None, datetime]]:
    accounts = {row["id"]: email(row["email"]) for row in raw.rows("raw_bitrix.b_user")}
    items = {
        row["user_consent_id"]: address
        for row in raw.rows("raw_bitrix.b_consent_user_consent_item", gone=True)
        if (address := email(row["value"]))
    }
    leads: dict[str, str] = {}
    order = {"MAILING": 1, "HOME": 2}
    cards = raw.rows("raw_bitrix.b_crm_field_multi")
    for row in sorted(cards, key=lambda row: (order.get(row["value_type"], 3), row["id"])):
        if row["entity_id"] == "LEAD" and row["type_id"] == "EMAIL" and (address := email(row["value"])):
            leads.setdefault(str(row["element_id"]), address)
    for row in raw.rows("raw_bitrix.b_consent_user_consent", gone=True):
        at = utc(row["date_insert"])
        assert at is not None
        own = leads.get(row["origin_id"]) if row["originator_id"] == "crm/webform" else None
        yield items.get(row["id"]) or accounts.get(row["user_id"]) or own, at
    for row in raw.rows("raw_bitrix.b_sender_contact", gone=True):
        at = utc(row["date_update"] or row["date_insert"])
        if row["consent_status"] == "A" and row["type_id"] == 1 and at:
            yield email(row["code"]), at
    changed = {row["id"]: row for row in raw.rows("raw_bitrix.b_crm_contact")}
    for address, is_given, told_at, contact in crm_answers(raw):
        answered = told_at or utc(changed[contact]["date_modify"] or changed[contact]["date_create"])
        if is_given and answered:
            yield address, answered
    for row in raw.rows("raw_esp.contacts", gone=True):
        if row["opted_in_at"]:
            yield email(row["email"]), row["opted_in_at"]


# --- disagreements --------------------------------------------------------------------------------


def disagreeing(raw: Raw, who: People) -> dict[str, tuple[set[str], set[str]]]:
    """Address → (places that would mail it, places that would not), where there are both."""
    says: dict[str, dict[str, bool]] = defaultdict(dict)
    for address, is_given, _, _ in crm_answers(raw):
        if address:
            says[address]["crm"] = is_given and says[address].get("crm", True)
    answered = {
        email(row["code"]): utc(row["date_update"])
        for row in raw.rows("raw_bitrix.b_sender_contact")
        if row["consent_status"] == "A" and row["type_id"] == 1 and row["date_update"]
    }
    refused = {
        address
        for address, state, at, _ in evidence_of(raw, bitrix_only=True)
        if not (state != "complaint" and at and (consented := answered.get(address)) and consented > at)
    }
    for row in raw.rows("raw_bitrix.b_sender_contact"):
        if row["type_id"] == 1 and (address := email(row["code"])):
            says[address]["sender"] = address not in refused
    for row in raw.rows("raw_esp.contacts"):
        if row["status"] in ("subscribed", "unsubscribed", "cleaned"):
            mine = says[email(row["email"]) or ""]
            mine[row["account"]] = mine.get(row["account"], False) or row["status"] == "subscribed"
    found = {}
    for address, places in says.items():
        yes = {place for place, is_mailable in places.items() if is_mailable}
        if yes and places.keys() - yes:
            found[address] = (yes, places.keys() - yes)
    return found


# --- segments -------------------------------------------------------------------------------------


def abandoned_carts(raw: Raw, who: People, at: datetime) -> dict[str, Any]:
    """Address → (pieces, value in roubles)."""
    owners = {row["id"]: row["user_id"] for row in raw.rows("raw_bitrix.b_sale_fuser")}
    rates = Rates(raw)
    carts: dict[str, list[Row]] = defaultdict(list)
    for row in raw.rows("raw_bitrix.b_sale_basket"):
        is_part = row["set_parent_id"] and row["set_parent_id"] != row["id"]
        person = who.of_card.get(("user", owners.get(row["fuser_id"]) or 0))
        if not row["order_id"] and row["delay"] != "Y" and not is_part and person:
            carts[person].append(row)
    ordered: dict[str, datetime] = {}
    for row in raw.rows("raw_bitrix.b_sale_order"):
        person, when = who.of_card.get(("user", row["user_id"])), utc(row["date_insert"])
        if person and when:
            ordered[person] = max(when, ordered.get(person, when))
    found = {}
    for person, items in carts.items():
        last = max(moment for row in items if (moment := utc(row["date_update"])))
        if CART_IDLE <= at - last < CART_FORGOTTEN and not (person in ordered and ordered[person] >= last):
            value = sum(
                Decimal(str(row["quantity"])) * row["price"] * rates.of(row["currency"], moment)
                for row in items
                if (moment := utc(row["date_update"]))
            )
            found[person] = (sum(int(row["quantity"]) for row in items), round(value, 2))
    return who.segment(found)


def spent(
    raw: Raw, who: People, at: datetime, *, within: timedelta | None = None
) -> dict[str, list[tuple[datetime, Decimal]]]:
    """Person → when they bought and what was kept of it; what was paid for a won deal is told as the deal."""
    won = {row["source_id"] for row in who.conversions if row["conversion_type"] == "deal_won"}
    links = raw.rows("raw_bitrix.b_crm_order_entity")
    of_deals = {row["order_id"] for row in links if row["owner_type_id"] == DEAL and row["owner_id"] in won}
    found: dict[str, list[tuple[datetime, Decimal]]] = defaultdict(list)
    for row in who.conversions:
        is_paid = row["conversion_type"] == "order_paid" and row["source_id"] not in of_deals
        is_recent = within is None or row["converted_at"] > at - within
        if (is_paid or row["conversion_type"] == "deal_won") and is_recent and row["converted_at"] <= at:
            found[row["person_id"]].append((row["converted_at"], row["amount"]))
    return found


def buyers(raw: Raw, who: People, at: datetime) -> dict[str, Any]:
    """Address → (purchases something of which was kept, what they brought, the day of the last)."""
    kept = {
        person: [(when, amount) for when, amount in purchases if amount > 0]
        for person, purchases in spent(raw, who, at).items()
    }
    return who.segment(
        {
            person: (len(own), sum(amount for _, amount in own), max(own)[0].astimezone(UTC).date())
            for person, own in kept.items()
            if own
        }
    )


def vips(raw: Raw, who: People, at: datetime) -> dict[str, Any]:
    """Address → what they spent in the window."""
    sums = {person: sum(amount for _, amount in own) for person, own in spent(raw, who, at, within=VIP_WINDOW).items()}
    return who.segment({person: total for person, total in sums.items() if total >= VIP_AMOUNT})


def not_engaged(who: People, at: datetime) -> dict[str, Any]:
    """Address → the day of the last open or click by the person, of those who got letters all the time and did not."""
    found: dict[str, Any] = {}
    for person, row in who.rows.items():
        last = max(filter(None, [row["last_opened_at"], row["last_clicked_at"]]), default=None)
        is_addressed = row["first_sent_at"] is not None and row["first_sent_at"] <= at - NOT_ENGAGED
        if is_addressed and (last is None or last <= at - NOT_ENGAGED):
            found[person] = last.astimezone(UTC).date() if last else None
    return who.segment(found)


def birthdays(who: People, at: datetime) -> dict[str, Any]:
    """Address → days left."""
    found = {}
    for person, row in who.rows.items():
        for left in range(BIRTHDAY_DAYS + 1):
            day = at.astimezone(UTC).date() + timedelta(days=left)
            if row["birth_date"] is not None and _celebrates(row["birth_date"], day):
                found[person] = left
    return who.segment(found)


def _celebrates(born: date, day: date) -> bool:
    try:
        return born.replace(year=day.year) == day
    except ValueError:  # 29 February in a year without one
        return (day.month, day.day) == (2, 28)


def inactive(raw: Raw, who: People, at: datetime) -> dict[str, datetime]:
    """Person → since when they count as inactive."""
    answered: dict[str, datetime] = {}
    for row in raw.rows("raw_bitrix.b_sender_contact"):
        address, when = email(row["code"]), utc(row["date_update"])
        if row["consent_status"] == "A" and row["type_id"] == 1 and address and when:
            person = who.of_email[address]
            answered[person] = max(when, answered.get(person, when))
    found = {}
    for person, row in who.rows.items():
        if row["first_sent_at"] is None:
            continue
        signs = [row["first_sent_at"], row["last_opened_at"], row["last_clicked_at"], answered.get(person)]
        last = max(sign for sign in signs if sign)
        if last <= at - INACTIVE and row["last_sent_at"] >= last:
            found[person] = last + INACTIVE
    return found


def never_opened(raw: Raw, who: People, at: datetime) -> dict[str, Any]:
    """Address → what to do next."""
    steps = {
        person: "exclude" if since + (GIVEN_UP - INACTIVE) <= at else "reactivate"
        for person, since in inactive(raw, who, at).items()
    }
    return who.segment(steps)


def opened_and_silent(who: People, at: datetime) -> dict[str, Any]:
    """Address → the day of the open."""
    later: dict[str, list[datetime]] = defaultdict(list)
    for row in who.conversions:
        later[row["person_id"]].append(row["converted_at"])
    for row in who.visits:
        later[row["person_id"]].append(row["visited_at"])
    found = {}
    for person, row in who.rows.items():
        opened = row["last_opened_at"]
        if opened is None or not SILENT <= at - opened < SILENT_FORGOTTEN:
            continue
        if all(moment < opened for moment in [*later[person], *filter(None, [row["last_clicked_at"]])]):
            found[person] = opened.astimezone(UTC).date()
    return who.segment(found)


def readers(raw: Raw, who: People, at: datetime, category: str) -> set[str]:
    """Addresses of those who chose the category and still read."""
    wanted = preferences(raw, who)
    asleep = inactive(raw, who, at)
    return {
        row["primary_email"]
        for person, row in who.rows.items()
        if row["primary_email"] and wanted.get((person, category)) == "subscribed" and person not in asleep
    }
