"""Who people are and what letters earned once more, in plain Python: cohorts, returns, models side by side, stories.

From the raw tables and what `independent` makes of them. A person is the identifier that union-find put first, no id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.dbt.independent import Act, Figures, Raw, email, utc
from tests.dbt.independent_credits import MODELS, Conversion
from tests.dbt.independent_engagement import letter_campaigns
from tests.dbt.independent_identity import SERVICES, Node, phone

Row = dict[str, Any]
DEAL = 2
MONTH = timedelta(days=30)
EMAIL_ORDER = ("MAILING", "HOME")
PHONE_ORDER = ("MAILING", "MOBILE")
STAGES = {2: "moved", 3: "won", 4: "lost", 5: "funnel_changed"}
STORY = timedelta(days=90)


# --- people ---------------------------------------------------------------------------------------------------------


def people(raw: Raw, figures: Figures) -> dict[Node, Row]:
    """What dim_person should say of everybody."""
    find = figures.identified.find
    members: dict[Node, list[Node]] = defaultdict(list)
    for component in figures.identified.components():
        for node in component:
            members[find(node)].append(node)
    contacts = {row["id"]: row for row in raw.rows("raw_bitrix.b_crm_contact")}
    users = {row["id"]: row for row in raw.rows("raw_bitrix.b_user") if (row["external_auth_id"] or "") not in SERVICES}
    ways = _ways(raw)
    subscribed = {email(row["email"]) for row in raw.rows("raw_esp.contacts") if row["status"] == "subscribed"}
    seen, letters = _sightings(raw, figures, contacts, users), _letters(figures)
    found: dict[Node, Row] = {}
    for person, nodes in members.items():
        cards = sorted(number for kind, number in nodes if kind == "contact" and number in contacts)  # type: ignore[type-var]
        accounts = [users[number] for kind, number in nodes if kind == "user" and number in users]
        accounts.sort(key=lambda row: (not (row["active"] == "Y" and row["blocked"] != "Y"), row["id"]))
        emails = {str(value) for kind, value in nodes if kind == "email"}
        phones = {str(value) for kind, value in nodes if kind == "phone"}
        on_cards = {kind: [way for card in cards for way in ways[kind, card]] for kind in ("EMAIL", "PHONE")}
        births = [contacts[card]["birthdate"] for card in cards[:1]]
        births += [row["personal_birthday"] for row in accounts[:1]]
        found[person] = {
            "primary_email": _first([*on_cards["EMAIL"], *sorted(emails & subscribed), *sorted(emails)], emails),
            "primary_phone": _first([*on_cards["PHONE"], *sorted(phones)], phones),
            "bitrix_contact_id": cards[0] if cards else None,
            "bitrix_user_id": accounts[0]["id"] if accounts else None,
            "birth_date": _day(next((born for born in births if born), None)),
            "first_seen_at": min(seen.get(person, ()), default=None),
            **letters.get(person, NO_LETTERS),
        }
    return found


def _day(moment: date | datetime | None) -> date | None:
    return moment.date() if isinstance(moment, datetime) else moment


def _first(candidates: Iterable[str | None], own: set[str]) -> str | None:
    return next((each for each in candidates if each in own), None)


def _ways(raw: Raw) -> dict[tuple[str, int], list[str | None]]:
    """Kind and contact → what stands on the card, in the order in which the sender module would take it."""
    countries = {row["fm_id"]: row["country_code"] for row in raw.rows("raw_bitrix.b_crm_field_multi_phone_country")}
    found: dict[tuple[str, int], list[tuple[int, int, str | None]]] = defaultdict(list)
    for row in raw.rows("raw_bitrix.b_crm_field_multi"):
        if row["entity_id"] == "CONTACT" and row["type_id"] in ("EMAIL", "PHONE"):
            is_email = row["type_id"] == "EMAIL"
            order = EMAIL_ORDER if is_email else PHONE_ORDER
            place = order.index(row["value_type"]) if row["value_type"] in order else len(order)
            value = email(row["value"]) if is_email else phone(row["value"], countries.get(row["id"]))
            found[row["type_id"], row["element_id"]].append((place, row["id"], value))
    return defaultdict(list, {key: [value for _, _, value in sorted(own)] for key, own in found.items()})


NO_LETTERS: Row = {"sent_count": 0} | dict.fromkeys(
    ("first_sent_at", "last_sent_at", "last_opened_at", "last_clicked_at")
)


def _letters(figures: Figures) -> dict[Node, Row]:
    mail = figures.mail
    sent: dict[Node, list[datetime]] = defaultdict(list)
    done: dict[tuple[Node, str], list[datetime]] = defaultdict(list)
    for message in mail.messages.values():
        if message.sent and message.person and message.sent_at:
            sent[message.person].append(message.sent_at)
    for name, acts in (("last_opened_at", mail.opens), ("last_clicked_at", mail.clicks)):
        for act in acts:
            if act.human and act.message is not None and (person := mail.messages[act.message].person):
                done[person, name].append(act.at)
    return {
        person: {
            "sent_count": len(sent[person]),
            "first_sent_at": min(sent[person], default=None),
            "last_sent_at": max(sent[person], default=None),
            **{name: max(done.get((person, name), ()), default=None) for name in ("last_opened_at", "last_clicked_at")},
        }
        for person in {*sent, *(person for person, _ in done)}
    }


def _sightings(
    raw: Raw, figures: Figures, contacts: Mapping[int, Row], users: Mapping[int, Row]
) -> dict[Node, list[datetime]]:
    seen: dict[Node, list[datetime]] = defaultdict(list)

    def see(node: Node | None, at: datetime | None) -> None:
        if node is not None and at is not None:
            seen[figures.identified.find(node)].append(at)

    for number, row in contacts.items():
        see(("contact", number), utc(row["date_create"]))
    for row in raw.rows("raw_bitrix.b_crm_lead"):
        see(("lead", row["id"]), utc(row["date_create"]))
    for number, row in users.items():
        see(("user", number), utc(row["date_register"]))
    for row in raw.rows("raw_bitrix.b_sender_contact"):
        if row["type_id"] == 1 and (address := email(row["code"])):
            see(("email", address), utc(row["date_insert"]))
    for row in raw.rows("raw_esp.contacts"):
        see(("email", email(row["email"])), row["opted_in_at"] or row["changed_at"])
    for message in figures.mail.messages.values():
        see(message.person, message.sent_at)
    for act in (*figures.mail.opens, *figures.mail.clicks):
        if act.message is not None:
            see(figures.mail.messages[act.message].person, act.at)
    return seen


def event_id(act: Act, kind: str) -> str:
    """The id of an open or click in fct_email_events."""
    return act.order[3] or f"bitrix:{kind}:{act.order[2]}"


# --- what letters earned --------------------------------------------------------------------------------------------


def sales(raw: Raw, figures: Figures) -> list[Conversion]:
    """Won deals, and paid orders that are not the money of one."""
    won = {_number(each) for each in figures.conversions if each.kind == "deal_won"}
    of_deals = {
        row["order_id"]
        for row in raw.rows("raw_bitrix.b_crm_order_entity")
        if row["owner_type_id"] == DEAL and row["owner_id"] in won
    }
    return [
        each
        for each in figures.conversions
        if each.kind == "deal_won" or (each.kind == "order_paid" and _number(each) not in of_deals)
    ]


def _number(conversion: Conversion) -> int:
    return int(conversion.conversion.rpartition(":")[2])


def cohorts(raw: Raw, figures: Figures) -> dict[tuple[str, int], Row]:
    """mart_cohort_revenue, by first letter and month since it."""
    firsts: dict[Node, tuple[datetime, str]] = {}
    for message in figures.mail.messages.values():
        if message.sent and message.person and message.letter and message.sent_at:
            own = (message.sent_at, message.letter)
            firsts[message.person] = min(own, firsts.get(message.person, own))
    bought: dict[tuple[str, int], list[Conversion]] = defaultdict(list)
    for each in sales(raw, figures):
        if each.person in firsts and each.at >= firsts[each.person][0]:
            at, letter = firsts[each.person]
            bought[letter, (each.at - at) // MONTH].append(each)
    found: dict[tuple[str, int], Row] = {}
    for letter in {letter for _, letter in firsts.values()}:
        starts = [at for at, its in firsts.values() if its == letter]
        to_date = Decimal(0)
        for month in sorted({0} | {month for its, month in bought if its == letter}):
            own_sales = bought.get((letter, month), [])
            revenue = sum((each.amount for each in own_sales), Decimal(0))
            to_date += revenue
            found[letter, month] = {
                "began_at": min(starts),
                "people_count": len(starts),
                "buyer_count": len({each.person for each in own_sales}),
                "sale_count": len(own_sales),
                "revenue": revenue,
                "revenue_to_date": to_date,
            }
    return found


def returns(raw: Raw, figures: Figures) -> dict[tuple[str, str], dict[str, Fraction]]:
    """What mart_letter_roi says a letter earned, by letter and model."""
    revenue = {each.conversion for each in sales(raw, figures)}
    names = {"lead_created": "leads", "deal_won": "deals", "order_paid": "orders"}
    found = {
        (letter, model): dict.fromkeys((*names.values(), "revenue"), Fraction(0))
        for letter in figures.mail.letters
        for model in MODELS
    }
    for key, credit in figures.credits.items():
        conversion, model, _ = key.rsplit(":", 2)
        kind = conversion.split(":")[0]
        if credit.letter is None:
            continue
        if kind in names:
            found[credit.letter, model][names[kind]] += credit.credit
        if conversion in revenue:
            found[credit.letter, model]["revenue"] += credit.amount
    return found


def side_by_side(raw: Raw, figures: Figures) -> dict[tuple[str, str | None], dict[str, Fraction]]:
    """The rule models of mart_attribution_by_model, by conversion type and campaign."""
    campaigns = letter_campaigns(raw)
    found: dict[tuple[str, str | None], dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for key, credit in figures.credits.items():
        kind, _, model, _ = key.split(":")
        sums = found[kind, campaigns[credit.letter] if credit.letter else None]
        sums[f"credit_{model}"] += credit.credit
        sums[f"amount_{model}"] += credit.amount
    return found


def stories(raw: Raw, figures: Figures, at: datetime) -> dict[tuple[int, str], Row]:
    """The steps of mart_deal_explained, by deal and reference; of letters only opens and clicks."""
    told = {each.conversion: each for each in figures.conversions}
    of_person: dict[Node, list[tuple[datetime, str, str, Decimal | None]]] = defaultdict(list)
    for each in figures.conversions:
        if each.person and each.kind not in ("deal_created", "deal_won"):
            of_person[each.person].append((each.at, each.kind, each.conversion, each.amount))
    for word, kind, acts in (("opened", "open", figures.mail.opens), ("clicked", "click", figures.mail.clicks)):
        for act in acts:
            if act.person and not act.machine:
                of_person[act.person].append((act.at, f"letter_{word}", event_id(act, kind), None))
    history: dict[int, list[Row]] = defaultdict(list)
    for row in raw.rows("raw_bitrix.b_crm_deal_stage_history"):
        history[row["owner_id"]].append(row)
    found: dict[tuple[int, str], Row] = {}
    for deal in raw.rows("raw_bitrix.b_crm_deal"):
        if deal["is_recurring"] != "Y":
            number = deal["id"]
            made, won = told.get(f"deal_created:{number}"), told.get(f"deal_won:{number}")
            steps = [
                *_stages(history[number], won),
                *((e.at, e.kind, e.conversion, e.amount) for e in (made, won) if e),
            ]
            if made and made.person:
                until = won.at if won else at
                steps += [step for step in of_person[made.person] if made.at - STORY <= step[0] <= until]
            for moment, step, reference, amount in steps:
                found[number, reference] = {"happened_at": moment, "step": step, "amount": amount}
    return found


def _stages(history: Iterable[Row], won: Conversion | None) -> Iterator[tuple[datetime, str, str, None]]:
    """All moves but the making, and but the win that is told as the conversion."""
    for row in history:
        moment = utc(row["created_time"])
        assert moment is not None
        if row["type_id"] in STAGES and not (won and row["type_id"] == 3 and moment == won.at):
            yield moment, f"stage_{STAGES[row['type_id']]}", f"stage_change:{row['id']}", None
