"""The marts' figures once more, in plain Python straight from the raw tables.

Written from the definitions (DESIGN.md, dbt_project.yml) and not from the models: union-find instead of label
propagation, exact fractions instead of numerics, loops instead of joins. What both agree on is probably right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row
from tests.dbt.independent_credits import LOOKBACK, MODELS, Conversion, Touch, conversions, credited
from tests.dbt.independent_identity import Node, People, email, identify, serialized_integer

ZONE = ZoneInfo("Europe/Moscow")
MACHINE_OPEN = timedelta(seconds=60)
HUMAN_CLICK = timedelta(seconds=300)
SCAN_WINDOW = timedelta(seconds=10)
SCAN_AT_ONCE = timedelta(seconds=20)
DOUBTFUL_OPEN = timedelta(seconds=300)
DOUBTFUL_LINKS = timedelta(seconds=2)
DOUBTFUL_CLICK = timedelta(seconds=5)
UNSUBSCRIBE_LINK = re.compile("unsub|optout|opt-out|otpis", re.IGNORECASE)
CROWD = 3
CROWD_WINDOW = timedelta(seconds=30)
RANKS = ("erased", "complaint", "hard_bounce", "unsubscribed", "no_consent")
SOFT_LIMIT = 3
BOUNCE_RANKS = ("hard", "block", "soft", "unknown")
LATEST = datetime.max.replace(tzinfo=UTC)
VALUE_TYPES = {"MAILING": 1, "HOME": 2}

Row = dict[str, Any]


@dataclass(slots=True)
class Message:
    """One letter to one address that was attempted."""

    letter: str | None
    person: Node | None
    sent_at: datetime | None
    sent: bool
    delivered: bool
    bounced: bool
    crowd: tuple[object, str | None] = (None, None)
    """The dispatch and the domain it went to."""
    bounce_kind: str | None = None


@dataclass(slots=True)
class Act:
    """An open or a click."""

    order: tuple[datetime, str, int, str]
    message: object
    letter: str | None
    person: Node | None
    at: datetime
    url: str | None
    proxy: bool | None
    machine: bool = False
    doubtful: bool = False

    @property
    def human(self) -> bool:
        return not self.machine and not self.doubtful


@dataclass(frozen=True, slots=True)
class Credit:
    """One conversion × model × touch."""

    letter: str | None
    credit: Fraction
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Mail:
    """All messages and what was done with them, judged."""

    letters: list[str]
    messages: Mapping[object, Message]
    clicks: list[Act]
    opens: list[Act]
    departures: Mapping[str, list[tuple[object, str | None]]]
    """(message, letter) of every unsubscribe and complaint."""
    untracked: frozenset[str]
    """Letters that cannot tell of opens and clicks."""


class Evidence(NamedTuple):
    """Something that speaks against mailing an address."""

    email: str | None
    state: str
    at: datetime | None
    """None: nobody knows when it happened."""
    noted_at: datetime | None
    """`at`, or the time of the row that tells it."""


@dataclass(slots=True)
class Figures:
    """What the marts should say."""

    mail: Mail
    identified: People
    letters: dict[str, Row] = field(default_factory=dict)
    credits: dict[str, Credit] = field(default_factory=dict)
    suppressed: dict[str, str] = field(default_factory=dict)
    suppressed_since: dict[str, datetime | None] = field(default_factory=dict)
    conversions: list[Conversion] = field(default_factory=list)
    people: set[frozenset[str]] = field(default_factory=set)
    """The e-mails of every person who has more than one."""
    machine_opens: int = 0
    machine_clicks: int = 0


class Raw:
    """The raw tables of one database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def rows(self, table: str, *, gone: bool = False) -> list[Row]:
        """All rows, with times in UTC; `gone`: also those deleted at the source."""
        where = "" if gone else " where _deleted_at is null"
        with psycopg.connect(self._dsn, row_factory=dict_row, options="-c timezone=UTC") as connection:
            return connection.execute(f"select * from {table}{where}").fetchall()


