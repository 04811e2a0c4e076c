"""What somebody deleted from the sample site's CRM and what came back (bitrix.md 2.12).

Cards that were merged away are in the bin already (`bitrix_site_crm`). The contact ids of people without a card play
the deleted ones here: those ids are free in `b_crm_contact`.
"""

from __future__ import annotations

import numpy as np

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_rows import Writer, by_column, moment
from lettertrail.sandbox.world import World

CONTACT, LEAD = 3, 1
DELETED_CONTACTS = 3
DELETED_LEAD_OFFSET = 1_000
"""The deleted lead's id = the last one's + this; new leads come nowhere near it."""
RESTORED = 2


def write_recycle_bin(writer: Writer, world: World) -> None:
    """Writes deleted cards with their data, suspended addresses and relations, and the trail of restored ones."""
    merged = int(world.cards["merged_at"].notna().sum())
    gone = world.people[~world.people["on_bitrix"]].head(DELETED_CONTACTS)
    at = moment(world.ended_at) - np.timedelta64(25, "D")
    first = merged + 1
    contacts = [
        (first + place, f"{name} {last}", person)
        for place, (person, name, last) in enumerate(
            zip(gone["person"].tolist(), gone["first_name"], gone["last_name"], strict=True)
        )
    ]
    lead_bin, company_bin = first + len(contacts), first + len(contacts) + 1
    lead = len(world.leads) + DELETED_LEAD_OFFSET
    rows: list[tuple[int, str | None, str, str]]
    rows = [(number, name, str(person), "crm_contact") for number, name, person in contacts]
    rows += [
        (lead_bin, "Заявка &quot;тест&quot; 🗑", str(lead), "crm_lead"),
        (company_bin, None, "100500", "crm_company"),
    ]
    writer.write(
        "b_recyclebin",
        {
            **by_column("ID NAME ENTITY_ID ENTITY_TYPE", rows),
            "SITE_ID": "s1",
            "MODULE_ID": "crm",
            "TIMESTAMP": [str(at + np.timedelta64(place, "h")) for place in range(len(rows))],
            "USER_ID": [2, *[None] * (len(rows) - 1)],
        },
    )
    writer.write(
        "b_recyclebin_data", by_column("RECYCLEBIN_ID ACTION DATA", _data(contacts, lead_bin, company_bin, lead))
    )
    _write_suspended(writer, contacts)
    _write_relations(writer, world, contacts, lead_bin=lead_bin, lead=lead)


def _data(
    contacts: list[tuple[int, str, int]], lead_bin: int, company_bin: int, lead: int
) -> list[tuple[int, str, str]]:
    rows: list[tuple[int, str, str]] = []
    for number, name, person in contacts:
        rows.append((number, "MAIN", php.serialize({"ID": str(person), "FULL_NAME": name, "EXPORT": "Y"})))
        rows.append((number, "MULTI_FIELDS", php.serialize({"EMAIL": [f"gone-{person}@old.example"]})))
    when = php.PhpObject("Bitrix\\Main\\Type\\DateTime", {php.protected("value"): "2026-03-29 02:30:00"})
    rows.append((lead_bin, "MAIN", php.serialize({"ID": lead, "DATE_CREATE": when})))
    rows.append((company_bin, "MAIN", php.serialize({"TITLE": 'ООО "Закрыто"'})[:-5]))  # cut off by a crash
    return rows


def _write_suspended(writer: Writer, contacts: list[tuple[int, str, int]]) -> None:
    """Addresses of a card in the bin are bound to the bin's id until it is restored."""
    rows = [("SUS_CONTACT", number, "EMAIL", "WORK", f"Gone-{person}@old.example") for number, _, person in contacts]
    writer.write(
        "b_crm_field_multi",
        {
            **by_column("ENTITY_ID ELEMENT_ID TYPE_ID VALUE_TYPE VALUE", rows),
            "COMPLEX_ID": "EMAIL_WORK",
        },
    )


def _write_relations(
    writer: Writer, world: World, contacts: list[tuple[int, str, int]], *, lead_bin: int, lead: int
) -> None:
    """A lead and its contact, both in the bin; and contacts that came back under a new id."""
    at = str(moment(world.ended_at) - np.timedelta64(24, "D"))
    rows: list[tuple[object, ...]] = [
        (LEAD, lead, lead_bin, CONTACT, person, number, None, None, at, None) for number, _, person in contacts[:1]
    ]
    former = world.people["person"][~world.people["on_bitrix"]].iloc[DELETED_CONTACTS : DELETED_CONTACTS + RESTORED]
    present = world.cards["contact_id"][world.cards["merged_at"].isna()].head(RESTORED)
    rows += [
        (LEAD, 1 + place, 0, CONTACT, now, 0, None, before, at, at)
        for place, (before, now) in enumerate(zip(former.tolist(), present.tolist(), strict=False))
    ]
    writer.write(
        "b_crm_recycling_relation",
        by_column(
            "SRC_ENTITY_TYPE_ID SRC_ENTITY_ID SRC_RECYCLE_BIN_ID DST_ENTITY_TYPE_ID DST_ENTITY_ID DST_RECYCLE_BIN_ID "
            "PREVIOUS_SRC_ENTITY_ID PREVIOUS_DST_ENTITY_ID CREATED_TIME LAST_UPDATED_TIME",
            rows,
        ),
    )
