"""Deleting a card puts it into the recycle bin; bringing it back gives it a new id (bitrix.md 2.12)."""

# ruff: noqa: S608  only names of the entities and of the database's own catalogue are interpolated; values are bound

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_methods import events
from lettertrail.sandbox.bitrix_methods.fields import COMPANY, CONTACT, DEAL, ENTITIES, LEAD, Entity
from lettertrail.sandbox.bitrix_methods.php_value import unserialize
from lettertrail.sandbox.bitrix_methods.portal import Portal, RestError, Row, columns_of

LINK_TABLES: Mapping[Entity, tuple[str, ...]] = {
    CONTACT: ("b_crm_deal_contact", "b_crm_lead_contact", "b_crm_contact_company"),
    COMPANY: ("b_crm_contact_company",),
    DEAL: ("b_crm_deal_contact",),
    LEAD: ("b_crm_lead_contact",),
}
HISTORY: Mapping[Entity, str] = {DEAL: "b_crm_deal_stage_history", LEAD: "b_crm_lead_status_history"}


def delete(portal: Portal, cursor: Any, entity: Entity, card: int) -> int:
    """Takes a card out of its tables; gives the id in the recycle bin.

    What hangs on the card is bound to the recycled twin of its type: multi-fields, UTM tags, traces, activities. Links
    and stage history go. Cards that pointed at it lose the pointer by plain SQL, so their `DATE_MODIFY` stands still.

    Raises:
        RestError: 400 `Not found`.
    """
    cursor.execute(f"select * from `{entity.table}` where ID = %s for update", (card,))
    row = cursor.fetchone()
    if row is None:
        raise RestError("", "Not found")
    cursor.execute(f"select * from `{entity.uts}` where VALUE_ID = %s", (card,))
    custom = cursor.fetchone() or {}
    name = str(row.get("TITLE") or " ".join(str(row[part]) for part in ("NAME", "LAST_NAME") if row.get(part)))
    cursor.execute(
        "insert into b_recyclebin (NAME, SITE_ID, ENTITY_ID, MODULE_ID, ENTITY_TYPE, `TIMESTAMP`, USER_ID) "
        "values (%s, 's1', %s, 'crm', %s, %s, %s)",
        (name, str(card), f"crm_{entity.code.lower()}", portal.now(), portal.user_id),
    )
    number = int(cursor.lastrowid)
    kept = {"FIELDS": _plain(row), "CUSTOM": _plain(custom)}
    cursor.execute(
        "insert into b_recyclebin_data (RECYCLEBIN_ID, ACTION, DATA) values (%s, 'MAIN', %s)",
        (number, php.serialize(kept)),
    )
    _rebind(cursor, (entity.code, entity.type_id, card), (f"SUS_{entity.code}", entity.recycled_id, number))
    for table in (entity.table, entity.uts, entity.utm, *LINK_TABLES[entity], HISTORY.get(entity)):
        key = {entity.table: "ID", entity.uts: "VALUE_ID", entity.utm: "VALUE_ID"}.get(str(table))
        key = key or ("OWNER_ID" if table == HISTORY.get(entity) else f"{entity.code}_ID")
        if table and columns_of(cursor, table):
            cursor.execute(f"delete from `{table}` where {key} = %s", (card,))
    if entity is not DEAL:
        cursor.execute(
            "delete from b_crm_dp_comm_mcd where ENTITY_TYPE_ID = %s and ENTITY_ID = %s", (entity.type_id, card)
        )
        for other in ENTITIES:
            if f"{entity.code}_ID" in columns_of(cursor, other.table):
                column = f"{entity.code}_ID"
                cursor.execute(f"update `{other.table}` set {column} = null where {column} = %s", (card,))
    events.emit(portal, cursor, f"ONCRM{entity.code}DELETE", card)
    return number


def restore(portal: Portal, cursor: Any, number: int) -> int:
    """Brings a card back out of the recycle bin; gives its new id.

    Raises:
        RestError: 400 when the bin holds no such card.
    """
    cursor.execute(
        "select b.ENTITY_TYPE, d.DATA from b_recyclebin b join b_recyclebin_data d on d.RECYCLEBIN_ID = b.ID "
        "where b.ID = %s and d.ACTION = 'MAIN'",
        (number,),
    )
    row = cursor.fetchone()
    entity = next((one for one in ENTITIES if row and row["ENTITY_TYPE"] == f"crm_{one.code.lower()}"), None)
    if row is None or entity is None:
        raise RestError("", "Not found")
    kept = unserialize(str(row["DATA"]))
    if "FIELDS" not in kept:
        raise RestError("", "The card was merged, not deleted.")
    card = _insert(cursor, entity.table, {name: value for name, value in kept["FIELDS"].items() if name != "ID"})
    if kept["CUSTOM"]:
        _insert(cursor, entity.uts, dict(kept["CUSTOM"]) | {"VALUE_ID": card})
    _rebind(cursor, (f"SUS_{entity.code}", entity.recycled_id, number), (entity.code, entity.type_id, card))
    cursor.execute("delete from b_recyclebin_data where RECYCLEBIN_ID = %s", (number,))
    cursor.execute("delete from b_recyclebin where ID = %s", (number,))
    events.emit(portal, cursor, f"ONCRM{entity.code}ADD", card)
    return card


def _insert(cursor: Any, table: str, row: Row) -> int:
    known = columns_of(cursor, table)
    # A custom field may have been removed while the card lay in the bin.
    row = {name: value for name, value in row.items() if name in known}
    names, marks = ", ".join(f"`{name}`" for name in row), ", ".join(["%s"] * len(row))
    cursor.execute(f"insert into `{table}` ({names}) values ({marks})", tuple(row.values()))
    return int(cursor.lastrowid)


def _rebind(cursor: Any, old: tuple[str, int, int], new: tuple[str, int, int]) -> None:
    """Hangs what hangs on one card (code, type id, id) on another."""
    cursor.execute(
        "update b_crm_field_multi set ENTITY_ID = %s, ELEMENT_ID = %s where ENTITY_ID = %s and ELEMENT_ID = %s",
        (new[0], new[2], old[0], old[2]),
    )
    for table, kind, key in (
        ("b_crm_utm", "ENTITY_TYPE_ID", "ENTITY_ID"),
        ("b_crm_tracking_trace_entity", "ENTITY_TYPE_ID", "ENTITY_ID"),
        ("b_crm_act", "OWNER_TYPE_ID", "OWNER_ID"),
        ("b_crm_act_bind", "OWNER_TYPE_ID", "OWNER_ID"),
    ):
        if columns_of(cursor, table):
            cursor.execute(
                f"update {table} set {kind} = %s, {key} = %s where {kind} = %s and {key} = %s",
                (*new[1:], *old[1:]),
            )


def _plain(row: Row) -> Row:
    """Values that PHP's format knows; times and decimals as text."""
    return {
        name: str(value) if isinstance(value, datetime | date | Decimal) else value
        for name, value in row.items()
        if not isinstance(value, bytes)
    }
