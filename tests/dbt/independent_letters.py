"""Letters, their links and what they brought once more, in plain Python: a parser and loops, no patterns and joins.

People, messages and the verdicts on clicks are taken as they are built; other tests hold those against the raw tables.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg.rows import dict_row
from tests.dbt.independent import utc

Row = dict[str, Any]
Entity = tuple[str, str]
Found = tuple[str | None, str | None]
"""The letter and the tier."""

TAGS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
WINDOW = timedelta(days=90)
LATE = timedelta(hours=1)
CARDS = {1: "lead", 2: "deal", 14: "order"}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = (dict(attrs).get("href") or "").strip() if tag in ("a", "area") else ""
        if href:
            self.found.add(href)


def links_of(body: str) -> set[str]:
    """The addresses of all links in an HTML text."""
    parser = _Links()
    parser.feed(body)
    return parser.found


@dataclass(slots=True)
class _Signal:
    """Something that may tell which letter brought a lead, deal, order or visit."""

    at: datetime
    recipient: int | None = None
    letter_number: int | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Letter:
    name: str
    number: str
    first_sent_at: datetime | None
    tags: dict[str, str]

    def speaks_as(self, signal: _Signal) -> bool:
        """No source or medium that contradicts the letter's."""
        pairs = [(signal.tags.get(tag), self.tags.get(tag)) for tag in ("utm_source", "utm_medium")]
        return all(not theirs or not own or theirs.lower() == own.lower() for theirs, own in pairs)

    def has_tags_of(self, signal: _Signal) -> bool:
        """The same campaign, and no other tag that contradicts."""
        theirs, own = signal.tags.get("utm_campaign"), self.tags.get("utm_campaign")
        contents = {signal.tags.get("utm_content"), self.tags.get("utm_content")} - {None}
        return bool(theirs and own and theirs.lower() == own.lower() and self.speaks_as(signal) and len(contents) < 2)

    def was_sent_by(self, at: datetime) -> bool:
        return self.first_sent_at is not None and self.first_sent_at <= at


