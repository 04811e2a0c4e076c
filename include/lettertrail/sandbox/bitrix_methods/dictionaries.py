"""`crm.status.list`, currencies, funnels, and the search for cards by e-mail or phone."""

# ruff: noqa: S608  only names listed here are interpolated; values are always bound

from __future__ import annotations

from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, as_text
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    columns_of,
    integer,
    sequence,
)
from lettertrail.sandbox.bitrix_methods.store import match_code
from lettertrail.sandbox.bitrix_methods.tables import TableList

STATUS_FIELDS = (
    "ID",
    "ENTITY_ID",
    "STATUS_ID",
    "NAME",
    "NAME_INIT",
    "SORT",
    "SYSTEM",
    "COLOR",
    "SEMANTICS",
    "CATEGORY_ID",
)
CURRENCY_FIELDS = ("CURRENCY", "AMOUNT_CNT", "AMOUNT", "SORT", "BASE", "DATE_UPDATE")
FUNNEL_FIELDS = ("ID", "CREATED_DATE", "NAME", "IS_LOCKED", "SORT", "ORIGIN_ID", "ORIGINATOR_ID")
MAX_VALUES = 20
LEAD_TYPE, DEAL_TYPE, OLD_INVOICE = 1, 2, 5
DEFAULT_FUNNEL = "Общая"

methods = Methods()


def _word(portal: Portal, value: Any, kind: str) -> Any:
    """Dictionaries show a missing date as null, not as an empty text."""
    return None if value is None else as_text(portal, value, kind)


methods.on("crm.status.list")(TableList("b_crm_status", only=STATUS_FIELDS, is_paged=False, show=_word))
methods.on("crm.currency.list")(
    TableList("b_catalog_currency", only=CURRENCY_FIELDS, is_paged=False, show=_word, key="CURRENCY")
)
methods.on("crm.dealcategory.list")(TableList("b_crm_deal_category", only=FUNNEL_FIELDS, show=_word))


@methods.on("crm.dealcategory.default.get")
def default_funnel(portal: Portal, params: Params) -> Reply:
    """The funnel with the id 0, which is in no table."""
    return Reply({"ID": 0, "NAME": DEFAULT_FUNNEL})


@methods.on("crm.category.list")
def list_categories(portal: Portal, params: Params) -> Reply:
    """Funnels of an entity type; the deals' default one has the id 0 and is in no table."""
    entity = integer(params.get("entityTypeId"))
    if entity is None or entity <= 0:
        raise RestError("NOT_FOUND", "The entity type is not found.")
    if entity in {LEAD_TYPE, OLD_INVOICE}:
        raise RestError("ENTITY_TYPE_NOT_SUPPORTED", "Entity type is not supported")
    with portal.database.transaction() as cursor:
        found = _deal_funnels(cursor) if entity == DEAL_TYPE else _funnels(cursor, entity)
    categories = [{**row, "entityTypeId": entity} for row in found]
    return Reply({"categories": categories}, total=len(categories))


def _deal_funnels(cursor: Any) -> list[Row]:
    cursor.execute(
        "select ID as id, NAME as name, SORT as sort, 'N' as isDefault, ifnull(ORIGIN_ID, '') as originId, "
        "ifnull(ORIGINATOR_ID, '') as originatorId from b_crm_deal_category order by SORT, ID"
    )
    return [*cursor.fetchall(), {"id": 0, "name": DEFAULT_FUNNEL, "sort": 300, "isDefault": "Y"}]


def _funnels(cursor: Any, entity: int) -> list[Row]:
    if not columns_of(cursor, "b_crm_item_category"):
        return []
    cursor.execute(
        "select ID as id, NAME as name, SORT as sort, IS_DEFAULT as isDefault, ifnull(CODE, '') as code, "
        "IS_SYSTEM as isSystem from b_crm_item_category where ENTITY_TYPE_ID = %s order by SORT, ID",
        (entity,),
    )
    return list(cursor.fetchall())


@methods.on("crm.duplicate.findbycomm")
def find_duplicates(portal: Portal, params: Params) -> Reply:
    """Cards by e-mail or phone; types without a match are absent; nothing found is an empty list, as PHP writes it."""
    kind = str(params.get("type", "")).upper()
    if kind not in {"EMAIL", "PHONE"}:
        raise RestError("", "The parameter 'type' must be EMAIL or PHONE.")
    values = [str(value) for value in sequence(params, "values")][:MAX_VALUES]
    if not values:
        raise RestError("", "The parameter 'values' is empty.")
    only = str(params.get("entity_type", "")).upper()
    codes = sorted({match_code(kind, value) for value in values})
    found: dict[str, list[int]] = {}
    with portal.database.transaction() as cursor:
        for entity in ENTITIES:
            if only and entity.code != only:
                continue
            cursor.execute(
                "select distinct ENTITY_ID from b_crm_dp_comm_mcd where ENTITY_TYPE_ID = %s and TYPE = %s "
                f"and VALUE in ({', '.join(['%s'] * len(codes))}) order by ENTITY_ID limit {MAX_VALUES}",
                (entity.type_id, kind, *codes),
            )
            ids = [int(row["ENTITY_ID"]) for row in cursor.fetchall()]
            if ids:
                found[entity.code] = ids
    return Reply(found or [])
