"""`crm.item.*` for leads (1), deals (2), contacts (3) and companies (4): camelCase names, typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lettertrail.sandbox.bitrix_methods import store
from lettertrail.sandbox.bitrix_methods.cards import card_id
from lettertrail.sandbox.bitrix_methods.fields import (
    DEAL,
    ENTITIES,
    LEAD,
    MULTI,
    UTM,
    Entity,
    Layout,
    Where,
    add_condition,
    layout_of,
    order_clause,
    split_prefix,
)
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    integer,
    mapping,
    sequence,
)

RENAMED = {
    "DATE_CREATE": "createdTime",
    "DATE_MODIFY": "updatedTime",
    "CREATED_BY_ID": "createdBy",
    "MODIFY_BY_ID": "updatedBy",
    "MOVED_BY_ID": "movedBy",
    "STATUS_ID": "stageId",
    "STATUS_SEMANTIC_ID": "stageSemanticId",
}
NUMBERS = frozenset({"int", "bigint", "smallint", "tinyint"})

methods = Methods()


def camel(name: str, *, original_uf: bool = False) -> str:
    """`UTM_SOURCE` → `utmSource`, `UF_CRM_SHOE_SIZE` → `ufCrmShoeSize`, `UF_CRM_1690` → `ufCrm_1690`."""
    if original_uf and name.startswith("UF_"):
        return name
    if name in RENAMED:
        return RENAMED[name]
    first, *rest = name.lower().split("_")
    return first + "".join(f"_{word}" if word[:1].isdigit() else word.capitalize() for word in rest)


def _names(layout: Layout) -> dict[str, str]:
    """Every spelling under which a caller may name a field, with the column it means."""
    columns = [*layout.visible, *layout.custom, *UTM]
    names = {camel(name): name for name in columns}
    return names | {name: name for name in columns if name.startswith("UF_")}


def _entity(params: Params) -> Entity:
    wanted = integer(params.get("entityTypeId"))
    for entity in ENTITIES:
        if entity.type_id == wanted:
            return entity
    raise RestError("NOT_FOUND", "The entity type is not found.")


@methods.on("crm.item.list")
def list_items(portal: Portal, params: Params) -> Reply:
    """One page of 50; `fm` (e-mails, phones) comes only when everything is selected."""
    entity = _entity(params)
    start = integer(params.get("start", 0)) or 0
    fast = start < 0
    offset = 0 if fast else start // store.PAGE * store.PAGE
    select = [str(name) for name in sequence(params, "select")]
    with portal.database.transaction() as cursor:
        layout = layout_of(cursor, entity)
        names = _names(layout)
        where = Where()
        _filter(where, portal, layout, names, mapping(params, "filter"))
        order = order_clause(layout, {names[key]: way for key, way in mapping(params, "order").items() if key in names})
        rows = store.find(
            cursor, layout, _columns(layout, names, select), where, order=order, limit=store.PAGE, offset=offset
        )
        items = _shown(portal, cursor, layout, rows, params)
        if select and "*" not in select:
            kept = {_canonical(names, name, params) for name in select} | {"id"}
            items = [{key: value for key, value in item.items() if key in kept} for item in items]
        total = None if fast else store.count(cursor, layout, where)
    more = total is not None and offset + len(rows) < total
    return Reply({"items": items}, total, offset + store.PAGE if more else None)


def _canonical(names: Mapping[str, str], name: str, params: Params) -> str:
    return camel(names[name], original_uf=_original(params)) if name in names else name


def _original(params: Params) -> bool:
    return str(params.get("useOriginalUfNames", "N")).upper() in {"Y", "1", "TRUE"}


def _columns(layout: Layout, names: Mapping[str, str], select: list[str]) -> list[str]:
    if not select or "*" in select:
        return [*layout.visible, *layout.custom, *UTM]
    return [names[name] for name in select if name in names]


def _filter(where: Where, portal: Portal, layout: Layout, names: Mapping[str, str], given: Params) -> None:
    """Adds the conditions; `logic` OR joins the entries beside it, groups may be nested.

    Raises:
        RestError: 400 `INVALID_ARG_VALUE` for a field there is not.
    """
    inner = Where()
    for key, value in given.items():
        if key == "logic":
            continue
        if isinstance(value, Mapping) and re.fullmatch(r"\d+", str(key)):
            _filter(inner, portal, layout, names, value)
            continue
        prefix, name = split_prefix(str(key))
        if not add_condition(inner, portal, layout, prefix + names.get(name, ""), value):
            raise RestError("INVALID_ARG_VALUE", f"Invalid filter: field '{name}' is not allowed in filter")
    if inner.parts:
        where.add(inner.sql("or" if str(given.get("logic", "")).upper() == "OR" else "and"), *inner.values)


def _shown(portal: Portal, cursor: Any, layout: Layout, rows: list[Row], params: Params) -> list[Row]:
    entity, ids = layout.entity, [row["ID"] for row in rows]
    select = sequence(params, "select")
    with_multi = not select or "*" in select
    multi = store.multi_fields(cursor, entity, ids, MULTI if with_multi else ())
    contacts = store.linked_contacts(cursor, entity, ids) if entity in {DEAL, LEAD} else {}
    items = []
    for row in rows:
        item = {
            camel(name, original_uf=_original(params)): _typed(portal, value, layout.type_of(name))
            for name, value in row.items()
        }
        item["entityTypeId"] = entity.type_id
        if contacts:
            item["contactIds"] = contacts[row["ID"]]
        if with_multi:
            item["fm"] = [
                {
                    "id": int(entry["ID"]),
                    "typeId": entry["TYPE_ID"],
                    "valueType": entry["VALUE_TYPE"],
                    "value": entry["VALUE"],
                }
                for entries in multi[row["ID"]].values()
                for entry in entries
            ]
        items.append(item)
    return items


def _typed(portal: Portal, value: Any, kind: str) -> Any:
    if isinstance(value, datetime):
        return portal.iso(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, 3, tzinfo=portal.timezone).isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return int(value) if kind in NUMBERS and value is not None else value


@methods.on("crm.item.get")
def get_item(portal: Portal, params: Params) -> Reply:
    """One item."""
    entity, card = _entity(params), card_id(params)
    with portal.database.transaction() as cursor:
        return Reply({"item": _item(portal, cursor, entity, card, params)})


def _item(portal: Portal, cursor: Any, entity: Entity, card: int, params: Params) -> Row:
    layout = layout_of(cursor, entity)
    where = Where()
    where.add("m.ID = %s", card)
    names = [*layout.visible, *layout.custom, *UTM]
    rows = store.find(cursor, layout, names, where, order="m.ID", limit=1, offset=0)
    if not rows:
        raise RestError("NOT_FOUND", "Element not found")
    flags = {"useOriginalUfNames": params.get("useOriginalUfNames", "N")}
    return _shown(portal, cursor, layout, rows, flags)[0]


@methods.on("crm.item.update")
def update_item(portal: Portal, params: Params) -> Reply:
    """Writes fields. An update that changes nothing saves nothing: `updatedTime` stays."""
    entity, card = _entity(params), card_id(params)
    with portal.database.transaction() as cursor:
        _item(portal, cursor, entity, card, params)
        names = _names(layout_of(cursor, entity))
        given = mapping(params, "fields")
        fields = {names[key]: value for key, value in given.items() if key in names}
        store.update(portal, cursor, entity, card, fields, only_changes=True)
        return Reply({"item": _item(portal, cursor, entity, card, params)})


@methods.on("crm.item.add")
def add_item(portal: Portal, params: Params) -> Reply:
    """Makes an item."""
    entity = _entity(params)
    with portal.database.transaction() as cursor:
        names = _names(layout_of(cursor, entity))
        fields = {names[key]: value for key, value in mapping(params, "fields").items() if key in names}
        card = store.add(portal, cursor, entity, fields)
        return Reply({"item": _item(portal, cursor, entity, card, params)})