class Trail:
    """Which letter brought what, from the raw tables of one database."""

    def __init__(self, dsn: str) -> None:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            connection.execute("set time zone 'UTC'")
            self._connection = connection
            self._read()

    def _rows(self, table: str) -> list[Row]:
        where = " where _deleted_at is null" if table.startswith("raw_") else ""
        return self._connection.execute(f"select * from {table}{where}").fetchall()

    def _read(self) -> None:
        self.letters = list(self._letters())
        self._letter_of_posting = {
            row["id"]: f"bitrix:{row['mailing_chain_id']}" for row in self._rows("raw_bitrix.b_sender_posting")
        }
        recipients = self._connection.execute(
            "select id, posting_id, date_sent from raw_bitrix.b_sender_posting_recipient"
        ).fetchall()
        self._recipients = {row["id"]: (row["posting_id"], utc(row["date_sent"])) for row in recipients}
        self._messages: dict[tuple[str, str], list[tuple[str, datetime]]] = defaultdict(list)
        for row in self._rows("intermediate.int_messages"):
            if row["person_id"] and row["letter_id"] and row["sent_at"]:
                key = (row["person_id"], row["letter_id"])
                self._messages[key].append((row["message_id"], row["sent_at"]))
        self._clicks: dict[str, list[datetime]] = defaultdict(list)
        for row in self._rows("intermediate.int_clicks_judged"):
            if not row["is_machine"]:
                self._clicks[row["message_id"]].append(row["occurred_at"])
        self._people = {
            (row["card_type"], row["card_id"]): row["person_id"]
            for row in self._rows("intermediate.int_people_crm_cards")
        }
        self.found = {entity: self._find(*known) for entity, known in self._entities()}

    def _letters(self) -> Iterator[_Letter]:
        began: dict[int, datetime] = {}
        for row in self._rows("raw_bitrix.b_sender_posting"):
            at = utc(row["date_send"])
            if at is not None:
                began[row["mailing_chain_id"]] = min(at, began.get(row["mailing_chain_id"], at))
        campaigns = {row["id"]: row["name"] for row in self._rows("raw_bitrix.b_sender_mailing")}
        tags: dict[int, dict[str, str]] = defaultdict(dict)
        for row in self._rows("raw_bitrix.b_sender_message_utm"):
            tags[row["message_id"]][row["code"].lower()] = row["value"]
        for row in self._rows("raw_bitrix.b_sender_mailing_chain"):
            if row["message_code"] == "mail":
                name = campaigns.get(row["mailing_id"]) or ""
                own = {tag: value.replace("%campaign%", name) for tag, value in tags[int(row["message_id"])].items()}
                yield _Letter(f"bitrix:{row['id']}", str(row["id"]), began.get(row["id"]), own)
        for row in self._rows("raw_esp.campaigns"):
            own = {"utm_campaign": row["utm_campaign"]} if row["utm_campaign"] else {}
            name = f"{row['esp']}:{row['account']}:{row['external_id']}"
            yield _Letter(name, row["external_id"], row["sent_at"], own)

    # --- what may tell ----------------------------------------------------------------------------

    def _visits(self) -> dict[int, _Signal]:
        return {row["id"]: _visit(row) for row in self._rows("raw_bitrix.b_crm_tracking_trace")}

    def _entities(self) -> Iterator[tuple[Entity, tuple[str | None, list[_Signal]]]]:
        visits = self._visits()
        traces: dict[tuple[str, int], set[int]] = defaultdict(set)
        for row in self._rows("raw_bitrix.b_crm_tracking_trace_entity"):
            if row["entity_type_id"] in CARDS and row["trace_id"] in visits:
                traces[CARDS[row["entity_type_id"]], row["entity_id"]].add(row["trace_id"])
        tags: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for row in self._rows("raw_bitrix.b_crm_utm"):
            if row["entity_type_id"] in (1, 2):
                tags[CARDS[row["entity_type_id"]], row["entity_id"]][row["code"].lower()] = row["value"]
        people = self._visitors()
        for number, visit in visits.items():
            yield ("visit", str(number)), (people.get(number), [visit])
        for row in self._rows("raw_bitrix.b_crm_lead"):
            key, made = ("lead", row["id"]), utc(row["date_create"])
            own = {visits[trace].at: visits[trace] for trace in sorted(traces[key])}
            yield ("lead", str(row["id"])), (self._people.get(key), _told(own.values(), tags.get(key), made))
        for row in self._rows("raw_bitrix.b_crm_deal"):
            if row["is_recurring"] == "Y":
                continue
            key, lead, made = ("deal", row["id"]), ("lead", row["lead_id"]), utc(row["date_create"])
            own = {visits[trace].at: visits[trace] for trace in sorted(traces[key] | traces.get(lead, set()))}
            person = self._people.get(("contact", row["contact_id"])) or self._people.get(lead)
            yield ("deal", str(row["id"])), (person, _told(own.values(), tags.get(key), made))
        yield from self._orders(visits, traces)

    def _visitors(self) -> dict[int, str]:
        """Whose card a visit became: the contact, the lead, the deal's contact, the order's buyer, in this order."""
        owners = {("deal", row["id"]): ("contact", row["contact_id"]) for row in self._rows("raw_bitrix.b_crm_deal")}
        owners |= {("order", row["id"]): ("user", row["user_id"]) for row in self._rows("raw_bitrix.b_sale_order")}
        known: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        for row in self._rows("raw_bitrix.b_crm_tracking_trace_entity"):
            kind = {**CARDS, 3: "contact"}.get(row["entity_type_id"], "other")
            card = (kind, row["entity_id"])
            owner = owners.get(card, card)
            if owner[0] in ("contact", "lead", "user") and (person := self._people.get(owner)):
                known[row["trace_id"]].append((("contact", "lead", "deal", "order").index(kind), owner[1], person))
        return {trace: min(people)[2] for trace, people in known.items()}

    def _orders(
        self, visits: dict[int, _Signal], traces: dict[tuple[str, int], set[int]]
    ) -> Iterator[tuple[Entity, tuple[str | None, list[_Signal]]]]:
        letters = {
            row["context_id"]: int(row["value"])
            for row in self._rows("raw_bitrix.b_conv_context_attribute")
            if row["name"] == "sender_chain_source"
        }
        native = {
            int(row["item"]): letters[row["context_id"]]
            for row in self._rows("raw_bitrix.b_conv_context_entity_item")
            if row["context_id"] in letters
        }
        orders = {row["id"]: row for row in self._rows("raw_bitrix.b_sale_order")}
        # an archived order has left its table
        archived = {
            row["order_id"]: {**row, "id": row["order_id"]} for row in self._rows("raw_bitrix.b_sale_order_archive")
        }
        for row in ({**archived, **orders}).values():
            made = utc(row["date_insert"])
            assert made is not None
            told = _told([visits[trace] for trace in sorted(traces["order", row["id"]])], None, made)
            if row["id"] in native:
                told.append(_Signal(made, letter_number=native[row["id"]]))
            yield ("order", str(row["id"])), (self._people.get(("user", row["user_id"])), told)

    # --- what it tells ----------------------------------------------------------------------------

    def _find(self, person: str | None, signals: list[_Signal]) -> Found:
        newest_first = sorted(signals, key=lambda signal: signal.at, reverse=True)
        there = {letter.name for letter in self.letters}
        for tier, ask in (
            ("recipient_id", self._by_recipient),
            ("letter_id_in_utm", self._by_letter_id),
            ("native_order", self._by_order),
        ):
            for signal in newest_first:
                if (letter := ask(signal)) in there:
                    return letter, tier
        # who came by a letter that is no more came by no other one
        if any(self._by_recipient(signal) for signal in signals):
            return None, None
        for signal in newest_first:
            if letter := self._by_email(person, signal):
                return letter, "utm_email_time"
        for signal in newest_first:
            alike = {one.name for one in self.letters if one.has_tags_of(signal) and one.was_sent_by(signal.at)}
            if len(alike) == 1:
                return alike.pop(), "utm_only"
        return None, None

    def _by_recipient(self, signal: _Signal) -> str | None:
        posting, sent_at = self._recipients.get(signal.recipient or 0, (None, None))
        if posting is None or (sent_at is not None and sent_at > signal.at):
            return None
        return self._letter_of_posting.get(posting, "of a run that is no more")

    def _by_letter_id(self, signal: _Signal) -> str | None:
        found = re.fullmatch(r"(?:(?:letter|sender_chain_item)[_-])?([0-9]+)", signal.tags.get("utm_content", ""))
        for letter in self.letters:
            is_named = found is not None and letter.name == f"bitrix:{found.group(1)}"
            if is_named and letter.speaks_as(signal) and letter.was_sent_by(signal.at):
                return letter.name
        return None

    def _by_order(self, signal: _Signal) -> str | None:
        wanted = f"bitrix:{signal.letter_number}"
        return next((one.name for one in self.letters if one.name == wanted and one.was_sent_by(signal.at)), None)

    def _by_email(self, person: str | None, signal: _Signal) -> str | None:
        if person is None:
            return None
        received: list[tuple[datetime | None, datetime, str]] = []
        for letter in self.letters:
            if not letter.has_tags_of(signal):
                continue
            for message, sent_at in self._messages.get((person, letter.name), ()):
                if sent_at <= signal.at:
                    clicked = max((at for at in self._clicks.get(message, ()) if at <= signal.at), default=None)
                    if (clicked or sent_at) >= signal.at - WINDOW:
                        received.append((clicked, sent_at, letter.name))
        clicked_ones = [(clicked, sent_at, letter) for clicked, sent_at, letter in received if clicked is not None]
        if clicked_ones:
            return max(clicked_ones)[2]
        names = {letter for _, _, letter in received}
        return names.pop() if len(names) == 1 else None


