"""Who is who, once more, in plain Python straight from the raw tables: union-find and sets instead of contraction.

Written from the definitions: an e-mail or phone of more people than the limit joins nobody, one on a company's card
none of several people of it; a deleted card keeps its last addresses, a card that is still there only those it has.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol

SHARED_LIMIT = 3
SERVICES = frozenset(
    [
        "bot",
        "email",
        "imconnector",
        "sale",
        "saleanonymous",
        "shop",
        "replica",
        "call",
        "document_editor",
        "__controller",
    ]
)
COUNTRIES = {"RU": ("7", 10, "8"), "BY": ("375", 9, "80"), "UA": ("380", 9, "0")}
CARD_TYPES = {1: "lead", 3: "contact", 4: "company"}
SENDER_CARD_TYPES = {4: "company", 5: "contact", 10: "lead"}

Row = dict[str, Any]
Node = tuple[str, object]
"""('contact' | 'lead' | 'company' | 'user', id) or ('email' | 'phone', normalised)."""


class RawTables(Protocol):
    """The raw tables of a warehouse."""

    def rows(self, table: str, *, gone: bool = False) -> list[Row]:
        """All rows of a table, with `gone` also the deleted ones."""


class People:
    """Union-find over identifiers."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def find(self, node: Node) -> Node:
        """The identifier that stands for everything `node` is joined with."""
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, one: Node, other: Node) -> None:
        """Makes two identifiers one person's."""
        self._parent[self.find(one)] = self.find(other)

    def knows(self, node: Node) -> bool:
        """Whether anything ever named it."""
        return node in self._parent

    def known(self, kind: str, identifier: object) -> Node | None:
        """The person of a card or an e-mail, None when nobody is known by it."""
        node = (kind, identifier)
        return self.find(node) if identifier and self.knows(node) else None

    def components(self) -> set[frozenset[Node]]:
        """All people, each as the set of their identifiers."""
        found: dict[Node, set[Node]] = defaultdict(set)
        for node in list(self._parent):
            found[self.find(node)].add(node)
        return {frozenset(group) for group in found.values()}

    def groups(self) -> Iterator[set[str]]:
        """The e-mails of every person who has one."""
        for component in self.components():
            if emails := {str(value) for kind, value in component if kind == "email"}:
                yield emails


def email(text: str | None) -> str | None:
    """The address as a key, or None when it cannot be one."""
    if text is None or not re.search(r".@.", text, re.DOTALL):
        return None
    return text.strip(" \t\r\n\u00a0").lower()


def phone(text: str | None, country: str | None = None) -> str | None:
    """The number in E.164, or None when it cannot be one."""
    start = re.search(r"[0-9+]", text or "")
    if text is None or start is None:
        return None
    number = re.split(r"[^\W\d_]|[#;,]", text[start.start() :])[0]
    digits = re.sub(r"[^0-9]", "", number).removeprefix("00")
    is_whole = re.fullmatch(r"[1-9][0-9]{7,14}", digits) and (digits[0] != "7" or len(digits) == 11)
    if number.startswith(("+", "00")):
        return f"+{digits}" if is_whole else None
    code, length, trunk = COUNTRIES[(country or "RU").upper()]
    if re.fullmatch(rf"({trunk})?[1-9][0-9]{{{length - 1}}}", digits):
        return f"+{code}{digits[-length:]}"
    return f"+{digits}" if is_whole and len(digits) > 10 else None


def serialized_integer(fields: str | None, key: str) -> int | None:
    """The number under `key` in a PHP-serialised array."""
    found = re.search(rf's:{len(key)}:"{key}";(?:i:|s:\d+:")(\d+)', fields or "")
    return (int(found.group(1)) or None) if found else None


def identify(raw: RawTables) -> People:
    """Everybody, from the raw tables."""
    return _Identity(raw).people


