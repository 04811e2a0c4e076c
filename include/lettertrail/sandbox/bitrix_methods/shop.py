"""`sale.*`: orders, lines, payments and their dictionaries. camelCase, typed, a key of its own for each list."""

from __future__ import annotations

from lettertrail.sandbox.bitrix_methods.portal import Methods
from lettertrail.sandbox.bitrix_methods.tables import TableList, as_typed, camel

methods = Methods()

LISTS = {
    "sale.order.list": ("b_sale_order", "orders"),
    "sale.basketitem.list": ("b_sale_basket", "basketItems"),
    "sale.basketproperties.list": ("b_sale_basket_props", "basketProperties"),
    "sale.payment.list": ("b_sale_order_payment", "payments"),
    "sale.shipment.list": ("b_sale_order_delivery", "shipments"),
    "sale.status.list": ("b_sale_status", "statuses"),
    "sale.persontype.list": ("b_sale_person_type", "personTypes"),
    "sale.property.list": ("b_sale_order_props", "properties"),
    "sale.propertyvalue.list": ("b_sale_order_props_value", "propertyValues"),
}
HIDDEN = frozenset({"PS_CARD_NUMBER", "PS_RECURRING_TOKEN"})
# A cart that never became an order is nobody's business outside: the list starts from orders.
FIXED = {"sale.basketitem.list": "m.ORDER_ID is not null"}

for _method, (_table, _result) in LISTS.items():
    methods.on(_method)(
        TableList(_table, result=_result, name=camel, show=as_typed, hidden=HIDDEN, fixed=FIXED.get(_method, ""))
    )

methods.on("sale.statuslang.list")(
    TableList("b_sale_status_lang", result="statusLangs", name=camel, show=as_typed, key="STATUS_ID")
)
