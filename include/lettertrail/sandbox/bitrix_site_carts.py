"""Carts that buyers of the sample site filled in the last weeks and left alone (bitrix.md 3.1)."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from lettertrail.sandbox.bitrix_rows import Writer, by_column, moment
from lettertrail.sandbox.world import World

EVERY_NTH_BUYER = 3
IDLE_HOURS = (6, 30, 5 * 24, 13 * 24, 20 * 24)
"""How long before the world's end a cart was touched last, buyer after buyer: fresh, idle, forgotten."""
GOODS = (("Спальник", "7990.0000", "RUB"), ("Горелка", "45.5000", "EUR"), ("Коврик", "1500.0000", "RUB"))


def write_recent_carts(writer: Writer, world: World) -> None:
    """Writes one or two items for every third buyer; the owner of a cart is numbered as the shop's part does it."""
    buyers = np.unique(world.orders["person"].to_numpy(np.int64))
    rows: list[tuple[object, ...]] = []
    for place in range(0, len(buyers), EVERY_NTH_BUYER):
        number = place // EVERY_NTH_BUYER
        at = moment(world.ended_at) - np.timedelta64(IDLE_HOURS[number % len(IDLE_HOURS)], "h")
        for line in range(1 + number % 2):
            name, price, currency = GOODS[(number + line) % len(GOODS)]
            began = at - np.timedelta64(1 - line, "h")
            rows.append((place + 1, 20 + line, name, Decimal(price), currency, 1 + number % 3, str(began), str(at)))
    if rows:
        columns = "FUSER_ID PRODUCT_ID NAME PRICE CURRENCY QUANTITY DATE_INSERT DATE_UPDATE"
        writer.write(
            "b_sale_basket", {**by_column(columns, rows), "DISCOUNT_PRICE": 0, "LID": "s1", "MODULE": "catalog"}
        )
