"""Custom fields of CRM cards, written through REST: what the card's manager sees of the letters.

A write begins by reading: what the card shows already is not written again, so a repeated, lost or killed push costs
reads only. Values are naturally idempotent (bitrix.md 6.5). Every write moves the card's `DATE_MODIFY`; `OwnWrites`
keeps what it was before, so that our write is no news when it comes back through the copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lettertrail.bitrix.own_writes import CHANGED, OwnWrites, changed_at
from lettertrail.bitrix.rest import BATCH, GONE, PAGE, BitrixRest, card_of, refusal
from lettertrail.bitrix.user_fields import UserField
from lettertrail.bulk import Verdict, outcomes, push, targets
from lettertrail.esps.port import Call, Endpoint, Outcome, Record

CHUNK = BATCH * PAGE
"""Cards read in one request."""
Card = Mapping[str, Any]


class BitrixCards:
    """The cards of one entity at one portal. `Record.key` is the card's id, `attributes` map field names to values.

    Args:
        fields: those that may be written; made on the portal where they are missing.
        own_writes: where to remember which changes were ours; None when nobody asks when a card was changed.
    """

    def __init__(
        self, rest: BitrixRest, entity: str, fields: Sequence[UserField], own_writes: OwnWrites | None = None
    ) -> None:
        self.name = rest.name
        self.account = rest.account
        self.entity = entity
        write = (Endpoint(f"POST /batch of crm.{entity}.update", BATCH),)
        self.endpoints = {"add": write, "remove": write}
        """What a plan would call; see `Esp.endpoints`."""
        self._rest = rest.about(entity)
        self._fields = {each.name: each for each in fields}
        self._own_writes = own_writes

    def write(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Makes the cards show these values; null and the empty text empty a field.

        A card that is gone is `already_ok`: there is nothing left that could show anything else.

        Raises:
            ContractError: a field exists with another type.
        """
        wanted = {record.key: record.attributes for record in records}
        verdicts = self._write(targets(records, card_of), wanted)
        yield from outcomes(f"bitrix {self.entity} fields", records, verdicts, target=card_of)

    def shown(self, cards: Sequence[str]) -> dict[str, Card]:
        """Card id → our fields and `DATE_MODIFY`, for those that exist; 2 500 cards in one request."""
        select = "".join(f"&select[]={name}" for name in ("ID", CHANGED, *self._fields))
        chunks = [cards[start : start + PAGE] for start in range(0, len(cards), PAGE)]
        commands = {
            f"p{number}": f"crm.{self.entity}.list?"
            + "&".join(f"filter[@ID][]={card}" for card in chunk)
            + f"{select}&order[ID]=ASC&start=-1"
            for number, chunk in enumerate(chunks)
        }
        return {str(row["ID"]): row for rows in self._rest.listings(commands).values() for row in rows}

    def unchanged(self, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Those of the cards that show these values, and those that are gone."""
        cards = list(wanted)
        for start in range(0, len(cards), CHUNK):
            chunk = cards[start : start + CHUNK]
            shown = self.shown(chunk)
            yield from (card for card in chunk if card not in shown or self._is_so(shown[card], wanted[card]))

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked."""
        return self._rest.calls()

    def _write(self, cards: Sequence[str], wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Verdict]]:
        if cards:
            self._rest.ensure_fields(list(self._fields.values()))
        for start in range(0, len(cards), CHUNK):
            chunk = cards[start : start + CHUNK]
            shown = self.shown(chunk)
            to_write: list[str] = []
            for card in chunk:
                if card not in shown:
                    yield card, ("already_ok", GONE)
                elif self._is_so(shown[card], wanted[card]):
                    yield card, ("already_ok", None)
                else:
                    to_write.append(card)
            # A run that was killed may have written these, and not come to say so.
            self._note_done({card: row for card, row in shown.items() if card not in set(to_write)})
            yield from self._write_all(to_write, wanted, shown)

    def _write_all(
        self, cards: Sequence[str], wanted: Mapping[str, Mapping[str, Any]], shown: Mapping[str, Card]
    ) -> Iterator[tuple[str, Verdict]]:
        if not cards:
            return
        if self._own_writes is not None:
            self._own_writes.before(self.entity, {card: changed_at(shown[card]) for card in cards})

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            commands = {f"c{card}": self._update(card, wanted[card]) for card in bulk}
            done, failed = self._rest.batch(commands, write=True)
            verdicts: dict[str, Verdict] = {key[1:]: ("applied", None) for key, is_ok in done.items() if is_ok}
            return verdicts | {key[1:]: refusal(error) for key, error in failed.items()}

        def settled(bulk: Sequence[str]) -> set[str]:
            return {card for card, row in self.shown(bulk).items() if self._is_so(row, wanted[card])}

        applied = []
        for card, verdict in push(cards, send, settled, bulk=BATCH, unmentioned="applied", otherwise="not changed"):
            if verdict[0] == "applied":
                applied.append(card)
            yield card, verdict
        if applied and self._own_writes is not None:
            self._note_done(self.shown(applied))

    def _update(self, card: str, values: Mapping[str, Any]) -> str:
        fields = "".join(
            f"&fields[{name}]={quote('' if value is None else str(value), safe='')}"
            for name, value in values.items()
            if name in self._fields
        )
        # Neither in the company's feed nor in the card's history: a manager looks for people there.
        quiet = "&params[REGISTER_SONET_EVENT]=N&params[REGISTER_HISTORY_EVENT]=N"
        return f"crm.{self.entity}.update?id={card}{fields}{quiet}"

    def _is_so(self, row: Card, values: Mapping[str, Any]) -> bool:
        return all(
            self._fields[name].is_same(value, row.get(name)) for name, value in values.items() if name in self._fields
        )

    def _note_done(self, shown: Mapping[str, Card]) -> None:
        if self._own_writes is not None and shown:
            self._own_writes.after(self.entity, {card: changed_at(row) for card, row in shown.items()})