def figures(dsn: str) -> Figures:
    """Everything, from the raw tables of one database."""
    return _figures(Raw(dsn))


def _mail(raw: Raw, people: People) -> Mail:
    letters, letter_of_posting = _letters(raw)
    messages = _messages(raw, people, letters, letter_of_posting)
    clicks, opens = _acts(raw, people, messages, letters, letter_of_posting)
    _judge(messages, clicks, opens)
    departures = _departures(raw, messages, letters, letter_of_posting)
    return Mail(letters, messages, clicks, opens, departures, _untracked(raw, letters, messages, opens))


def _figures(raw: Raw) -> Figures:
    people = identify(raw)
    told = _mail(raw, people)
    result = Figures(told, people)
    result.people = {frozenset(group) for group in people.groups() if len(group) > 1}
    for address, evidence in _suppressed(raw, people).items():
        result.suppressed[address], result.suppressed_since[address] = evidence.state, evidence.noted_at
    result.machine_clicks = sum(act.machine for act in told.clicks)
    result.machine_opens = sum(act.machine for act in told.opens)
    result.conversions = conversions(raw, people.known)
    result.credits = _credits(result.conversions, told.clicks)
    result.letters = {
        letter: _performance(letter, told.messages, told.opens, told.clicks, told.departures) for letter in told.letters
    }
    for credit_id, credit in result.credits.items():
        if credit.letter is None:
            continue
        kind, _, model, _ = credit_id.split(":")
        row = result.letters[credit.letter]
        if kind == "lead_created":
            row[f"leads_{model}"] += credit.credit
        if kind == "deal_won":
            row[f"deals_{model}"] += credit.credit
            row[f"revenue_{model}"] += credit.amount
    return result


# --- people ---------------------------------------------------------------------------------------


def utc(naive: datetime | None) -> datetime | None:
    """A site time in UTC."""
    return None if naive is None else naive.replace(tzinfo=ZONE).astimezone(UTC)


def _addresses(raw: Raw) -> dict[int, Row]:
    rows = {row["id"]: row for row in raw.rows("raw_bitrix.b_sender_contact", gone=True)}
    for row in rows.values():
        row["email"] = email(row["code"]) if row["type_id"] == 1 else None
    return rows


def _crm_contact(fields: str | None) -> int | None:
    return serialized_integer(fields, "CRM_CONTACT_ID")


# --- letters, messages, events --------------------------------------------------------------------


def _letters(raw: Raw) -> tuple[list[str], dict[int, tuple[str | None, bool]]]:
    """All letter ids, and for every posting its letter and whether it is an e-mail letter."""
    chains = {row["id"]: row["message_code"] == "mail" for row in raw.rows("raw_bitrix.b_sender_mailing_chain")}
    letters = [f"bitrix:{number}" for number, is_mail in chains.items() if is_mail]
    letters += [f"{r['esp']}:{r['account']}:{r['external_id']}" for r in raw.rows("raw_esp.campaigns")]
    postings = {}
    for row in raw.rows("raw_bitrix.b_sender_posting"):
        is_mail = chains.get(row["mailing_chain_id"])
        postings[row["id"]] = (f"bitrix:{row['mailing_chain_id']}" if is_mail else None, is_mail is not False)
    return letters, postings


def _untracked(
    raw: Raw, letters: Iterable[str], messages: Mapping[object, Message], opens: Iterable[Act]
) -> frozenset[str]:
    off = {
        row["message_id"]
        for row in raw.rows("raw_bitrix.b_sender_message_field")
        if row["code"] == "TRACK_MAIL" and row["value"] == "N"
    }
    found = {
        f"bitrix:{row['id']}"
        for row in raw.rows("raw_bitrix.b_sender_mailing_chain")
        if row["message_id"] and int(row["message_id"]) in off
    }
    told = {
        act.letter.rpartition(":")[0]
        for act in opens
        if act.letter and act.message is not None and messages[act.message].delivered
    }
    return frozenset(found | {each for each in letters if each.rpartition(":")[0] not in told | {"bitrix"}})


