"""`crm.contact.*`, `crm.lead.*`, `crm.deal.*`, `crm.company.*`: the old methods. All values are texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.bitrix_methods import recycle, store
from lettertrail.sandbox.bitrix_methods.conditions import Where, order_clause
from lettertrail.sandbox.bitrix_methods.fields import (
    ENTITIES,
    MULTI,
    UTM,
    Entity,
    Layout,
    as_text,
    card_condition,
    layout_of,
    several,
)
from lettertrail.sandbox.bitrix_methods.paging import PAGE, page_of
from lettertrail.sandbox.bitrix_methods.portal import (
    Method,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    card_id,
    mapping,
    sequence,
)

methods = Methods()


def selected(layout: Layout, select: Sequence[Any]) -> tuple[list[str], list[str]]:
    """`(single-valued fields, multi-fields)` for a select list.

    Nothing or `*` means all own fields, `UF_*` all custom ones, nothing at all both; multi-fields only by name.
    """
    wanted = [str(name) for name in select] or ["*", "UF_*"]
    names: dict[str, None] = {}
    for name in wanted:
        if name == "*":
            names |= dict.fromkeys([*layout.visible, *UTM])
        elif name == "UF_*":
            names |= dict.fromkeys(layout.custom)
        elif layout.expression(name) is not None:
            names[name] = None
    return list(names), [name for name in wanted if name in MULTI]


def _list(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        page = page_of(params)
        with portal.database.transaction() as cursor:
            layout = layout_of(cursor, entity)
            names, multi = selected(layout, sequence(params, "select"))
            where = Where()
            for key, value in mapping(params, "filter").items():
                card_condition(where, portal, layout, str(key), value)
            order = order_clause(layout, mapping(params, "order"), key="m.ID")
            rows = store.find(cursor, layout, names, where, order=order, limit=PAGE, offset=page.offset)
            entries = store.multi_fields(cursor, entity, [row["ID"] for row in rows], multi)
            total = store.count(cursor, layout, where) if page.is_counted else None
        result = [_shown(portal, layout, row) | entries[row["ID"]] for row in rows]
        return page.reply(result, shown=len(rows), total=total)

    return answer


def _get(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        card = card_id(params)
        with portal.database.transaction() as cursor:
            layout = layout_of(cursor, entity)
            names, _ = selected(layout, ())
            where = Where()
            where.add("m.ID = %s", card)
            rows = store.find(cursor, layout, names, where, order="m.ID", limit=1, offset=0)
            if not rows:
                raise RestError("", "Not found")
            entries = store.multi_fields(cursor, entity, [card], MULTI)
        return Reply(_shown(portal, layout, rows[0]) | entries[card])

    return answer


def _update(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        card = card_id(params)
        fields = params.get("fields")
        if not isinstance(fields, dict):
            raise RestError("", "Parameter 'fields' must be array.")
        with portal.database.transaction() as cursor:
            store.update(portal, cursor, entity, card, fields, only_changes=False)
        return Reply(True)

    return answer


def _add(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        with portal.database.transaction() as cursor:
            return Reply(store.add(portal, cursor, entity, mapping(params, "fields")))

    return answer


def _delete(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        card = card_id(params)
        with portal.database.transaction() as cursor:
            recycle.delete(portal, cursor, entity, card)
        return Reply(True)

    return answer


def _shown(portal: Portal, layout: Layout, row: Row) -> Row:
    return {
        name: several(value) if name in layout.multiple else as_text(portal, value, layout.type_of(name))
        for name, value in row.items()
    }


for _entity in ENTITIES:
    _prefix = f"crm.{_entity.code.lower()}"
    methods.on(f"{_prefix}.list")(_list(_entity))
    methods.on(f"{_prefix}.get")(_get(_entity))
    methods.on(f"{_prefix}.update")(_update(_entity))
    methods.on(f"{_prefix}.add")(_add(_entity))
    methods.on(f"{_prefix}.delete")(_delete(_entity))
