"""Which Bitrix tables a cloud portal can fill, and from which field of which list each column comes.

A table has exactly the columns of the database table of the same name (`reference.py`); what no field is named for here
is NULL, never 0 or ''. docs/cloud.md is checked against this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lettertrail.bitrix.cloud_feeds import (
    ACTIVITY_FIELDS,
    BASKET_FIELDS,
    BASKET_PROPERTY_FIELDS,
    CARDS,
    FEEDS,
    ORDER_FIELDS,
    PAYMENT_FIELDS,
    SHIPMENT_FIELDS,
    VALUE_FIELDS,
    Feed,
)

Row = Mapping[str, Any]
Unfold = Callable[[Feed, Row], Iterator[Row]]

UTM_FIELDS = {
    "UTM_SOURCE": "utmSource",
    "UTM_MEDIUM": "utmMedium",
    "UTM_CAMPAIGN": "utmCampaign",
    "UTM_CONTENT": "utmContent",
    "UTM_TERM": "utmTerm",
}
NO_ID = "made by us from card, field and position: REST shows no id, and nothing refers to it"


@dataclass(frozen=True, slots=True)
class CloudTable:
    """One table and where it comes from."""

    name: str
    feeds: Sequence[str]
    fields: Mapping[str, str]
    """Column -> field of a row of the feed."""
    unfold: Unfold | None = None
    """Makes rows of the table (columns already named) out of one row of the feed; None: one row each, by `fields`."""
    card: str | None = "id"
    """The column that holds the id of the feed's row; None when no column does."""
    custom_fields_of: Feed | None = None
    """`b_uts_*` and `b_utm_*`: the card whose custom fields it holds."""
    empty_is_null: bool = False
    """The method writes '' where nothing is, so '' says nothing."""
    days: Sequence[str] = ()
    """Columns of type datetime that REST treats as a date."""
    wide: Sequence[str] = ()
    """Columns that must be wider than in the database."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Column -> what a reader of the copy should know."""

    @property
    def methods(self) -> list[str]:
        """The REST methods behind the table."""
        return list(dict.fromkeys(FEEDS[name].method for name in self.feeds))

    def rows(self, feed: Feed, row: Row) -> Iterator[Row]:
        """The table's rows out of one row of a feed, by column name; values as REST gave them."""
        if self.unfold is not None:
            yield from self.unfold(feed, row)
        else:
            yield {column: row.get(name) for column, name in self.fields.items()}


def camel(column: str) -> str:
    """`date_insert` → `dateInsert`: how the newer methods spell a column."""
    first, *rest = column.lower().split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(1c)$|(?=[A-Z])", lambda match: f"_{match[0]}", name).lower()


def _same(columns: str, **renamed: str) -> dict[str, str]:
    """Columns whose field has the same name in camelCase, and those that are called differently."""
    return {**{column: camel(column) for column in columns.split()}, **renamed}


def _upper(columns: str) -> dict[str, str]:
    return {column: column.upper() for column in columns.split()}


_EVERY_CARD = {
    "id": "id",
    "date_create": "createdTime",
    "date_modify": "updatedTime",
    "created_by_id": "createdBy",
    "modify_by_id": "updatedBy",
}
_EVERY_CARD_SAME = (
    "assigned_by_id opened comments webform_id originator_id origin_id last_activity_by last_activity_time "
)


def _fm(feed: Feed, row: Row) -> Iterator[Row]:
    for item in row.get("fm") or ():
        yield {
            "id": item["id"],
            "entity_id": feed.code,
            "element_id": row["id"],
            "type_id": item["typeId"],
            "value_type": item["valueType"],
            "complex_id": f"{item['typeId']}_{item['valueType']}",
            "value": item["value"],
        }


def _utm(feed: Feed, row: Row) -> Iterator[Row]:
    for code, name in UTM_FIELDS.items():
        if row.get(name):
            yield {"entity_type_id": feed.type_id, "entity_id": row["id"], "code": code, "value": row[name]}


def _links(own: str, other: str, ids: str, primary: str) -> Unfold:
    def unfold(feed: Feed, row: Row) -> Iterator[Row]:
        for number in row.get(ids) or ():
            is_primary = "Y" if str(number) == str(row.get(primary)) else "N"
            yield {own: row["id"], other: number, "is_primary": is_primary}

    return unfold


def _choices(feed: Feed, row: Row) -> Iterator[Row]:
    for choice in row.get("LIST") or ():
        yield {
            "id": choice["ID"],
            "user_field_id": row["ID"],
            "value": choice["VALUE"],
            "def": choice.get("DEF"),
            "sort": choice.get("SORT"),
            "xml_id": choice.get("XML_ID"),
        }


def _communications(feed: Feed, row: Row) -> Iterator[Row]:
    for item in row.get("COMMUNICATIONS") or ():
        yield {
            "id": item["ID"],
            "activity_id": row["ID"],
            "owner_id": row["OWNER_ID"],
            "owner_type_id": row["OWNER_TYPE_ID"],
            "type": item.get("TYPE"),
            "value": item.get("VALUE"),
            "entity_id": item.get("ENTITY_ID"),
            "entity_type_id": item.get("ENTITY_TYPE_ID"),
        }