def _domain(address: str | None) -> str | None:
    return address.split("@")[1] if address else None


def _esp_message(row: Row) -> object:
    return (row["esp"], row["account"], row["campaign_id"], email(row["email"]))


def _messages(
    raw: Raw, people: People, letters: Iterable[str], postings: Mapping[int, tuple[str | None, bool]]
) -> dict[object, Message]:
    addresses = _addresses(raw)
    known = set(letters)
    messages: dict[object, Message] = {}
    dead = {email(row["code"]) for row in raw.rows("raw_bitrix.b_main_mail_blacklist") if row["category_id"] == 0}
    for row in raw.rows("raw_bitrix.b_sender_posting_recipient"):
        letter, is_mail = postings.get(row["posting_id"], (None, True))
        address = addresses.get(row["contact_id"])
        if row["status"] not in ("N", "E") or not is_mail or (address and address["type_id"] != 1):
            continue
        contact = _crm_contact(row["fields"])
        person: Node | None = None
        if address and address["email"]:
            person = people.find(("email", address["email"]))
        elif contact:
            person = people.find(("contact", contact))
        ok = row["status"] == "N"
        domain = _domain(address["email"]) if address else None
        crowd = (row["posting_id"], domain)
        kind = None if ok else "hard" if address and address["email"] in dead else "unknown"
        messages[row["id"]] = Message(letter, person, utc(row["date_sent"]), ok, ok, not ok, crowd, kind)
    bounced: dict[object, str] = {}
    for row in raw.rows("raw_esp.events"):
        key = _esp_message(row)
        if row["event_type"] == "bounced":
            kind = row["bounce_kind"] or "unknown"
            bounced[key] = min(kind, bounced.get(key, kind), key=BOUNCE_RANKS.index)
        elif row["event_type"] == "sent":
            letter = f"{row['esp']}:{row['account']}:{row['campaign_id']}"
            person = people.find(("email", email(row["email"])))
            earlier = messages.get(key)
            at = min(row["occurred_at"], earlier.sent_at) if earlier and earlier.sent_at else row["occurred_at"]
            crowd = (letter, _domain(email(row["email"])))
            messages[key] = Message(letter if letter in known else None, person, at, True, True, False, crowd)
    for key in bounced & messages.keys():
        messages[key].delivered, messages[key].bounced, messages[key].bounce_kind = False, True, bounced[key]
    return messages


def _acts(
    raw: Raw,
    people: People,
    messages: Mapping[object, Message],
    letters: Iterable[str],
    postings: Mapping[int, tuple[str | None, bool]],
) -> tuple[list[Act], list[Act]]:
    known = set(letters)
    clicks, opens = [], []
    for table, into in (("click", clicks), ("read", opens)):
        for row in raw.rows(f"raw_bitrix.b_sender_posting_{table}"):
            message = messages.get(row["recipient_id"])
            letter = message.letter if message and message.letter else postings.get(row["posting_id"], (None, True))[0]
            at = utc(row["date_insert"])
            assert at is not None
            key = row["recipient_id"] if message else None
            person = message.person if message else None
            into.append(Act((at, "bitrix", row["id"], ""), key, letter, person, at, row.get("url"), None))
    for row in raw.rows("raw_esp.events"):
        if row["event_type"] not in ("opened", "clicked"):
            continue
        letter = f"{row['esp']}:{row['account']}:{row['campaign_id']}"
        order = (row["occurred_at"], row["esp"], 0, f"{row['esp']}:{row['account']}:{row['external_id']}")
        key = _esp_message(row)
        act = Act(
            order,
            key if key in messages else None,
            letter if letter in known else None,
            people.find(("email", email(row["email"]))),
            row["occurred_at"],
            row["url"],
            row["is_proxy"],
        )
        (clicks if row["event_type"] == "clicked" else opens).append(act)
    return clicks, opens


