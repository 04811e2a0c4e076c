"""Which contacts belong to a deal, lead or company, and which companies to a contact (bitrix.md 2.5)."""

# ruff: noqa: S608  only names listed here are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import COMPANY, CONTACT, DEAL, LEAD, Entity
from lettertrail.sandbox.bitrix_methods.portal import (
    Method,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    card_id,
    integer,
)

methods = Methods()


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a link table."""

    owner: Entity
    other: Entity
    table: str

    @property
    def shown(self) -> str:
        """`contactIds` or `companyIds`."""
        return f"{self.other.code.lower()}Ids"

    def given(self, fields: Mapping[str, Any]) -> list[int] | None:
        """The ids that fields name in `CONTACT_IDS` or `CONTACT_ID`; None when they say nothing."""
        several, single = f"{self.other.code}_IDS", f"{self.other.code}_ID"
        if several in fields:
            value = fields[several]
            items = (
                list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
            )
        elif single in fields and self.owner is not COMPANY:
            items = [fields[single]]
        else:
            return None
        return [number for number in map(integer, items) if number]


LINKS = (
    Link(DEAL, CONTACT, "b_crm_deal_contact"),
    Link(LEAD, CONTACT, "b_crm_lead_contact"),
    Link(COMPANY, CONTACT, "b_crm_contact_company"),
    Link(CONTACT, COMPANY, "b_crm_contact_company"),
)


def linked_ids(cursor: Any, entity: Entity, ids: Sequence[int]) -> dict[str, dict[int, list[int]]]:
    """`contactIds` or `companyIds` of some cards, the main one first."""
    found: dict[str, dict[int, list[int]]] = {}
    for link in LINKS:
        if link.owner is not entity:
            continue
        cards: dict[int, list[int]] = {card: [] for card in ids}
        if ids:
            key, other = f"{link.owner.code}_ID", f"{link.other.code}_ID"
            cursor.execute(
                f"select {key} as card, {other} as other from {link.table} "
                f"where {key} in ({', '.join(['%s'] * len(ids))}) order by IS_PRIMARY desc, SORT, {other}",
                tuple(ids),
            )
            for row in cursor.fetchall():
                cards[int(row["card"])].append(int(row["other"]))
        found[link.shown] = cards
    return found


def are_given(entity: Entity, fields: Mapping[str, Any]) -> bool:
    """Whether fields of a card name its contacts or companies."""
    return any(link.owner is entity and link.given(fields) is not None for link in LINKS)


def write(cursor: Any, entity: Entity, card: int, fields: Mapping[str, Any]) -> None:
    """Replaces the links of a card by those that its fields name; the first is the main one."""
    for link in LINKS:
        wanted = link.given(fields) if link.owner is entity else None
        if wanted is None:
            continue
        key, other = f"{link.owner.code}_ID", f"{link.other.code}_ID"
        cursor.execute(f"delete from {link.table} where {key} = %s", (card,))
        cursor.executemany(
            f"insert into {link.table} ({key}, {other}, SORT, ROLE_ID, IS_PRIMARY) values (%s, %s, %s, 0, %s)",
            [
                (card, number, 10 * (place + 1), "N" if place else "Y")
                for place, number in enumerate(dict.fromkeys(wanted))
            ],
        )


def _get(link: Link) -> Method:
    key, other = f"{link.owner.code}_ID", f"{link.other.code}_ID"

    def answer(portal: Portal, params: Params) -> Reply:
        card = card_id(params)
        with portal.database.transaction() as cursor:
            cursor.execute(f"select ID from {link.owner.table} where ID = %s", (card,))
            if cursor.fetchone() is None:
                raise RestError("", "Not found")
            cursor.execute(
                f"select {other}, SORT, ROLE_ID, IS_PRIMARY from {link.table} where {key} = %s order by SORT, {other}",
                (card,),
            )
            return Reply([dict(row) for row in cursor.fetchall()])

    return answer


for _link in LINKS:
    methods.on(f"crm.{_link.owner.code.lower()}.{_link.other.code.lower()}.items.get")(_get(_link))