class _Identity:
    def __init__(self, raw: RawTables) -> None:
        self._raw = raw
        self.people = People()
        self._is_gone: dict[Node, bool] = {}
        self._nobodies: set[Node] = set()
        self._held: set[tuple[Node, Node]] = set()
        """Card and e-mail or phone."""
        self._lead_contacts: dict[Node, set[Node]] = defaultdict(set)
        self._read_cards()
        self._read_multi_fields()
        self._read_relations()
        self._read_addresses()
        self._read_mentions()
        self._join()

    def _is_nobody(self, card: Node) -> bool:
        """A service's account, or a company of our own."""
        return card in self._nobodies

    def _hold(self, card: Node, identifier: Node) -> None:
        if not self._is_nobody(card):
            self.people.find(card)
            self.people.find(identifier)
            self._held.add((card, identifier))

    def _link(self, lead: Node, contact: Node) -> None:
        self.people.join(lead, contact)
        self._lead_contacts[lead].add(contact)

    def _read_cards(self) -> None:
        for kind in ("contact", "lead", "company"):
            for row in self._raw.rows(f"raw_bitrix.b_crm_{kind}", gone=True):
                if row.get("is_my_company") == "Y":
                    self._nobodies.add((kind, row["id"]))
                    continue
                self._is_gone[kind, row["id"]] = row["_deleted_at"] is not None
                self.people.find((kind, row["id"]))
                if kind == "lead" and row["contact_id"]:
                    self._link(("lead", row["id"]), ("contact", row["contact_id"]))
                if kind == "contact" and row["lead_id"]:
                    self._link(("lead", row["lead_id"]), ("contact", row["id"]))
        for row in self._raw.rows("raw_bitrix.b_user", gone=True):
            user: Node = ("user", row["id"])
            if row["external_auth_id"] in SERVICES:
                self._nobodies.add(user)
                continue
            self._is_gone[user] = row["_deleted_at"] is not None
            self.people.find(user)
            if address := email(row["email"]):
                self._hold(user, ("email", address))
            for number in (phone(row["personal_mobile"]), phone(row["personal_phone"])):
                if number:
                    self._hold(user, ("phone", number))

    def _read_multi_fields(self) -> None:
        countries = {
            row["fm_id"]: row["country_code"] for row in self._raw.rows("raw_bitrix.b_crm_field_multi_phone_country")
        }
        bins = {
            row["id"]: (row["entity_type"].removeprefix("crm_"), int(row["entity_id"]))
            for row in self._raw.rows("raw_bitrix.b_recyclebin", gone=True)
        }
        for card in bins.values():
            if card[0] in CARD_TYPES.values() and not self._is_nobody(card):
                self.people.find(card)
        for row in self._raw.rows("raw_bitrix.b_crm_field_multi", gone=True):
            kind = row["type_id"].lower()
            if kind not in ("email", "phone"):
                continue
            value = email(row["value"]) if kind == "email" else phone(row["value"], countries.get(row["id"]))
            owner = row["entity_id"].lower()
            if value is None:
                continue
            if owner.startswith("sus_"):
                card = bins.get(row["element_id"])
                if card and owner.removeprefix("sus_") in CARD_TYPES.values() and card[0] in CARD_TYPES.values():
                    self._hold(card, (kind, value))
                elif owner.removeprefix("sus_") in CARD_TYPES.values():
                    self.people.find((kind, value))
            elif owner in CARD_TYPES.values():
                card = (owner, row["element_id"])
                if row["_deleted_at"] is None or self._is_gone.get(card, True):
                    self._hold(card, (kind, value))

    def _read_relations(self) -> None:
        for row in self._raw.rows("raw_bitrix.b_crm_recycling_relation", gone=True):
            ends = []
            for end in ("src", "dst"):
                kind = CARD_TYPES.get(row[f"{end}_entity_type_id"])
                before, now = row[f"previous_{end}_entity_id"], row[f"{end}_entity_id"]
                ends.append((kind, now))
                if kind and before and before != now and not self._is_nobody((kind, before)):
                    self.people.join((kind, before), (kind, now))
            is_recycled = row["src_recycle_bin_id"] or row["dst_recycle_bin_id"]
            if is_recycled and [kind for kind, _ in ends] == ["lead", "contact"]:
                self._link(("lead", ends[0][1]), ("contact", ends[1][1]))

    def _read_addresses(self) -> None:
        ways: dict[int, Node] = {}
        told: set[tuple[Node, int]] = set()
        for row in self._raw.rows("raw_bitrix.b_sender_contact", gone=True):
            if row["type_id"] == 1 and (value := email(row["code"])):
                ways[row["id"]] = ("email", value)
            elif row["type_id"] == 2 and (value := phone(row["code"])):
                ways[row["id"]] = ("phone", value)
            elif row["type_id"] in SENDER_CARD_TYPES and row["code"].isdecimal():
                ways[row["id"]] = (SENDER_CARD_TYPES[row["type_id"]], int(row["code"]))
            if row["user_id"]:
                told.add((("user", row["user_id"]), row["id"]))
        for way in ways.values():
            self.people.find(way)
        for row in self._raw.rows("raw_bitrix.b_sender_posting_recipient", gone=True):
            for kind, number in (
                ("contact", serialized_integer(row["fields"], "CRM_CONTACT_ID")),
                ("lead", serialized_integer(row["fields"], "CRM_ENTITY_ID")),
                ("user", row["user_id"]),
            ):
                is_lead = serialized_integer(row["fields"], "CRM_ENTITY_TYPE_ID") == 1
                if number and row["contact_id"] and (kind != "lead" or is_lead):
                    told.add(((kind, number), row["contact_id"]))
        for card, address in told:
            if self._is_nobody(card):
                continue
            self.people.find(card)
            way = ways.get(address)
            if way and way[0] in ("email", "phone"):
                self._hold(card, way)
            elif way:
                self.people.join(card, way)

    def _read_mentions(self) -> None:
        for table, column in (
            ("raw_bitrix.b_sender_abuse", "contact_code"),
            ("raw_bitrix.b_main_mail_blacklist", "code"),
            ("raw_esp.contacts", "email"),
            ("raw_esp.events", "email"),
        ):
            for row in self._raw.rows(table, gone=True):
                if value := email(row[column]):
                    self.people.find(("email", value))

    def _shared(self) -> set[Node]:
        owners: dict[Node, dict[str, set[Node]]] = defaultdict(lambda: defaultdict(set))
        of_lead: dict[Node, set[Node]] = defaultdict(set)
        for card, identifier in self._held:
            if card[0] == "lead":
                of_lead[card].add(identifier)
            else:
                owners[identifier][card[0]].add(card)
        for lead, identifiers in of_lead.items():
            for identifier in identifiers:
                if contacts := self._lead_contacts.get(lead):
                    owners[identifier]["contact"] |= contacts
                elif others := identifiers - {identifier}:
                    # any one of them will do, but the same one for the same set
                    owners[identifier]["lead"].add(min(others, key=str))
        shared = set()
        for identifier, by_kind in owners.items():
            limit = 1 if by_kind["company"] else SHARED_LIMIT
            most = max(len(by_kind[kind]) for kind in ("contact", "lead", "user"))
            if most > limit or len(by_kind["company"]) > SHARED_LIMIT:
                shared.add(identifier)
        return shared

    def _join(self) -> None:
        shared = self._shared()
        has_own = {card for card, identifier in self._held if identifier not in shared}
        resorts: dict[Node, set[Node]] = defaultdict(set)
        for card, identifier in self._held:
            if identifier not in shared:
                self.people.join(card, identifier)
            elif card[0] == "lead" and identifier[0] == "email" and card not in has_own | self._lead_contacts.keys():
                resorts[card].add(identifier)
        for lead, mailboxes in resorts.items():
            if len(mailboxes) > 1:
                raise AssertionError(f"{lead} has several shared mailboxes and nothing else")
            self.people.join(lead, mailboxes.pop())