def _by_message(acts: Iterable[Act]) -> dict[object, list[Act]]:
    found: dict[object, list[Act]] = defaultdict(list)
    for act in acts:
        if act.message is not None:
            found[act.message].append(act)
    return found


def _judge(messages: Mapping[object, Message], clicks: list[Act], opens: list[Act]) -> None:
    for act in [*clicks, *opens]:
        act.machine = bool(act.proxy)
    clicks_of = _by_message(clicks)
    for key, own in clicks_of.items():
        _judge_bursts(own, messages[key].sent_at)
    scanned = {key: [act.at for act in own if act.machine and not act.proxy] for key, own in clicks_of.items()}
    for crowd, own in _crowds(messages, clicks).items():
        for act in _judge_crowd(own, sum(m.delivered and m.crowd == crowd for m in messages.values())):
            scanned[act.message].append(act.at)
    for act in clicks:
        sent_at = messages[act.message].sent_at if act.message is not None else None
        if act.proxy is None and sent_at is not None and act.at - sent_at <= DOUBTFUL_CLICK:
            act.doubtful = True
    for act in opens:
        if act.message is not None and not act.machine:
            _judge_open(
                act, messages[act.message].sent_at, clicks_of.get(act.message, []), scanned.get(act.message, [])
            )


def _judge_bursts(own: list[Act], sent_at: datetime | None) -> None:
    for start in own:
        near = [act for act in own if start.at <= act.at <= start.at + SCAN_WINDOW]
        links = {act.url for act in near if act.url}
        at_once = sent_at is not None and start.at <= sent_at + SCAN_AT_ONCE
        leaving = any(UNSUBSCRIBE_LINK.search(link) for link in links)
        if len(links) >= 3 or (len(links) >= 2 and (at_once or leaving)):
            for act in near:
                act.machine = True
        nearest = [act for act in near if act.at <= start.at + DOUBTFUL_LINKS]
        if len({act.url for act in nearest if act.url}) >= 2:
            for act in nearest:
                act.doubtful = True


def _crowds(messages: Mapping[object, Message], clicks: list[Act]) -> dict[tuple[object, str | None], list[Act]]:
    """Clicks by dispatch and domain, where so many letters were clicked that it may be a gateway's doing."""
    found: dict[tuple[object, str | None], list[Act]] = defaultdict(list)
    for act in clicks:
        if act.message is not None and None not in messages[act.message].crowd:
            found[messages[act.message].crowd].append(act)
    return {crowd: own for crowd, own in found.items() if len({act.message for act in own}) >= CROWD}


def _judge_crowd(own: list[Act], delivered: int) -> Iterator[Act]:
    """Marks the clicks of a domain's bursts; yields those that only now are a machine's."""
    first = {key: min(act.at for act in acts) for key, acts in _by_message(own).items()}
    for start in set(first.values()):
        count = sum(start <= at <= start + CROWD_WINDOW for at in first.values())
        if count < CROWD or 4 * count < delivered:
            continue
        for act in own:
            if start <= act.at <= start + CROWD_WINDOW:
                if 2 * count >= delivered and not act.machine:
                    act.machine = True
                    yield act
                act.doubtful = True


def _judge_open(act: Act, sent_at: datetime | None, own: list[Act], scanned: list[datetime]) -> None:
    if any(abs(at - act.at) <= SCAN_WINDOW for at in scanned):
        act.machine = True
        return
    if act.proxy is not None or sent_at is None or act.at - sent_at > DOUBTFUL_OPEN:
        return
    if any(click.human and act.at <= click.at <= act.at + HUMAN_CLICK for click in own):
        return
    act.machine = act.at - sent_at <= MACHINE_OPEN
    act.doubtful = not act.machine


