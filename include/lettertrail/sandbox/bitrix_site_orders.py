"""Around the orders of the sample site: lines, carts, shipments, changes, refunds, the archive (bitrix.md 3.1)."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_rows import ZERO_DATETIME, Writer, by_column, local, moment, yes_no
from lettertrail.sandbox.bitrix_site_shop import DELIVERY
from lettertrail.sandbox.world import World

ARCHIVED = 4
FIRST_ARCHIVED_ORDER = 900_001
"""Orders of the shop's former engine, imported and archived."""
ANONYMOUS_CARTS = 3
CHANGE_DATA_LENGTH = 512
"""`b_sale_order_change.DATA` is no longer; MySQL without strict mode cuts what is."""
MULTIPLE_PROPERTY = 3
EVERY_NTH_WISH = 20


def write_orders(writer: Writer, world: World) -> None:
    """Writes what belongs to deals, orders and carts besides the orders themselves."""
    _write_product_rows(writer, world)
    if world.orders.empty:
        return
    _write_shipments(writer, world)
    _write_changes(writer, world)
    _write_refunds(writer, world)
    _write_properties(writer, world)
    _write_carts(writer, world)
    _write_archive(writer, world)


def _write_product_rows(writer: Writer, world: World) -> None:
    """Two lines a deal, together worth the deal."""
    deals = world.deals
    half = [(amount / 2).quantize(Decimal("0.01")) for amount in deals["amount"]]
    rest = [amount - part for amount, part in zip(deals["amount"], half, strict=True)]
    owner = deals["deal"].tolist()
    price = [*half, *rest, Decimal("1500.00")]
    writer.write(
        "b_crm_product_row",
        {
            "OWNER_ID": [*owner, *owner, 1],
            "OWNER_TYPE": [*["D"] * (2 * len(owner)), "T80"],  # 80 is hexadecimal for the smart process 128
            "PRODUCT_ID": [*[1 + deal % 57 for deal in owner], *[0] * len(owner), 3],
            "PRODUCT_NAME": [*["Палатка &quot;Тайга-3&quot;"] * len(owner), *["Доставка"] * len(owner), "Ремонт 🔧"],
            "PRICE": price,
            "PRICE_ACCOUNT": price,
            "PRICE_EXCLUSIVE": price,
            "QUANTITY": Decimal("1.0000"),
            "DISCOUNT_TYPE_ID": 2,
            "TAX_RATE": [*[Decimal("20.00")] * len(owner), *[None] * len(owner), Decimal(0)],
            "TAX_INCLUDED": "Y",
            "MEASURE_CODE": 796,
            "MEASURE_NAME": "шт",
            "SORT": [*[10] * len(owner), *[20] * len(owner), 10],
        },
    )


def _write_shipments(writer: Writer, world: World) -> None:
    orders = world.orders
    number = orders["order"].to_numpy(np.int64)
    created = local(orders["created_at"])
    document: list[object] = [None] * len(orders)
    document[0] = ZERO_DATETIME
    shipped = ~np.isnat(local(orders["paid_at"]))
    writer.write(
        "b_sale_order_delivery",
        {
            "ID": number,
            "ORDER_ID": number,
            "ACCOUNT_NUMBER": [f"{order}/2" for order in number.tolist()],
            "DATE_INSERT": created,
            "DATE_UPDATE": np.fmax(created, local(orders["paid_at"])),
            "PARAMS": php.serialize({}),
            "STATUS_ID": np.where(shipped, "DF", "DN").astype(object),
            "PRICE_DELIVERY": DELIVERY,
            "ALLOW_DELIVERY": yes_no(shipped),
            "DEDUCTED": yes_no(shipped),
            "DELIVERY_ID": 2,
            "DELIVERY_DOC_DATE": document,
            "TRACKING_NUMBER": [f"RA{order:09d}RU" if order % 2 else "" for order in number.tolist()],
            "DELIVERY_NAME": "Курьер",
            "CURRENCY": "RUB",
            "WEIGHT": [order % 7 / 4 for order in number.tolist()],
        },
    )
    writer.write("b_sale_status", {"ID": ["DN", "DF"], "TYPE": "D", "SORT": [300, 400]})
    writer.write("b_sale_status_lang", {"STATUS_ID": ["DN", "DF"], "LID": "ru", "NAME": ["Ждёт", "Отгружен"]})


