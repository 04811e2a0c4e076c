"""`crm.item.*` for leads (1), deals (2), contacts (3) and companies (4): camelCase names, typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lettertrail.sandbox.bitrix_methods import recycle, store
from lettertrail.sandbox.bitrix_methods.conditions import Where, add_condition, order_clause, split_prefix
from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, MULTI, UTM, Entity, Layout, layout_of, several
from lettertrail.sandbox.bitrix_methods.links import linked_ids
from lettertrail.sandbox.bitrix_methods.paging import PAGE, page_of
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    card_id,
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
    "COMPANY_TYPE": "typeId",
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


def entity_of(params: Params) -> Entity:
    """The kind of card that `entityTypeId` names.

    Raises:
        RestError: 400 `NOT_FOUND`.
    """
    wanted = integer(params.get("entityTypeId"))
    for entity in ENTITIES:
        if entity.type_id == wanted:
            return entity
    raise RestError("NOT_FOUND", "The entity type is not found.")


@methods.on("crm.item.list")
def list_items(portal: Portal, params: Params) -> Reply:
    """One page of 50; `fm` (e-mails, phones) comes only when nothing or `*` alone is selected."""
    entity, page = entity_of(params), page_of(params)
    select = [str(name) for name in sequence(params, "select")]
    with portal.database.transaction() as cursor:
        layout = layout_of(cursor, entity)
        names = _names(layout)
        where = Where()
        _filter(where, portal, layout, names, mapping(params, "filter"))
        wanted = {names[key]: way for key, way in mapping(params, "order").items() if key in names}
        order = order_clause(layout, wanted, key="m.ID")
        columns = _columns(layout, names, select)
        rows = store.find(cursor, layout, columns, where, order=order, limit=PAGE, offset=page.offset)
        items = _shown(portal, cursor, layout, rows, params)
        if select and "*" not in select:
            kept = {_canonical(names, name, params) for name in select} | {"id"}
            items = [{key: value for key, value in item.items() if key in kept} for item in items]
        total = store.count(cursor, layout, where) if page.is_counted else None
    return page.reply({"items": items}, shown=len(rows), total=total)


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
    is_everything = [str(name) for name in sequence(params, "select")] in ([], ["*"])
    multi = store.multi_fields(cursor, entity, ids, MULTI if is_everything else ())
    linked = linked_ids(cursor, entity, ids)
    is_original = _original(params)
    shapes = {
        name: (camel(name, original_uf=is_original), layout.type_of(name), name in layout.multiple)
        for name in (rows[0] if rows else ())
    }
    items = []
    for row in rows:
        item: Row = {}
        for name, value in row.items():
            shown, kind, is_multiple = shapes[name]
            item[shown] = several(value) if is_multiple else _typed(portal, value, kind)
        for name, cards in linked.items():
            item[name] = cards[row["ID"]]
        item["observers"] = []
        if is_everything:
            item["entityTypeId"] = entity.type_id
            item["fm"] = [_entry(entry) for entries in multi[row["ID"]].values() for entry in entries]
        items.append(item)
    return items


def _entry(entry: Mapping[str, str]) -> Row:
    return {
        "id": int(entry["ID"]),
        "typeId": entry["TYPE_ID"],
        "valueType": entry["VALUE_TYPE"],
        "value": entry["VALUE"],
    }


def _typed(portal: Portal, value: Any, kind: str) -> Any:
    if isinstance(value, datetime):
        return portal.iso(value)
    if isinstance(value, date):
        return portal.iso_date(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return int(value) if kind in NUMBERS and value is not None else value


@methods.on("crm.item.get")
def get_item(portal: Portal, params: Params) -> Reply:
    """One item."""
    entity, card = entity_of(params), card_id(params)
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


def _fields(names: Mapping[str, str], given: Params) -> Row:
    """Fields under their column names; `fm` entries are only ever added."""
    fields: Row = {names[key]: value for key, value in given.items() if key in names}
    for key, name in (("contactIds", "CONTACT_IDS"), ("companyIds", "COMPANY_IDS")):
        if key in given:
            fields[name] = given[key]
    for entry in sequence(given, "fm"):
        if isinstance(entry, Mapping) and entry.get("typeId") in MULTI:
            value = {"VALUE": entry.get("value"), "VALUE_TYPE": entry.get("valueType")}
            fields.setdefault(str(entry["typeId"]), []).append(value)
    return fields


@methods.on("crm.item.update")
def update_item(portal: Portal, params: Params) -> Reply:
    """Writes fields. An update that changes nothing saves nothing: `updatedTime` stays."""
    entity, card = entity_of(params), card_id(params)
    with portal.database.transaction() as cursor:
        _item(portal, cursor, entity, card, params)
        names = _names(layout_of(cursor, entity))
        fields = _fields(names, mapping(params, "fields"))
        store.update(portal, cursor, entity, card, fields, only_changes=True)
        return Reply({"item": _item(portal, cursor, entity, card, params)})


@methods.on("crm.item.add")
def add_item(portal: Portal, params: Params) -> Reply:
    """Makes an item."""
    entity = entity_of(params)
    with portal.database.transaction() as cursor:
        names = _names(layout_of(cursor, entity))
        fields = _fields(names, mapping(params, "fields"))
        card = store.add(portal, cursor, entity, fields)
        return Reply({"item": _item(portal, cursor, entity, card, params)})


@methods.on("crm.item.delete")
def delete_item(portal: Portal, params: Params) -> Reply:
    """Moves an item to the recycle bin."""
    entity, card = entity_of(params), card_id(params)
    with portal.database.transaction() as cursor:
        _item(portal, cursor, entity, card, params)
        recycle.delete(portal, cursor, entity, card)
    return Reply([])