def _funnels(feed: Feed, row: Row) -> Iterator[Row]:
    # The default funnel has no row in the database.
    if row["id"] != 0:
        yield {
            "id": row["id"],
            "name": row["name"],
            "sort": row["sort"],
            "origin_id": row.get("originId"),
            "originator_id": row.get("originatorId"),
        }


def _link_table(name: str, card: str, other: str) -> CloudTable:
    own, foreign = f"{card}_id", f"{other}_id"
    ids, primary = f"{other}Ids", f"{other}Id"
    return CloudTable(
        name,
        [card],
        {own: "id", foreign: ids, "is_primary": primary},
        unfold=_links(own, foreign, ids, primary),
        card=own,
        notes={"is_primary": f"Y where {foreign} is the card's own {primary}"},
    )


def _custom(card: Feed) -> tuple[CloudTable, CloudTable]:
    """The two tables of custom fields; their columns are those the portal has now, see `cloud_rows.CustomFields`."""
    single = CloudTable(
        f"b_uts_crm_{card.name}", [card.name], {"value_id": "id", "uf_crm_…": "UF_CRM_…"}, card="value_id",
        custom_fields_of=card, notes={"uf_crm_…": "one column per custom field; a row where any of them has a value"},
    )  # fmt: skip
    several = CloudTable(
        f"b_utm_crm_{card.name}", [card.name],
        {"id": "", "value_id": "id", "field_id": "ID of the field", **dict.fromkeys(
            ("value", "value_int", "value_double", "value_date"), "UF_CRM_…")},
        card="value_id", custom_fields_of=card, wide=["id"], notes={"id": NO_ID},
    )  # fmt: skip
    return single, several


