"""Activities and comments: `crm.activity.*`, `crm.timeline.comment.list` (bitrix.md 2.9)."""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.bitrix_methods import events
from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, as_text
from lettertrail.sandbox.bitrix_methods.php_value import unserialize
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    card_id,
    columns_of,
    integer,
    mapping,
)
from lettertrail.sandbox.bitrix_methods.store import to_stored
from lettertrail.sandbox.bitrix_methods.tables import TableList

HIDDEN = frozenset({"SEARCH_CONTENT", "URN", "THREAD_ID", "PARENT_ID", "STORAGE_TYPE_ID", "STORAGE_ELEMENT_IDS"})
SERIALIZED = ("SETTINGS", "PROVIDER_PARAMS")
READ_ONLY = frozenset({"ID", "CREATED", "LAST_UPDATED", "AUTHOR_ID", "EDITOR_ID"})
ON_REQUEST = ("COMMUNICATIONS", "BINDINGS")
COMMENT = 7

methods = Methods()


def _complete(portal: Portal, cursor: Any, rows: list[Row], selected: Sequence[str]) -> None:
    """PHP arrays unpacked (an empty one is `[]`); communications and bindings only for those who name them."""
    for row in rows:
        for name in SERIALIZED:
            if name in row:
                row[name] = _array(row[name])
    for name in ON_REQUEST:
        if name in selected and rows:
            _attach(cursor, rows, name)


def _array(text: Any) -> Any:
    try:
        return unserialize(str(text)) if text else []
    except ValueError:
        return []


def _attach(cursor: Any, rows: list[Row], name: str) -> None:
    table, names = {
        "COMMUNICATIONS": ("b_crm_act_comm", "ID, TYPE, VALUE, ENTITY_ID, ENTITY_TYPE_ID"),
        "BINDINGS": ("b_crm_act_bind", "OWNER_ID, OWNER_TYPE_ID"),
    }[name]
    by_id: dict[int, list[Row]] = {int(row["ID"]): [] for row in rows}
    cursor.execute(
        f"select ACTIVITY_ID, {names} from {table} where ACTIVITY_ID in ({', '.join(['%s'] * len(by_id))}) order by ID",
        tuple(by_id),
    )
    for found in cursor.fetchall():
        by_id[int(found.pop("ACTIVITY_ID"))].append({key: str(value) for key, value in found.items()})
    for row in rows:
        row[name] = by_id[int(row["ID"])]


_activities = TableList("b_crm_act", hidden=HIDDEN, complete=_complete)
methods.on("crm.activity.list")(_activities)


@methods.on("crm.activity.get")
def get_activity(portal: Portal, params: Params) -> Reply:
    """One activity."""
    found = _activities(portal, {"filter": {"ID": card_id(params)}, "start": -1}).result
    if not found:
        raise RestError("", "Activity is not found.")
    return Reply(found[0])


@methods.on("crm.activity.add")
def add_activity(portal: Portal, params: Params) -> Reply:
    """An activity on a card; `ORIGINATOR_ID` and `ORIGIN_ID` are the caller's own key."""
    fields = mapping(params, "fields")
    owner_type, owner = integer(fields.get("OWNER_TYPE_ID")), integer(fields.get("OWNER_ID"))
    if not owner_type or not owner:
        raise RestError("", "The field OWNER_ID is required.")
    with portal.database.transaction() as cursor:
        row = _stored(portal, cursor, fields) | {"OWNER_TYPE_ID": owner_type, "OWNER_ID": owner}
        row.setdefault("RESPONSIBLE_ID", portal.user_id)
        number = insert(portal, cursor, row)
    return Reply(number)


@methods.on("crm.activity.update")
def update_activity(portal: Portal, params: Params) -> Reply:
    """Writes fields and moves `LAST_UPDATED`."""
    number = card_id(params)
    with portal.database.transaction() as cursor:
        row = _stored(portal, cursor, mapping(params, "fields"))
        row |= {"LAST_UPDATED": portal.now(), "EDITOR_ID": portal.user_id}
        _require(cursor, number)
        assignments = ", ".join(f"`{name}` = %s" for name in row)
        cursor.execute(f"update b_crm_act set {assignments} where ID = %s", (*row.values(), number))
        events.emit(portal, cursor, "ONCRMACTIVITYUPDATE", number)
    return Reply(True)


@methods.on("crm.activity.delete")
def delete_activity(portal: Portal, params: Params) -> Reply:
    """Takes the activity and what hangs on it away."""
    number = card_id(params)
    with portal.database.transaction() as cursor:
        _require(cursor, number)
        cursor.execute("delete from b_crm_act where ID = %s", (number,))
        for table in ("b_crm_act_bind", "b_crm_act_comm"):
            cursor.execute(f"delete from {table} where ACTIVITY_ID = %s", (number,))
        events.emit(portal, cursor, "ONCRMACTIVITYDELETE", number)
    return Reply(True)


