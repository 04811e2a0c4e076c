"""What Bitrix24 REST lists, and how each list is paged. Facts: bitrix.md 6.2, 6.5, documentation of the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Paging = Literal["keyset", "next"]


@dataclass(frozen=True, slots=True)
class Feed:
    """One list of the portal. Rows of several tables may come out of it."""

    name: str
    method: str
    scope: str
    rows: str = ""
    """The field of the result that holds the list; empty when the result is the list."""
    key: str = "id"
    """The field with the row's id, as rows, filters and orders spell it."""
    changed: str | None = None
    """The field with the row's last change, as rows and filters spell it."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of every call."""
    always: Mapping[str, Any] = field(default_factory=dict)
    """Conditions of every call."""
    select: Sequence[str] = ()
    paging: Paging = "keyset"
    """`keyset`: ids above the last one, not counted. `next`: the few rows of a dictionary, by offset."""
    follows: str | None = None
    """The feed whose changes are the only sign of a change here."""
    owner: str = ""
    """The filter that takes ids of `follows`."""
    is_listed: bool = True
    """False: there is no list of all, the ids of `follows` must be named."""
    only_grows: bool = False
    """Rows never change: whatever is new has a higher id."""
    event: str = ""
    """What offline events call it: `CRMCONTACT` in ONCRMCONTACTUPDATE."""
    code: str = ""
    """How tables shared between kinds of cards call it: `CONTACT`."""
    type_id: int = 0
    """The CRM's number for its kind of card (bitrix.md 2.1)."""

    def command(
        self, filters: Mapping[str, Any], *, start: int = -1, descending: str | None = None, only_ids: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """A call of the list.

        Args:
            start: offset; -1 does not count the rows.
            descending: order by this field, latest first, instead of by ascending id.
            only_ids: leave everything but id and change time out.
        """
        conditions = {**self.always, **filters}
        slim = [self.key, *([self.changed] if self.changed else [])]
        select = slim if only_ids and self.select else list(self.select)
        if self.method == "user.get":
            # The one list with parameters of its own; it has no select either.
            sorting = {"sort": descending or self.key, "order": "DESC" if descending else "ASC"}
            return self.method, {**self.fixed, "filter": conditions, **sorting, "start": start}
        params: dict[str, Any] = {**self.fixed}
        if select:
            params["select"] = select
        if conditions:
            params["filter"] = conditions
        params["order"] = {descending: "DESC"} if descending else {self.key: "ASC"}
        return self.method, {**params, "start": start}


def _card(name: str, type_id: int) -> Feed:
    """`fm` (e-mails, phones …) comes only when everything is selected and nothing else is named."""
    return Feed(
        name=name,
        method="crm.item.list",
        scope="crm",
        rows="items",
        changed="updatedTime",
        fixed={"entityTypeId": type_id, "useOriginalUfNames": "Y"},
        select=("*",),
        event=f"CRM{name.upper()}",
        code=name.upper(),
        type_id=type_id,
    )


def _stage_history(name: str, type_id: int, fields: Sequence[str]) -> Feed:
    return Feed(
        name=name,
        method="crm.stagehistory.list",
        scope="crm",
        rows="items",
        key="ID",
        fixed={"entityTypeId": type_id},
        select=("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", *fields),
        only_grows=True,
        type_id=type_id,
    )


def _custom_fields(card: Feed) -> Feed:
    return Feed(
        name=f"{card.name}_fields",
        method=f"crm.{card.name}.userfield.list",
        scope="crm",
        key="ID",
        paging="next",
        code=card.code,
        type_id=card.type_id,
    )


def _product_rows(card: Feed, letter: str) -> Feed:
    return Feed(
        name=f"{card.name}_products",
        method="crm.item.productrow.list",
        scope="crm",
        rows="productRows",
        always={"=ownerType": letter},
        follows=card.name,
        owner="=ownerId",
        is_listed=False,
        code=letter,
    )


LEAD, DEAL, CONTACT, COMPANY = _card("lead", 1), _card("deal", 2), _card("contact", 3), _card("company", 4)
CARDS = (LEAD, DEAL, CONTACT, COMPANY)

ACTIVITY_FIELDS = (
    "ID", "TYPE_ID", "PROVIDER_ID", "PROVIDER_TYPE_ID", "PROVIDER_GROUP_ID", "OWNER_ID", "OWNER_TYPE_ID",
    "ASSOCIATED_ENTITY_ID", "SUBJECT", "COMPLETED", "STATUS", "RESPONSIBLE_ID", "PRIORITY", "NOTIFY_TYPE",
    "NOTIFY_VALUE", "DESCRIPTION", "DESCRIPTION_TYPE", "DIRECTION", "LOCATION", "CREATED", "LAST_UPDATED",
    "START_TIME", "END_TIME", "DEADLINE", "ORIGINATOR_ID", "ORIGIN_ID", "AUTHOR_ID", "EDITOR_ID", "RESULT_STATUS",
    "RESULT_STREAM", "RESULT_SOURCE_ID", "RESULT_MARK", "RESULT_VALUE", "RESULT_SUM", "RESULT_CURRENCY_ID",
    "AUTOCOMPLETE_RULE", "COMMUNICATIONS",
)  # fmt: skip

ORDER_FIELDS = (
    "id", "lid", "dateInsert", "dateUpdate", "personTypeId", "statusId", "dateStatus", "empStatusId", "marked",
    "dateMarked", "empMarkedId", "reasonMarked", "price", "discountValue", "taxValue", "userDescription",
    "additionalInfo", "comments", "companyId", "responsibleId", "recurringId", "lockedBy", "dateLock", "recountFlag",
    "affiliateId", "updated1c", "orderTopic", "xmlId", "id1c", "version", "version1c", "externalOrder", "canceled",
    "dateCanceled", "empCanceledId", "reasonCanceled", "userId", "currency", "accountNumber", "payed", "deducted",
)  # fmt: skip

BASKET_FIELDS = (
    "id", "orderId", "sort", "productId", "price", "customPrice", "currency", "quantity", "xmlId", "dateInsert",
    "dateUpdate", "name", "basePrice", "discountPrice", "weight", "dimensions", "measureCode", "measureName", "canBuy",
    "vatRate", "vatIncluded", "barcodeMulti", "type", "catalogXmlId", "productXmlId",
)  # fmt: skip

PAYMENT_FIELDS = (
    "id", "orderId", "accountNumber", "paid", "datePaid", "empPaidId", "paySystemId", "psStatus", "psStatusCode",
    "psStatusDescription", "psStatusMessage", "psSum", "psCurrency", "psResponseDate", "payVoucherNum",
    "payVoucherDate", "datePayBefore", "dateBill", "xmlId", "sum", "currency", "paySystemName", "companyId",
    "payReturnNum", "priceCod", "payReturnDate", "empReturnId", "payReturnComment", "responsibleId",
    "empResponsibleId", "dateResponsibleId", "isReturn", "comments", "updated1c", "id1c", "version1c",
    "externalPayment", "psInvoiceId", "marked", "reasonMarked", "dateMarked", "empMarkedId",
)  # fmt: skip

SHIPMENT_FIELDS = (
    "id", "orderId", "accountNumber", "dateInsert", "statusId", "priceDelivery", "discountPrice", "basePriceDelivery",
    "customPriceDelivery", "allowDelivery", "dateAllowDelivery", "empAllowDeliveryId", "deducted", "dateDeducted",
    "empDeductedId", "reasonUndoDeducted", "deliveryId", "deliveryDocNum", "deliveryDocDate", "trackingNumber", "xmlId",
    "deliveryName", "canceled", "dateCanceled", "empCanceledId", "marked", "dateMarked", "empMarkedId", "reasonMarked",
    "currency", "system", "responsibleId", "empResponsibleId", "dateResponsibleId", "comments", "companyId",
    "trackingStatus", "trackingDescription", "trackingLastCheck", "id1c", "version1c", "externalDelivery", "updated1c",
)  # fmt: skip

BASKET_PROPERTY_FIELDS = ("id", "basketId", "name", "value", "code", "sort", "xmlId")

VALUE_FIELDS = ("id", "orderId", "orderPropsId", "name", "code", "value")

FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        *CARDS,
        _stage_history("lead_history", 1, ["STATUS_SEMANTIC_ID", "STATUS_ID"]),
        _stage_history("deal_history", 2, ["CATEGORY_ID", "STAGE_SEMANTIC_ID", "STAGE_ID"]),
        *map(_custom_fields, CARDS),
        _product_rows(DEAL, "D"),
        _product_rows(LEAD, "L"),
        Feed("activity", "crm.activity.list", "crm", key="ID", changed="LAST_UPDATED", select=ACTIVITY_FIELDS),
        Feed("status", "crm.status.list", "crm", key="ID", paging="next"),
        Feed("funnel", "crm.category.list", "crm", rows="categories", fixed={"entityTypeId": 2}, paging="next"),
        Feed("currency", "crm.currency.list", "crm", key="CURRENCY", paging="next"),
        Feed("user", "user.get", "user", key="ID"),
        Feed("order", "sale.order.list", "sale", rows="orders", changed="dateUpdate", select=ORDER_FIELDS),
        Feed(
            "basket_item", "sale.basketitem.list", "sale", rows="basketItems", changed="dateUpdate",
            select=BASKET_FIELDS,
        ),
        Feed(
            "payment", "sale.payment.list", "sale", rows="payments", select=PAYMENT_FIELDS, follows="order",
            owner="@orderId",
        ),
        Feed(
            "property_value", "sale.propertyvalue.list", "sale", rows="propertyValues", select=VALUE_FIELDS,
            follows="order", owner="@orderId",
        ),
        Feed(
            "shipment", "sale.shipment.list", "sale", rows="shipments", select=SHIPMENT_FIELDS, follows="order",
            owner="@orderId",
        ),
        Feed(
            "basket_property", "sale.basketproperties.list", "sale", rows="basketProperties",
            select=BASKET_PROPERTY_FIELDS, follows="basket_item", owner="@basketId",
        ),
        Feed("order_status_name", "sale.statuslang.list", "sale", rows="statusLangs", key="statusId", paging="next"),
        Feed("order_status", "sale.status.list", "sale", rows="statuses", paging="next"),
        Feed("person_type", "sale.persontype.list", "sale", rows="personTypes", paging="next"),
        Feed("order_property", "sale.property.list", "sale", rows="properties", paging="next"),
        Feed("agreement", "userconsent.agreement.list", "userconsent", key="ID", paging="next"),
    )
}  # fmt: skip
"""Every list that is read, by name."""