_ALL = (
    CloudTable(
        "b_crm_contact", ["contact"],
        _EVERY_CARD | _same(
            _EVERY_CARD_SAME + "company_id source_id source_description name last_name second_name photo post address"
            " lead_id export type_id origin_version birthdate honorific has_phone has_email has_imol category_id"
        ),
    ),
    CloudTable(
        "b_crm_lead", ["lead"],
        _EVERY_CARD | _same(
            _EVERY_CARD_SAME + "company_id contact_id status_description opportunity currency_id source_id"
            " source_description title name last_name second_name company_title post address date_closed birthdate"
            " honorific has_phone has_email has_imol is_return_customer is_manual_opportunity moved_time",
            status_id="stageId", status_semantic_id="stageSemanticId", moved_by_id="movedBy",
        ),
    ),
    CloudTable(
        "b_crm_deal", ["deal"],
        _EVERY_CARD | _same(
            _EVERY_CARD_SAME + "lead_id company_id contact_id quote_id title category_id stage_id stage_semantic_id"
            " is_new is_recurring is_return_customer is_repeated_approach closed type_id opportunity"
            " is_manual_opportunity tax_value currency_id probability begindate closedate event_date event_id"
            " event_description location_id source_id source_description additional_info moved_time",
            moved_by_id="movedBy",
        ),
        days=["begindate", "closedate"],
        notes={"begindate": "as a rule the day only", "closedate": "as a rule the day only"},
    ),
    CloudTable(
        "b_crm_company", ["company"],
        _EVERY_CARD | _same(
            _EVERY_CARD_SAME + "title logo address address_legal banking_details industry revenue currency_id employees"
            " lead_id origin_version has_phone has_email has_imol is_my_company category_id",
            company_type="typeId",
        ),
    ),
    _link_table("b_crm_deal_contact", "deal", "contact"),
    _link_table("b_crm_lead_contact", "lead", "contact"),
    _link_table("b_crm_contact_company", "contact", "company"),
    CloudTable(
        "b_crm_field_multi", ["lead", "contact", "company"],
        {
            "id": "fm.id", "entity_id": "the kind of card", "element_id": "id", "type_id": "fm.typeId",
            "value_type": "fm.valueType", "complex_id": "fm.typeId and fm.valueType", "value": "fm.value",
        },
        unfold=_fm, card="element_id",
    ),
    CloudTable(
        "b_crm_utm", [card.name for card in CARDS],
        {"entity_type_id": "the kind of card", "entity_id": "id", "code": "utm…", "value": "utm…"},
        unfold=_utm, card="entity_id",
    ),
    CloudTable(
        "b_crm_status", ["status"],
        _upper("id entity_id status_id name name_init sort system color semantics category_id"),
    ),
    CloudTable("b_crm_deal_category", ["funnel"], _same("id name sort origin_id originator_id"), unfold=_funnels,
        empty_is_null=True),
    CloudTable(
        "b_crm_deal_stage_history", ["deal_history"],
        _upper("id type_id owner_id created_time category_id stage_semantic_id stage_id"),
    ),
    CloudTable(
        "b_crm_lead_status_history", ["lead_history"],
        _upper("id type_id owner_id created_time status_semantic_id status_id"),
    ),
    *(table for card in CARDS for table in _custom(card)),
    CloudTable(
        "b_user_field", [f"{card.name}_fields" for card in CARDS],
        _upper(
            "id entity_id field_name user_type_id xml_id sort multiple mandatory show_filter show_in_list edit_in_list"
            " is_searchable"
        ),
    ),
    CloudTable(
        "b_user_field_enum", [f"{card.name}_fields" for card in CARDS],
        {"id": "LIST.ID", "user_field_id": "ID", "value": "LIST.VALUE", "def": "LIST.DEF", "sort": "LIST.SORT",
         "xml_id": "LIST.XML_ID"},
        unfold=_choices, card=None,
    ),
    CloudTable(
        "b_crm_act", ["activity"], {name.lower(): name for name in ACTIVITY_FIELDS if name != "COMMUNICATIONS"},
    ),
    CloudTable(
        "b_crm_act_comm", ["activity"],
        {"id": "COMMUNICATIONS.ID", "activity_id": "ID", "owner_id": "OWNER_ID", "owner_type_id": "OWNER_TYPE_ID",
         **{name: f"COMMUNICATIONS.{name.upper()}" for name in ("type", "value", "entity_id", "entity_type_id")}},
        unfold=_communications, card="activity_id",
    ),
    CloudTable(
        "b_crm_product_row", ["deal_products", "lead_products"],
        _same(
            "id owner_id owner_type product_id product_name price price_account price_exclusive price_netto"
            " price_brutto quantity discount_type_id discount_rate discount_sum tax_rate tax_included customized"
            " measure_code measure_name sort xml_id type"
        ),
    ),
    CloudTable(
        "b_user", ["user"],
        _upper(
            "id xml_id active name last_name second_name title email last_login date_register time_zone"
            " personal_gender personal_birthday personal_phone personal_mobile personal_city personal_state"
            " personal_country work_company work_position work_phone"
        ),
        empty_is_null=True,
    ),
    CloudTable("b_catalog_currency", ["currency"], _upper("currency amount_cnt amount sort base date_update")),
    CloudTable("b_sale_order", ["order"], {_snake(name): name for name in ORDER_FIELDS}),
    CloudTable("b_sale_basket", ["basket_item"], {_snake(name): name for name in BASKET_FIELDS}),
    CloudTable("b_sale_order_payment", ["payment"], {_snake(name): name for name in PAYMENT_FIELDS}),
    CloudTable("b_sale_order_delivery", ["shipment"], {_snake(name): name for name in SHIPMENT_FIELDS}),
    CloudTable("b_sale_basket_props", ["basket_property"], {_snake(name): name for name in BASKET_PROPERTY_FIELDS}),
    CloudTable("b_sale_status_lang", ["order_status_name"], _same("status_id lid name description"), card=None),
    CloudTable("b_sale_order_props_value", ["property_value"], {_snake(name): name for name in VALUE_FIELDS}),
    CloudTable(
        "b_sale_order_props", ["order_property"],
        _same(
            "id person_type_id name type required sort user_props is_location props_group_id description is_email"
            " is_profile_name is_payer is_location4tax is_filtered code is_zip is_phone active util multiple"
            " is_address is_address_from is_address_to xml_id"
        ),
    ),
    CloudTable("b_sale_status", ["order_status"], _same("id type sort notify color xml_id")),
    CloudTable("b_sale_person_type", ["person_type"], _same("id name code sort active xml_id")),
    CloudTable("b_consent_agreement", ["agreement"], _upper("id name active language_id")),
)  # fmt: skip

TABLES: Mapping[str, CloudTable] = {table.name: table for table in _ALL}
"""Every table the cloud fills, by name."""


def why_not(table: str) -> str:
    """Why the cloud cannot give a table."""
    reasons = {
        "b_sender_": "REST has no mailings: no letters, recipients, opens, clicks, unsubscribes or blacklists",
        "b_crm_tracking_": "REST can add a trace but not read one",
        "b_recyclebin": "REST shows no recycle bin",
        "b_consent_": "REST adds consents but does not list them",
        "b_conv_": "REST has no conversion counters",
        "b_list_rubric": "the cloud has no module subscribe",
        "b_subscription": "the cloud has no module subscribe",
        "b_posting": "the cloud has no module subscribe",
        "b_event": "REST has no mail events",
        "b_main_mail": "REST has no core mailer",
        "b_catalog_currency_rate": "REST gives each currency's default rate only",
        "b_crm_item_category": "smart processes are not copied from the cloud",
        "b_crm_entity_": "smart processes are not copied from the cloud",
        "b_crm_act_bind": "REST shows what an activity is bound to, not the rows that say so",
        "b_crm_timeline": "REST lists comments card by card, and nothing of mailings",
        "b_crm_event": "REST has no log of field changes",
    }
    return next((why for start, why in reasons.items() if table.startswith(start)), "no REST method lists it")