def _departures(
    raw: Raw,
    messages: Mapping[object, Message],
    letters: Iterable[str],
    postings: Mapping[int, tuple[str | None, bool]],
) -> dict[str, list[tuple[object, str | None]]]:
    """(message, letter) of every unsubscribe and complaint."""
    known = set(letters)
    left: list[tuple[object, str | None]] = []
    complained: list[tuple[object, str | None]] = []
    address_of = {r["id"]: r["contact_id"] for r in raw.rows("raw_bitrix.b_sender_posting_recipient")}
    unsubscribed_at = []
    for row in raw.rows("raw_bitrix.b_sender_posting_unsub"):
        message = messages.get(row["recipient_id"])
        letter = message.letter if message and message.letter else postings.get(row["posting_id"], (None, True))[0]
        if message:
            left.append((row["recipient_id"], letter))
            unsubscribed_at.append((address_of[row["recipient_id"]], row["date_insert"], row["id"], left[-1]))
    for row in raw.rows("raw_bitrix.b_sender_abuse"):
        near = [
            (abs(at - row["date_insert"]), number, where)
            for address, at, number, where in unsubscribed_at
            if address == row["contact_id"] and abs(at - row["date_insert"]) <= timedelta(seconds=60)
        ]
        if near:
            complained.append(min(near)[2])
    for row in raw.rows("raw_esp.events"):
        letter = f"{row['esp']}:{row['account']}:{row['campaign_id']}"
        if row["event_type"] in ("unsubscribed", "complained") and _esp_message(row) in messages:
            where = letter if letter in known else None
            (left if row["event_type"] == "unsubscribed" else complained).append((_esp_message(row), where))
    return {"unsubscribed": left, "complained": complained}


def _performance(
    letter: str,
    messages: Mapping[object, Message],
    opens: list[Act],
    clicks: list[Act],
    departures: Mapping[str, list[tuple[object, str | None]]],
) -> Row:
    own = [message for message in messages.values() if message.letter == letter]

    def messages_with(acts: Iterable[Act], *, human: bool) -> int:
        return len(
            {
                act.message
                for act in acts
                if act.letter == letter
                and act.message is not None
                and messages[act.message].delivered
                and not (human and not act.human)
            }
        )

    def leavers(kind: str) -> int:
        return len({k for k, where in departures[kind] if where == letter and messages[k].delivered})

    row: Row = {
        "attempted_count": len(own),
        "sent_count": sum(message.sent for message in own),
        "delivered_count": sum(message.delivered for message in own),
        "bounced_count": sum(message.bounced for message in own),
        "opened_count": messages_with(opens, human=False),
        "opened_human_count": messages_with(opens, human=True),
        "clicked_count": messages_with(clicks, human=False),
        "clicked_human_count": messages_with(clicks, human=True),
        "unsubscribed_count": leavers("unsubscribed"),
        "complained_count": leavers("complained"),
    }
    for model in MODELS:
        row |= {f"leads_{model}": Fraction(0), f"deals_{model}": Fraction(0), f"revenue_{model}": Fraction(0)}
    return row


# --- credits --------------------------------------------------------------------------------------


def _credits(conversions: Iterable[Conversion], clicks: list[Act]) -> dict[str, Credit]:
    touches: dict[Node, list[Act]] = defaultdict(list)
    for act in sorted(clicks, key=lambda act: act.order):
        if not act.machine and act.person and act.letter:
            touches[act.person].append(act)
    credits: dict[str, Credit] = {}
    for each in conversions:
        earliest = each.at - LOOKBACK[each.kind]
        own = [act for act in touches.get(each.person, []) if earliest <= act.at <= each.at] if each.person else []
        for model in MODELS:
            key = f"{each.conversion}:{model}"
            if not own:
                credits[f"{key}:0"] = Credit(None, Fraction(1), Fraction(each.amount))
                continue
            parts = credited(model, each, [Touch(act.at) for act in own])
            for index, (act, (part, money)) in enumerate(zip(own, parts, strict=True), start=1):
                credits[f"{key}:{index}"] = Credit(act.letter, part, money)
    return credits


# --- suppression ----------------------------------------------------------------------------------


def evidence_of(raw: Raw, *, bitrix_only: bool = False) -> Iterator[Evidence]:
    """All evidence, in no order. `bitrix_only`: what the sender module knows."""
    yield from _bitrix_evidence(raw)
    if not bitrix_only:
        yield from _other_evidence(raw)