def _require(cursor: Any, number: int) -> None:
    cursor.execute("select ID from b_crm_act where ID = %s for update", (number,))
    if cursor.fetchone() is None:
        raise RestError("", "Activity is not found.")


def _stored(portal: Portal, cursor: Any, fields: Params) -> Row:
    columns = columns_of(cursor, "b_crm_act")
    return {
        name: to_stored(portal, value, columns[name])
        for name, value in fields.items()
        if name in columns and name not in READ_ONLY and name not in SERIALIZED
    }


def insert(portal: Portal, cursor: Any, row: Row) -> int:
    """Writes an activity and binds it to its owner; gives its id."""
    now = portal.now()
    row = row | {"AUTHOR_ID": portal.user_id, "EDITOR_ID": portal.user_id, "CREATED": now, "LAST_UPDATED": now}
    names, marks = ", ".join(f"`{name}`" for name in row), ", ".join(["%s"] * len(row))
    cursor.execute(f"insert into b_crm_act ({names}) values ({marks})", tuple(row.values()))
    number = int(cursor.lastrowid)
    cursor.execute(
        "insert into b_crm_act_bind (ACTIVITY_ID, OWNER_ID, OWNER_TYPE_ID) values (%s, %s, %s)",
        (number, row["OWNER_ID"], row["OWNER_TYPE_ID"]),
    )
    for entity in ENTITIES:
        if entity.type_id == row["OWNER_TYPE_ID"]:
            # A new activity moves the card's own time of last activity, not its DATE_MODIFY.
            cursor.execute(f"update {entity.table} set LAST_ACTIVITY_TIME = %s where ID = %s", (now, row["OWNER_ID"]))
    events.emit(portal, cursor, "ONCRMACTIVITYADD", number)
    return number


@methods.on("crm.activity.todo.add")
def add_todo(portal: Portal, params: Params) -> Reply:
    """A to-do on a card. There is no external key: a repeat makes a second one."""
    owner_type, owner = integer(params.get("ownerTypeId")), integer(params.get("ownerId"))
    entity = next((entity for entity in ENTITIES if entity.type_id == owner_type), None)
    deadline = portal.local(str(params.get("deadline") or ""))
    if deadline is None:
        raise RestError("WRONG_DATETIME_FORMAT", "Wrong datetime format.")
    with portal.database.transaction() as cursor:
        if entity is not None:
            cursor.execute(f"select ID from {entity.table} where ID = %s", (owner,))
        if entity is None or cursor.fetchone() is None:
            raise RestError("OWNER_NOT_FOUND", "The owner of the activity was not found.")
        number = insert(
            portal,
            cursor,
            {
                "TYPE_ID": 6,
                "PROVIDER_ID": "CRM_TODO",
                "PROVIDER_TYPE_ID": "TODO",
                "OWNER_ID": owner,
                "OWNER_TYPE_ID": owner_type,
                "SUBJECT": str(params.get("title") or ""),
                "DESCRIPTION": str(params.get("description") or ""),
                "COMPLETED": "N",
                "RESPONSIBLE_ID": integer(params.get("responsibleId")) or portal.user_id,
                "START_TIME": deadline,
                "END_TIME": deadline,
                "DEADLINE": deadline,
                "DIRECTION": 2,
            },
        )
    return Reply({"id": number})


@methods.on("crm.timeline.comment.list")
def list_comments(portal: Portal, params: Params) -> Reply:
    """The comments on one card, which the filter has to name."""
    given = mapping(params, "filter")
    code, card = str(given.get("ENTITY_TYPE") or "").upper(), integer(given.get("ENTITY_ID"))
    entity = next((entity for entity in ENTITIES if entity.code == code), None)
    if entity is None or card is None:
        raise RestError("", "The filter needs ENTITY_ID and ENTITY_TYPE.")
    comments = TableList(
        "b_crm_timeline",
        only=("ID", "CREATED", "AUTHOR_ID", "COMMENT"),
        fixed=f"m.TYPE_ID = {COMMENT} and m.ID in (select b.OWNER_ID from b_crm_timeline_bind b "
        f"where b.ENTITY_TYPE_ID = {entity.type_id} and b.ENTITY_ID = {card})",
        show=as_text,
    )
    reply = comments(portal, params)
    for row in reply.result:
        row |= {"ENTITY_ID": str(card), "ENTITY_TYPE": entity.code.lower()}
    return reply


@methods.on("crm.activity.binding.list")
def list_bindings(portal: Portal, params: Params) -> Reply:
    """The cards an activity is bound to."""
    number = integer(params.get("activityId"))
    with portal.database.transaction() as cursor:
        _require(cursor, number or 0)
        cursor.execute(
            "select OWNER_TYPE_ID as entityTypeId, OWNER_ID as entityId from b_crm_act_bind where ACTIVITY_ID = %s "
            "order by ID",
            (number,),
        )
        return Reply([dict(row) for row in cursor.fetchall()])