def _told(visits: Any, tags: dict[str, str] | None, made: datetime | None) -> list[_Signal]:
    assert made is not None
    told = [visit for visit in visits if visit.at <= made + LATE]
    return [*told, _Signal(made, tags=tags)] if tags else told


def _visit(row: Row) -> _Signal:
    created = utc(row["date_create"])
    assert created is not None
    pages = [page for page in _elements(row["pages_raw__json"]) if not page.get("IS_REF")]
    listed = row["tags_raw__json"] if isinstance(row["tags_raw__json"], dict) else {}
    tags = listed.get("list") if isinstance(listed.get("list"), dict) else {}
    for page in reversed(pages):
        query = dict(parse_qsl(urlsplit(page["URL"]).query))
        own = {tag: query[tag] for tag in TAGS if query.get(tag)}
        recipient = query.get("bx_sender_conversion_id", "")
        if own or recipient:
            at = min(_moment(page.get("DATE_INSERT")) or created, created)
            return _Signal(at, int(recipient) if recipient.isdigit() else None, None, own or _filled(tags))
    first = _moment(pages[0].get("DATE_INSERT")) if pages else None
    return _Signal(min(_moment(listed.get("ts")) or first or created, created), tags=_filled(tags))


def _filled(tags: Any) -> dict[str, str]:
    return {tag: tags[tag] for tag in TAGS if tags.get(tag)}


def _elements(value: Any) -> list[Row]:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, dict):
        return list(value.values())
    return value or []


def _moment(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and seconds >= 100_000_000 else None
