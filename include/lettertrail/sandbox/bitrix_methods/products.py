"""Lines of deals and leads: `crm.productrow.list`, `crm.deal.productrows.get`, `crm.item.productrow.list`."""

from __future__ import annotations

from lettertrail.sandbox.bitrix_methods.conditions import split_prefix
from lettertrail.sandbox.bitrix_methods.fields import DEAL, LEAD, Entity
from lettertrail.sandbox.bitrix_methods.portal import (
    Method,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    card_id,
    mapping,
)
from lettertrail.sandbox.bitrix_methods.tables import TableList, as_typed, camel

SHORT = {LEAD: "L", DEAL: "D"}

methods = Methods()
_rows = TableList("b_crm_product_row")
_items = TableList("b_crm_product_row", result="productRows", name=camel, show=as_typed)


@methods.on("crm.productrow.list")
def list_rows(portal: Portal, params: Params) -> Reply:
    """Lines under a filter that names the owner's type."""
    _require(params, "OWNER_TYPE")
    return _rows(portal, params)


@methods.on("crm.item.productrow.list")
def list_item_rows(portal: Portal, params: Params) -> Reply:
    """The same in the newer form; `=ownerType` and `=ownerId` have to be in the filter."""
    _require(params, "ownerType", "ownerId")
    return _items(portal, params)


def _require(params: Params, *names: str) -> None:
    given = {split_prefix(str(key))[1] for key in mapping(params, "filter")}
    for name in names:
        if name not in given:
            raise RestError("100", f"Required fields: {name}")


def _of(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        found = _rows(portal, {"filter": {"OWNER_TYPE": SHORT[entity], "OWNER_ID": card_id(params)}, "start": -1})
        return Reply(found.result)

    return answer


for _entity in SHORT:
    methods.on(f"crm.{_entity.code.lower()}.productrows.get")(_of(_entity))