def _write_changes(writer: Writer, world: World) -> None:
    """The log of each order: added, paid, cancelled."""
    orders = world.orders
    rows: list[tuple[object, ...]] = []
    for order, amount, added, paid, canceled in zip(
        orders["order"].tolist(), orders["amount"], local(orders["created_at"]), local(orders["paid_at"]),
        orders["canceled"].tolist(), strict=True,
    ):  # fmt: skip
        data = php.serialize({"PRICE": float(amount), "CURRENCY": "RUB", "PERSON_TYPE_ID": 1})
        rows.append((added, order, "ORDER_ADDED", data, "ORDER"))
        if not np.isnat(paid):
            rows.append((paid, order, "PAYMENT_PAID", php.serialize({"PAID": "Y", "ID": order}), "PAYMENT"))
        if canceled:
            why = php.serialize({"CANCELED": "Y", "REASON_CANCELED": "передумал"})
            rows.append((added + np.timedelta64(3, "D"), order, "ORDER_CANCELED", why, "ORDER"))
    rows.sort(key=lambda row: (row[0], row[1]))
    texts: list[object] = [row[3] for row in rows]
    texts[0] = None
    if len(texts) > 1:
        texts[1] = (
            php.serialize({"COMMENTS": "очень длинный комментарий " * 30})
            .encode()[:CHANGE_DATA_LENGTH]
            .decode(errors="ignore")
        )
    at = np.array([row[0] for row in rows], dtype="datetime64[s]")
    writer.write(
        "b_sale_order_change",
        {
            "ID": np.arange(1, len(rows) + 1),
            "ORDER_ID": [row[1] for row in rows],
            "TYPE": [row[2] for row in rows],
            "DATA": texts,
            "DATE_CREATE": at,
            "DATE_MODIFY": at,
            "USER_ID": 1,
            "ENTITY": [row[4] for row in rows],
            "ENTITY_ID": [row[1] for row in rows],
        },
    )


def _write_refunds(writer: Writer, world: World) -> None:
    """A second payment of some cancelled orders, returned through the pay system or to the inner account."""
    orders = world.orders[world.orders["canceled"].to_numpy(bool)].head(6)
    number = orders["order"].tolist()
    at = local(orders["created_at"])
    writer.write(
        "b_sale_order_payment",
        {
            "ORDER_ID": number,
            "ACCOUNT_NUMBER": [f"{order}/3" for order in number],
            "PAID": "N",
            "DATE_PAID": at,
            "PAY_SYSTEM_ID": 2,
            "PAY_SYSTEM_NAME": "Наличные",
            "SUM": orders["amount"].tolist(),
            "CURRENCY": "RUB",
            "IS_RETURN": ["P" if order % 2 else "Y" for order in number],
            "PAY_RETURN_DATE": (at + np.timedelta64(4, "D")).astype("datetime64[D]"),
            "PAY_RETURN_NUM": [f"В-{order}" for order in number],
        },
    )
    writer.write(
        "b_sale_order_coupons",
        {
            "ORDER_ID": number,
            "ORDER_DISCOUNT_ID": 1,
            "COUPON": [f"SL-{order:05d}" for order in number],
            "TYPE": 4,
            "COUPON_ID": number,
            "DATA": php.serialize({"MODE": "COUPON", "COUPON": "скидка"}),
        },
    )


