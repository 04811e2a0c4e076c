"""The rest of the sample site: dictionaries, users, consents, currencies, the shop (bitrix.md 2, 3)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import Writer, local, yes_no
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_sales import RATES

SHARE_WITH_ACCOUNT = 0.12
DELIVERY = Decimal("300.00")
DEAL_STAGES = (
    ("NEW", "Новая", None),
    ("PREPARATION", "Подготовка документов", None),
    ("PREPAYMENT_INVOICE", "Счёт на предоплату", None),
    ("EXECUTING", "В работе", None),
    ("FINAL_INVOICE", "Финальный счёт", None),
    ("WON", "Сделка успешна", "S"),
    ("LOSE", "Сделка провалена", "F"),
    ("APOLOGY", "Анализ причины провала", "F"),
)
LEAD_STATUSES = (
    ("NEW", "Не обработан", None),
    ("IN_PROCESS", "В работе", None),
    ("PROCESSED", "Обработан", None),
    ("CONVERTED", "Качественный лид", "S"),
    ("JUNK", "Некачественный лид", "F"),
)
SOURCES = ("CALL", "EMAIL", "WEB", "ADVERTISING", "PARTNER", "RECOMMENDATION", "WEBFORM", "CALLBACK", "STORE", "OTHER")


def accounts(world: World, rng: np.random.Generator) -> NDArray[np.int64]:
    """`b_user.ID` by person number, 0 for people without an account; buyers always have one."""
    users = np.zeros(len(world.people) + 1, dtype=np.int64)
    has_one = rng.random(len(users)) < SHARE_WITH_ACCOUNT
    has_one[world.orders["person"].to_numpy()] = True
    has_one[0] = False
    users[has_one] = 2 + len(EMPLOYEES) + np.arange(int(has_one.sum()))
    return users


def write_dictionaries(writer: Writer, world: World) -> None:
    """Writes sites, stages and currencies."""
    began = local(pd.Series([world.started_at - pd.Timedelta(days=1000)]))[0]
    writer.write(
        "b_lang",
        {
            "LID": ["s1"],
            "DEF": "Y",
            "NAME": "Магазин",
            "DIR": "/",
            "CHARSET": "UTF-8",
            "LANGUAGE_ID": "ru",
            "SERVER_NAME": "shop.example",
        },
    )
    _write_stages(writer)
    _write_currencies(writer, world, began)


def _write_stages(writer: Writer) -> None:
    rows: list[tuple[str, str, str, int, str | None, int | None]] = []
    for number, (code, name, semantics) in enumerate(LEAD_STATUSES, 1):
        rows.append(("STATUS", code, name, number * 10, semantics, None))
    for number, (code, name, semantics) in enumerate(DEAL_STAGES, 1):
        rows.append(("DEAL_STAGE", code, name, number * 10, semantics, 0))
        rows.append(("DEAL_STAGE_1", f"C1:{code}", name, number * 10, semantics, 1))
    rows += [("SOURCE", code, code.capitalize(), number * 10, None, None) for number, code in enumerate(SOURCES, 1)]
    rows += [("CONTACT_TYPE", "CLIENT", "Клиенты", 10, None, None), ("DEAL_TYPE", "SALE", "Продажа", 10, None, None)]
    entity, codes, names, sort, finals, category = map(list, zip(*rows, strict=True))
    writer.write(
        "b_crm_status",
        {
            "ENTITY_ID": entity,
            "STATUS_ID": codes,
            "NAME": names,
            "NAME_INIT": names,
            "SORT": sort,
            "SYSTEM": "Y",
            "SEMANTICS": finals,
            "CATEGORY_ID": category,
        },
    )
    writer.write(
        "b_crm_deal_category",
        {"ID": [1], "CREATED_DATE": "2024-01-15", "NAME": "Корпоративные продажи", "IS_LOCKED": "N", "SORT": 10},
    )


def _write_currencies(writer: Writer, world: World, began: np.datetime64) -> None:
    codes = list(RATES)
    writer.write(
        "b_catalog_currency",
        {
            "CURRENCY": codes,
            "AMOUNT_CNT": 1,
            "AMOUNT": [RATES[code] for code in codes],
            "SORT": [100, 200, 300],
            "DATE_UPDATE": np.repeat(began, len(codes)),
            "NUMCODE": ["643", "978", "840"],
            "BASE": yes_no([code == "RUB" for code in codes]),
            "DATE_CREATE": np.repeat(began, len(codes)),
            "CURRENT_BASE_RATE": [RATES[code] for code in codes],
        },
    )
    foreign = [code for code in codes if code != "RUB"]
    writer.write(
        "b_catalog_currency_rate",
        {
            "CURRENCY": foreign,
            "BASE_CURRENCY": "RUB",
            "DATE_RATE": np.repeat(began.astype("datetime64[D]"), len(foreign)),
            "RATE_CNT": 1,
            "RATE": [RATES[code] for code in foreign],
        },
    )


def write_users(writer: Writer, world: World, users: NDArray[np.int64]) -> None:
    """Writes the administrator, the employees and the people with an account."""
    person = np.flatnonzero(users)
    people = world.people.iloc[person - 1]
    staff = len(EMPLOYEES) + 1
    began = local(pd.Series([world.started_at - pd.Timedelta(days=1000)]))
    registered = np.concatenate([np.repeat(began, staff), local(people["created_at"])])
    emails = ["admin@shop.example", *EMPLOYEES, *people["email_as_typed"].str.strip()]
    writer.write(
        "b_user",
        {
            "ID": np.concatenate([np.arange(1, staff + 1), users[person]]),
            "TIMESTAMP_X": registered,
            "LOGIN": [
                "admin",
                *(f"manager{number}" for number in range(1, staff)),
                *(f"user{number}" for number in person),
            ],
            "PASSWORD": "",
            "NAME": ["Администратор", *["Менеджер"] * (staff - 1), *people["first_name"]],
            "LAST_NAME": [*[""] * staff, *people["last_name"]],
            "EMAIL": emails,
            "PERSONAL_MOBILE": [*[None] * staff, *people["phone"]],
            "DATE_REGISTER": registered,
            "LID": "s1",
            "LANGUAGE_ID": "ru",
        },
    )


def write_consents(writer: Writer, world: World, consents: pd.DataFrame) -> None:
    """Writes the agreement and who accepted it: by a letter's consent request, and on forms."""
    writer.write(
        "b_consent_agreement",
        {
            "ID": [1],
            "CODE": "newsletter",
            "DATE_INSERT": local(pd.Series([world.started_at - pd.Timedelta(days=1000)])),
            "NAME": "Согласие на рассылку",
            "TYPE": "C",
            "LANGUAGE_ID": "ru",
            "AGREEMENT_TEXT": "Я согласен получать письма магазина.",
            "LABEL_TEXT": "Согласен на %рассылку%",
        },
    )
    forms = world.leads[world.leads["lead"] % 3 == 0]
    rows = pd.concat(
        [
            pd.DataFrame(
                {
                    "at": consents["at"],
                    "origin": consents["posting"].astype(str),
                    "originator": "sender",
                    "url": "https://shop.example/bitrix/tools/sender_consent.php",
                    "value": consents["email"],
                }
            ),
            pd.DataFrame(
                {
                    "at": local(forms["created_at"]),
                    "origin": forms["lead"].astype(str),
                    "originator": "crm/webform",
                    "url": "https://shop.example/contacts",
                    "value": None,
                }
            ),
        ],
        ignore_index=True,
    ).sort_values("at", kind="stable")
    numbers = np.arange(1, len(rows) + 1)
    writer.write(
        "b_consent_user_consent",
        {
            "ID": numbers,
            "DATE_INSERT": rows["at"].to_numpy("datetime64[s]"),
            "AGREEMENT_ID": 1,
            "IP": [f"203.0.113.{number % 254 + 1}" for number in numbers.tolist()],
            "URL": rows["url"].tolist(),
            "ORIGIN_ID": rows["origin"].tolist(),
            "ORIGINATOR_ID": rows["originator"].tolist(),
        },
    )
    known = rows["value"].notna().to_numpy() & (rows["value"].str.len().fillna(99).to_numpy() <= 50)
    writer.write(
        "b_consent_user_consent_item",
        {"USER_CONSENT_ID": numbers[known], "VALUE": rows["value"].to_numpy(object)[known]},
    )


