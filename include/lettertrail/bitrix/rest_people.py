"""Takes a person off their cards in Bitrix through REST, as far as REST reaches.

Fields are emptied, addresses and numbers replaced by what stands for them in the warehouse: the next copy then brings
the same pseudonyms, and what was credited to the card stays credited. Which tables REST cannot write to (the sender
module's addresses, users, orders) is in docs/erasure.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lettertrail.bitrix.rest import BATCH, BitrixRest, refusal
from lettertrail.bulk import Verdict, push
from lettertrail.errors import ContractError

ERASED = "erased"
StandIn = Callable[[str, str], str]
"""(`EMAIL` or `PHONE`, value) -> what takes its place; a value that stands for another already is given back."""

_EMPTIED = (
    "NAME", "SECOND_NAME", "HONORIFIC", "BIRTHDATE", "POST", "COMMENTS", "SOURCE_DESCRIPTION", "STATUS_DESCRIPTION",
    "COMPANY_TITLE", "ADDRESS", "ADDRESS_2", "ADDRESS_CITY", "ADDRESS_POSTAL_CODE", "ADDRESS_REGION",
    "ADDRESS_PROVINCE", "ADDRESS_COUNTRY",
)  # fmt: skip
_RENAMED = {"contact": ("LAST_NAME",), "lead": ("LAST_NAME", "TITLE")}
"""A card without any name is refused."""
_REPLACED = ("EMAIL", "PHONE")
_REMOVED = ("WEB", "IM", "LINK")
_KEPT = ("UF_CRM_EMAIL_MARKETING", "UF_CRM_EMAIL_CONSENT")
"""How custom fields begin that say whether the person may be mailed."""
_ABSENT = ("not found", "не найден")


class BitrixPeople:
    """The people on the cards of one portal."""

    def __init__(self, rest: BitrixRest) -> None:
        self.account = rest.account
        self._rest = rest

    def erase_cards(self, entity: str, cards: Sequence[int], stand_in: StandIn) -> Counter[str]:
        """Empties contacts or leads; gives how many cards had which outcome. A card that is gone is `already_ok`."""
        wanted = [str(card) for card in cards]
        shown = self._shown(entity, wanted)
        changes = {card: _changes(entity, shown[card], stand_in) for card in wanted if card in shown}
        to_write = [card for card in wanted if changes.get(card)]

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            commands = {f"c{card}": _update(entity, card, changes[card]) for card in bulk}
            done, failed = self._rest.batch(commands, write=True)
            verdicts: dict[str, Verdict] = {name[1:]: ("applied", None) for name, is_ok in done.items() if is_ok}
            return verdicts | {name[1:]: refusal(error) for name, error in failed.items()}

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._shown(entity, bulk)
            return {card for card in bulk if card not in now or not _changes(entity, now[card], stand_in)}

        told = push(to_write, send, settled, bulk=BATCH, unmentioned="applied", otherwise="not changed")
        outcomes = Counter(str(verdict[0]) for _, verdict in told)
        outcomes["already_ok"] += len(wanted) - len(to_write)
        return +outcomes

    def _shown(self, entity: str, cards: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(cards), BATCH):
            commands = {f"c{card}": f"crm.{entity}.get?id={card}" for card in cards[start : start + BATCH]}
            done, failed = self._rest.batch(commands, write=False)
            for error in failed.values():
                text = str(error.get("error_description", "") if isinstance(error, Mapping) else error).lower()
                if not any(words in text for words in _ABSENT):
                    raise ContractError(f"bitrix: crm.{entity}.get failed for some cards: {refusal(error)[1]}")
            found |= {name[1:]: card for name, card in done.items() if isinstance(card, Mapping)}
        return found


def _changes(entity: str, card: Mapping[str, Any], stand_in: StandIn) -> dict[str, str]:
    """Parameter -> value; empty when nothing of the person is left on the card."""
    changes = {f"[{name}]": "" for name in _EMPTIED if _has(card, name)}
    changes |= {
        f"[{name}]": ""
        for name, value in card.items()
        if name.startswith("UF_CRM_") and isinstance(value, str) and value and not name.startswith(_KEPT)
    }
    changes |= {f"[{name}]": ERASED for name in _RENAMED[entity] if card.get(name) not in (None, "", ERASED)}
    if changes and not any(card.get(name) for name in ("LAST_NAME", "TITLE")):
        changes["[LAST_NAME]"] = ERASED
    for kind in (*_REPLACED, *_REMOVED):
        for number, entry in enumerate(_entries(card, kind)):
            value = str(entry.get("VALUE") or "")
            there = f"[{kind}][{number}]"
            if kind in _REMOVED:
                changes |= {f"{there}[ID]": str(entry["ID"]), f"{there}[DELETE]": "Y"}
            elif value and stand_in(kind, value) != value:
                changes |= {f"{there}[ID]": str(entry["ID"]), f"{there}[VALUE]": stand_in(kind, value)}
    return changes


def _entries(card: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    held = card.get(kind)
    return [entry for entry in held if isinstance(entry, Mapping)] if isinstance(held, list) else []


def _has(card: Mapping[str, Any], name: str) -> bool:
    # An honorific that nobody chose is 0.
    return card.get(name) not in (None, "", "0", 0)


def _update(entity: str, card: str, changes: Mapping[str, str]) -> str:
    fields = "".join(f"&fields{name}={quote(value, safe='')}" for name, value in changes.items())
    # The card's history would keep what was there before.
    return f"crm.{entity}.update?id={card}{fields}&params[REGISTER_SONET_EVENT]=N&params[REGISTER_HISTORY_EVENT]=N"