def _write_properties(writer: Writer, world: World) -> None:
    """A property with several values: they are serialized in the one column."""
    writer.write(
        "b_sale_order_props",
        {
            "ID": [MULTIPLE_PROPERTY],
            "PERSON_TYPE_ID": 1,
            "NAME": "Пожелания",
            "TYPE": "STRING",
            "PROPS_GROUP_ID": 1,
            "CODE": "WISHES",
            "MULTIPLE": "Y",
            "SETTINGS": php.serialize({"MAXLENGTH": "100", "PATTERN": ""}),
            "ENTITY_TYPE": "ORDER",
        },
    )
    number = [order for order in world.orders["order"].tolist() if order % EVERY_NTH_WISH == 0]
    writer.write(
        "b_sale_order_props_value",
        {
            "ORDER_ID": number,
            "ORDER_PROPS_ID": MULTIPLE_PROPERTY,
            "NAME": "Пожелания",
            "VALUE": [php.serialize(["не звонить", "позвать «Анну»"][: 1 + order // 20 % 2]) for order in number],
            "CODE": "WISHES",
            "ENTITY_ID": number,
            "ENTITY_TYPE": "ORDER",
        },
    )


def _write_carts(writer: Writer, world: World) -> None:
    """Carts of visitors nobody knows, wish lists and sets; the carts of buyers are there already."""
    at = moment(world.ended_at) - np.timedelta64(10, "D")
    first = int(world.orders["person"].nunique()) + 1
    fusers = [first + place for place in range(ANONYMOUS_CARTS)]
    writer.write(
        "b_sale_fuser",
        {
            "ID": fusers,
            "DATE_INSERT": [str(at)] * ANONYMOUS_CARTS,
            "DATE_UPDATE": [str(at + np.timedelta64(place, "h")) for place in range(ANONYMOUS_CARTS)],
            "USER_ID": [None, 0, None],
            "CODE": [f"{fuser:032x}" for fuser in fusers],
        },
    )
    line = 2 * len(world.orders) + len(world.orders) // 5 + 1
    box = php.serialize({"WIDTH": 300, "HEIGHT": 120, "LENGTH": 350})
    rows = [
        (line, fusers[0], "Набор &quot;Поход&quot;", "N", 1, None, box, "10%", "SL-COUPON", 1.0),
        (line + 1, fusers[0], "Коврик", "N", None, line, None, None, None, 2.5),
        (line + 2, fusers[1], "Палатка ⛺", "Y", None, None, "", "", "", 0.3333),
        (line + 3, fusers[2], "Котелок", "N", None, None, php.serialize(False), None, None, 3.0),
    ]
    writer.write(
        "b_sale_basket",
        {
            **by_column(
                "ID FUSER_ID NAME DELAY TYPE SET_PARENT_ID DIMENSIONS DISCOUNT_VALUE DISCOUNT_COUPON QUANTITY", rows
            ),
            "PRODUCT_ID": [7, 8, 9, 10],
            "PRICE": [Decimal("12990.0000"), Decimal(0), Decimal("24500.9900"), Decimal("0.0001")],
            "BASE_PRICE": [Decimal("14433.3333"), None, None, None],
            "DISCOUNT_PRICE": Decimal(0),
            "CURRENCY": "RUB",
            "DATE_INSERT": str(at),
            "DATE_UPDATE": str(at + np.timedelta64(2, "h")),
            "DATE_REFRESH": [ZERO_DATETIME, None, None, None],
            "LID": "s1",
            "MODULE": "catalog",
            "CAN_BUY": ["Y", "Y", "N", "Y"],
        },
    )
    writer.write(
        "b_sale_basket_props",
        by_column(
            "BASKET_ID NAME VALUE CODE",
            [(line, "Цвет", "хаки", "COLOR"), (line, "Размер", None, None), (1, "Цвет", "<b>синий</b>", "COLOR")],
        ),
    )


def _write_archive(writer: Writer, world: World) -> None:
    """Orders that left `b_sale_order`; newer versions keep their data in the packed table."""
    at = moment(world.started_at)
    numbers = list(range(1, ARCHIVED + 1))
    order = [FIRST_ARCHIVED_ORDER + place for place in range(ARCHIVED)]
    data = [php.serialize({"ORDER": {"ID": number, "COMMENTS": "Ёлка 🎄"}}) for number in order]
    dates = [str(at - np.timedelta64(30 * number, "D")) for number in numbers]
    common = {"CURRENCY": "RUB"}
    writer.write(
        "b_sale_order_archive",
        {
            **common,
            "ID": numbers,
            "LID": "s1",
            "ORDER_ID": order,
            "ACCOUNT_NUMBER": [f"A-{number}" for number in order],
            "DATE_INSERT": dates,
            "PERSON_TYPE_ID": 1,
            "USER_ID": 2,
            "STATUS_ID": "F",
            "PAYED": ["Y", "Y", "N", "Y"],
            "PRICE": [Decimal(1000 * number) for number in numbers],
            "SUM_PAID": [Decimal(1000), Decimal(2000), None, Decimal(4000)],
            "ORDER_DATA": [data[0], None, None, None],
            "VERSION": 0,
            "DATE_ARCHIVED": str(at),
        },
    )
    writer.write("b_sale_order_archive_packed", {"ORDER_ARCHIVE_ID": numbers[1:], "ORDER_DATA": data[1:]})
    writer.write(
        "b_sale_basket_archive",
        {
            **common,
            "ARCHIVE_ID": numbers,
            "PRODUCT_ID": 5,
            "NAME": "Товар из архива",
            "PRICE": [Decimal(1000 * number) for number in numbers],
            "QUANTITY": 1.0,
            "DATE_INSERT": dates,
            "BASKET_DATA": [php.serialize({"ID": str(number), "PROPS": []}) for number in numbers],
        },
    )


def write_conversion_counters(writer: Writer, world: World) -> None:
    """Daily counters of the module `conversion`, per context of a letter that brought orders."""
    letters = sorted({int(causes[-1]) for causes in world.orders["causes"] if causes})
    last = moment(world.ended_at).astype("datetime64[D]")
    days = [str(last - before) for before in (3, 2, 1)]
    rows = [
        (day, context, name, value)
        for context in range(1, min(3, len(letters)) + 1)
        for day in days
        for name, value in (("sale_cart_add_day", 3.0), ("sale_cart_sum_add", 1234.5))
    ]
    writer.write("b_conv_context_counter_day", by_column("DAY CONTEXT_ID NAME VALUE", rows))