def _evidence(address: str | None, state: str, at: datetime | None, noted_at: datetime | None = None) -> Evidence:
    return Evidence(address, state, at, at or noted_at)


def _bitrix_evidence(raw: Raw) -> Iterator[Evidence]:
    addresses = _addresses(raw)
    recipients = {r["id"]: r for r in raw.rows("raw_bitrix.b_sender_posting_recipient", gone=True)}
    campaigns = {r["id"]: r["mailing_id"] for r in raw.rows("raw_bitrix.b_sender_posting")}
    reported = raw.rows("raw_bitrix.b_sender_abuse", gone=True)
    left: dict[tuple[int, int | None], datetime] = {}
    for row in raw.rows("raw_bitrix.b_sender_posting_unsub", gone=True):
        recipient = recipients.get(row["recipient_id"])
        address = addresses.get(recipient["contact_id"]) if recipient else None
        if address is None:
            continue
        at = utc(row["date_insert"])
        assert at is not None
        key = (address["id"], campaigns.get(row["posting_id"]))
        left[key] = max(at, left.get(key, at))
        yield _evidence(address["email"], "unsubscribed", at)
    for row in raw.rows("raw_bitrix.b_sender_mailing_subscription", gone=True):
        if row["is_unsub"] == "Y" and row["contact_id"] in addresses:
            at = left.get((row["contact_id"], row["mailing_id"]))
            yield _evidence(addresses[row["contact_id"]]["email"], "unsubscribed", at, utc(row["date_insert"]))
    complained = {row["contact_id"] for row in reported} | {email(row["contact_code"]) for row in reported}
    for row in addresses.values():
        made, changed = utc(row["date_insert"]), utc(row["date_update"])
        if row["is_unsub"] == "Y":
            yield _evidence(row["email"], "unsubscribed", changed, made)
        if row["consent_status"] == "D":
            yield _evidence(row["email"], "no_consent", changed, made)
        if row["blacklisted"] == "Y":
            is_complaint = row["id"] in complained or row["email"] in complained
            yield _evidence(row["email"], "complaint" if is_complaint else "unsubscribed", None, changed or made)
    for row in reported:
        yield _evidence(email(row["contact_code"]), "complaint", utc(row["date_insert"]))
    for row in raw.rows("raw_bitrix.b_main_mail_blacklist", gone=True):
        state = "hard_bounce" if row["category_id"] == 0 else "unsubscribed"
        yield _evidence(email(row["code"]), state, utc(row["date_insert"]))


def _other_evidence(raw: Raw) -> Iterator[Evidence]:
    left_at: dict[tuple[str, ...], datetime] = {}
    for row in raw.rows("raw_esp.events", gone=True):
        is_hard = row["event_type"] == "bounced" and row["bounce_kind"] == "hard"
        if is_hard or row["event_type"] in ("unsubscribed", "complained"):
            key = (row["esp"], row["account"], email(row["email"]), "cleaned" if is_hard else "unsubscribed")
            left_at[key] = max(row["occurred_at"], left_at.get(key, row["occurred_at"]))
    for row in raw.rows("raw_esp.contacts", gone=True):
        if row["status"] in ("cleaned", "unsubscribed"):
            state = "hard_bounce" if row["status"] == "cleaned" else "unsubscribed"
            key = (row["esp"], row["account"], email(row["email"]), row["status"])
            yield _evidence(email(row["email"]), state, left_at.get(key), row["changed_at"] or row["opted_in_at"])
    for row in raw.rows("raw_esp.events", gone=True):
        if row["event_type"] == "complained":
            yield _evidence(email(row["email"]), "complaint", row["occurred_at"])
        elif row["event_type"] == "unsubscribed":
            yield _evidence(email(row["email"]), "unsubscribed", row["occurred_at"])
        elif row["event_type"] == "bounced" and row["bounce_kind"] == "hard":
            yield _evidence(email(row["email"]), "hard_bounce", row["occurred_at"])
    cards = {row["id"]: utc(row["date_modify"] or row["date_create"]) for row in raw.rows("raw_bitrix.b_crm_contact")}
    for address, is_given, at, contact in crm_answers(raw):
        if not is_given:
            yield _evidence(address, "no_consent", at, cards[contact])
    for address, at in dead_mailboxes(raw).items():
        yield _evidence(address, "hard_bounce", at)