def write_shop(writer: Writer, world: World, users: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Writes orders with their baskets, buyer data and payments, and which letter a visit came from."""
    orders = world.orders
    if orders.empty:
        return
    _write_shop_dictionaries(writer)
    number = orders["order"].to_numpy()
    person = orders["person"].to_numpy()
    created, paid = local(orders["created_at"]), local(orders["paid_at"])
    is_paid = ~np.isnat(paid)
    changed = np.fmax(created, paid)
    fusers = np.unique(person)
    fuser_of = np.searchsorted(fusers, person) + 1
    last = pd.Series(created).groupby(person).max().reindex(fusers).to_numpy("datetime64[s]")
    writer.write(
        "b_sale_fuser",
        {"ID": np.arange(1, len(fusers) + 1), "DATE_INSERT": last, "DATE_UPDATE": last, "USER_ID": users[fusers]},
    )
    writer.write(
        "b_sale_order",
        {
            "ID": number,
            "LID": "s1",
            "PERSON_TYPE_ID": 1,
            "PAYED": yes_no(is_paid),
            "DATE_PAYED": paid,
            "CANCELED": yes_no(orders["canceled"].to_numpy(bool)),
            "DATE_CANCELED": np.where(orders["canceled"], created + np.timedelta64(3, "D"), np.datetime64("NaT", "s")),
            "STATUS_ID": np.where(is_paid, "F", "N"),
            "DATE_STATUS": changed,
            "PRICE_DELIVERY": DELIVERY,
            "PRICE": orders["amount"].tolist(),
            "CURRENCY": "RUB",
            "SUM_PAID": [amount if ok else Decimal(0) for amount, ok in zip(orders["amount"], is_paid, strict=True)],
            "USER_ID": users[person],
            "DATE_INSERT": created,
            "DATE_UPDATE": changed,
            "ACCOUNT_NUMBER": [str(order) for order in number.tolist()],
        },
    )
    _write_baskets(writer, orders, fuser_of, created)
    _write_buyers(writer, world, orders)
    writer.write(
        "b_sale_order_payment",
        {
            "ID": number,
            "ORDER_ID": number,
            "ACCOUNT_NUMBER": [f"{order}/1" for order in number.tolist()],
            "PAID": yes_no(is_paid),
            "DATE_PAID": paid,
            "PAY_SYSTEM_ID": 1,
            "PAY_SYSTEM_NAME": "Банковская карта",
            "SUM": orders["amount"].tolist(),
            "CURRENCY": "RUB",
        },
    )
    _write_conversion(writer, orders, created)


def _write_shop_dictionaries(writer: Writer) -> None:
    writer.write("b_sale_status", {"ID": ["N", "F"], "TYPE": "O", "SORT": [100, 200]})
    writer.write("b_sale_status_lang", {"STATUS_ID": ["N", "F"], "LID": "ru", "NAME": ["Принят", "Выполнен"]})
    writer.write("b_sale_person_type", {"ID": [1], "LID": "s1", "NAME": "Физическое лицо"})
    writer.write(
        "b_sale_order_props",
        {
            "ID": [1, 2],
            "PERSON_TYPE_ID": 1,
            "NAME": ["E-Mail", "Телефон"],
            "TYPE": "STRING",
            "PROPS_GROUP_ID": 1,
            "CODE": ["EMAIL", "PHONE"],
            "IS_EMAIL": ["Y", "N"],
            "IS_PHONE": ["N", "Y"],
            "ENTITY_TYPE": "ORDER",
        },
    )


def _write_baskets(
    writer: Writer, orders: pd.DataFrame, fuser_of: NDArray[np.int64], created: NDArray[np.datetime64]
) -> None:
    """Two lines an order, together worth the order without delivery; and a few carts that never became one."""
    goods = [max(Decimal("0.00"), amount - DELIVERY) for amount in orders["amount"]]
    first = [(value * Decimal("0.7")).quantize(Decimal("0.01"), ROUND_HALF_UP) for value in goods]
    prices = [*first, *(value - part for value, part in zip(goods, first, strict=True))]
    carts = len(orders) // 5
    number = orders["order"].tolist()
    writer.write(
        "b_sale_basket",
        {
            "FUSER_ID": np.concatenate([fuser_of, fuser_of, fuser_of[:carts]]),
            "ORDER_ID": [*number, *number, *[None] * carts],
            "PRODUCT_ID": np.concatenate([1 + np.arange(2 * len(orders)) % 57, 1 + np.arange(carts) % 13]),
            "PRICE": [*prices, *[Decimal("990.00")] * carts],
            "DISCOUNT_PRICE": 0,
            "CURRENCY": "RUB",
            "DATE_INSERT": np.concatenate([created, created, created[:carts]]),
            "DATE_UPDATE": np.concatenate([created, created, created[:carts]]),
            "QUANTITY": 1,
            "LID": "s1",
            "NAME": "Товар",
            "MODULE": "catalog",
        },
    )


def _write_buyers(writer: Writer, world: World, orders: pd.DataFrame) -> None:
    people = world.people.iloc[orders["person"].to_numpy() - 1]
    number = orders["order"].tolist()
    writer.write(
        "b_sale_order_props_value",
        {
            "ORDER_ID": number + number,
            "ORDER_PROPS_ID": [1] * len(number) + [2] * len(number),
            "NAME": ["E-Mail"] * len(number) + ["Телефон"] * len(number),
            "VALUE": [*people["email_as_typed"], *people["phone"]],
            "CODE": ["EMAIL"] * len(number) + ["PHONE"] * len(number),
            "ENTITY_ID": number + number,
            "ENTITY_TYPE": "ORDER",
        },
    )


def _write_conversion(writer: Writer, orders: pd.DataFrame, created: NDArray[np.datetime64]) -> None:
    """Native attribution: the landing hit put the letter id into the session of the order (bitrix.md 1.7)."""
    caused = np.flatnonzero(orders["causes"].map(len).to_numpy() > 0)
    letters = [int(causes[-1]) for causes in orders["causes"].iloc[caused]]
    known = sorted(set(letters))
    if not known:
        return
    context_of = {letter: context for context, letter in enumerate(known, 1)}
    contexts = [context_of[letter] for letter in letters]
    writer.write(
        "b_conv_context", {"ID": list(context_of.values()), "SNAPSHOT": [f"{letter:064x}" for letter in known]}
    )
    writer.write(
        "b_conv_context_attribute",
        {
            "CONTEXT_ID": list(context_of.values()),
            "NAME": "sender_chain_source",
            "VALUE": [str(letter) for letter in known],
        },
    )
    writer.write(
        "b_conv_context_entity_item",
        {
            "CONTEXT_ID": contexts,
            "ENTITY": "sale_order",
            "ITEM": [str(order) for order in orders["order"].iloc[caused]],
        },
    )