def preferred_emails(raw: Raw) -> dict[int, str]:
    """The address the sender module would pick of a contact."""
    found: dict[int, tuple[int, int, str]] = {}
    for row in raw.rows("raw_bitrix.b_crm_field_multi"):
        address = email(row["value"])
        if row["type_id"] == "EMAIL" and row["entity_id"] == "CONTACT" and address:
            rank = (VALUE_TYPES.get(row["value_type"], 3), row["id"], address)
            found[row["element_id"]] = min(rank, found.get(row["element_id"], rank))
    return {contact: address for contact, (_, _, address) in found.items()}


def crm_answers(raw: Raw) -> Iterator[tuple[str | None, bool, datetime | None, int]]:
    """(address, said yes, time if somebody wrote it down, contact) of every consent field that is filled in."""
    preferred = preferred_emails(raw)
    contacts = {row["id"] for row in raw.rows("raw_bitrix.b_crm_contact")}
    for row in raw.rows("raw_bitrix.b_uts_crm_contact"):
        if row["uf_crm_email_consent"] is not None and row["value_id"] in contacts:
            at = utc(row["uf_crm_email_consent_at"])
            yield preferred.get(row["value_id"]), bool(row["uf_crm_email_consent"]), at, row["value_id"]


def dead_mailboxes(raw: Raw) -> dict[str, datetime]:
    """Address → when it bounced softly for the third letter in a row."""
    letters: dict[str, dict[object, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in raw.rows("raw_esp.events"):
        address = email(row["email"])
        if address and row["campaign_id"] and row["event_type"] in ("sent", "delivered", "bounced"):
            letters[address][_esp_message(row)].append(row)
    found = {}
    for address, own in letters.items():
        bounces, delivered = [], []
        for events in own.values():
            bounced = [row for row in events if row["event_type"] == "bounced"]
            last = max((row["occurred_at"] for row in bounced), default=None)
            delivered += [
                row["occurred_at"]
                for row in events
                if last is None or (row["event_type"] == "delivered" and row["occurred_at"] > last)
            ]
            if bounced and all(row["bounce_kind"] == "soft" for row in bounced):
                bounces.append(last)
        run = sorted(at for at in bounces if at and at > max(delivered, default=datetime.min.replace(tzinfo=UTC)))
        if len(run) >= SOFT_LIMIT:
            found[address] = run[SOFT_LIMIT - 1]
    return found


def _suppressed(raw: Raw, people: People) -> dict[str, Evidence]:
    """Address → the strongest evidence: the state, then the address's own, then what is dated, then the earliest."""
    consents: dict[str, datetime] = {}
    for row in _addresses(raw).values():
        at = utc(row["date_update"])
        if row["consent_status"] == "A" and row["email"] and at and row["_deleted_at"] is None:
            consents[row["email"]] = at
    family = {member: group for group in people.groups() for member in group}
    found: dict[str, list[tuple[int, bool, bool, datetime, Evidence]]] = defaultdict(list)
    for evidence in evidence_of(raw):
        address, state, at, noted_at = evidence
        if address is None:
            continue
        others = set() if state == "hard_bounce" else family.get(address, set())
        for each in {address} | others:
            is_lifted = state not in RANKS[:2] and at and each in consents and consents[each] > at
            if not is_lifted:
                rank = RANKS.index(state)
                found[each].append((rank, each != address, at is None, noted_at or LATEST, evidence))
    return {address: min(standing, key=lambda one: one[:-1])[-1] for address, standing in found.items()}
