"""Transactional mail and messages of the sample site, senders, and small dictionaries (bitrix.md 3.3, 3.5)."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import numpy as np
from numpy.typing import NDArray

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_rows import Writer, by_column, local, moment
from lettertrail.sandbox.world import World

KEPT_DAYS = 14
"""Executed events are purged after that; a few failed ones of older days are still there."""
NEW_ORDER, ORDER_PAID, PASSWORD = 1, 2, 3
TEMPLATES = ("SALE_NEW_ORDER", "SALE_ORDER_PAID", "USER_PASS_REQUEST")


def write_mail(writer: Writer, world: World) -> None:
    """Writes event types, templates and the queue, sender addresses, short messages and consent fields."""
    _write_templates(writer, world)
    _write_queue(writer, world)
    _write_senders(writer, world)
    _write_messages(writer, world)
    _write_dictionaries(writer)


def _write_templates(writer: Writer, world: World) -> None:
    began = str(moment(world.started_at))
    names = ("Новый заказ", "Заказ оплачен", "Смена пароля")
    writer.write(
        "b_event_type",
        {
            "ID": [1, 2, 3],
            "LID": "ru",
            "EVENT_NAME": TEMPLATES,
            "NAME": names,
            "DESCRIPTION": "#ORDER_ID# - код заказа\r\n#EMAIL# - адрес",
            "SORT": [150, 150, 10],
        },
    )
    writer.write(
        "b_event_message",
        {
            "ID": [NEW_ORDER, ORDER_PAID, PASSWORD],
            "TIMESTAMP_X": [began, None, began],
            "EVENT_NAME": TEMPLATES,
            "LID": ["s1", None, "s1"],
            "SUBJECT": ["#SITE_NAME#: заказ № #ORDER_ID#", "Спасибо! 💳", None],
            "MESSAGE": ["<p>Заказ &laquo;#ORDER_ID#&raquo;</p>", "Оплачен\r\nзаказ", "Код: #CHECKWORD#"],
            "BODY_TYPE": ["html", "text", "text"],
            "BCC": [None, "", "#BCC#"],
            "ADDITIONAL_FIELD": [php.serialize([{"NAME": "X-Тип", "VALUE": "заказ"}]), "a:0:{}", None],
            "LANGUAGE_ID": ["ru", "", None],
        },
    )
    sites = [(template, "s1") for template in (NEW_ORDER, ORDER_PAID, PASSWORD)]
    writer.write("b_event_message_site", by_column("EVENT_MESSAGE_ID SITE_ID", sites))
    writer.write("b_event_message_attachment", by_column("EVENT_MESSAGE_ID FILE_ID", [(NEW_ORDER, 31)]))


def _write_queue(writer: Writer, world: World) -> None:
    """One event per order of the last days, and one of every kind that is not ordinary."""
    orders = world.orders.merge(world.people[["person", "first_name", "email_as_typed"]], on="person")
    end = moment(world.ended_at)
    created = local(orders["created_at"])
    rows: list[tuple[object, ...]] = []
    for order, name, email, at in zip(
        orders["order"].tolist(), orders["first_name"], orders["email_as_typed"], created, strict=True
    ):
        if at < end - np.timedelta64(KEPT_DAYS, "D"):
            continue
        fields = php.serialize({"ORDER_ID": order, "ORDER_USER": name, "EMAIL": email, "PRICE": "1&nbsp;000 ₽"})
        rows.append((TEMPLATES[0], NEW_ORDER, "s1", fields, at, at + np.timedelta64(45, "s"), "Y", "N", "ru"))
    rows += _odd_events(end)
    rows.sort(key=lambda row: (row[4] is not None, row[4] or end, str(row[0])))
    writer.write(
        "b_event",
        {
            "ID": np.arange(1, len(rows) + 1),
            **by_column(
                "EVENT_NAME MESSAGE_ID LID C_FIELDS DATE_INSERT DATE_EXEC SUCCESS_EXEC DUPLICATE LANGUAGE_ID", rows
            ),
        },
    )
    writer.write("b_event_attachment", by_column("EVENT_ID FILE_ID IS_FILE_COPIED", [(1, 41, "Y"), (2, 42, "N")]))


def _odd_events(end: np.datetime64) -> list[tuple[object, ...]]:
    def ago(hours: int) -> np.datetime64:
        return end - np.timedelta64(hours, "h")

    code = php.serialize({"EMAIL": "lost@mail.example", "CHECKWORD": "secret-checkword-in-a-letter", "URL_LOGIN": None})
    legacy = f"EMAIL=old%40mail.example&NAME={quote_from_bytes('Привет'.encode('cp1251'))}&ORDER_ID=7"
    nested = php.serialize({"EMAIL": "b2b@mail.example", "ITEMS": [{"NAME": "Ёлка", "QUANTITY": 1.5}], "A:B;": '"}'})
    return [
        (TEMPLATES[2], PASSWORD, "s1", code, ago(3), ago(3), "Y", "Y", None),
        (TEMPLATES[0], None, "s1,s2", nested, ago(2), None, "N", "N", "ru"),
        # As an old kernel wrote them: pairs like an address's query, in the character set of that time.
        (TEMPLATES[1], None, "s1", legacy, ago(9_000), ago(9_000), "F", "N", ""),
        (TEMPLATES[1], None, "s1", "EMAIL=&NOTE=a+b", ago(8_000), ago(8_000), "0", "N", ""),
        (TEMPLATES[1], None, "s1", nested[:30], ago(7_000), None, "E", "N", None),
        ("SOME_FORGOTTEN_EVENT", None, "s1", None, None, None, "P", "N", None),
        ("SOME_FORGOTTEN_EVENT", None, "", "", ago(6_000), None, "0", "N", None),
    ]  # fmt: skip


def _write_senders(writer: Writer, world: World) -> None:
    options = php.serialize({"source": "sender", "__replaces": None, "имя": "Магазин"})
    writer.write(
        "b_main_mail_sender",
        by_column(
            "ID NAME EMAIL USER_ID IS_CONFIRMED IS_PUBLIC OPTIONS",
            [
                (1, "Магазин", "news@shop.example", 1, 1, 1, options),
                (2, "", "Manager1@shop.example", 2, 1, 0, None),
                (3, "Не подтверждён", "new@shop.example", 3, 0, 0, ""),
            ],
        ),
    )
    today = moment(world.ended_at).astype("datetime64[D]")
    rows = [(str(today - place), "news@shop.example", 100 + place) for place in range(1, 6)]
    writer.write("b_main_mail_sender_send_counter", by_column("DATE_STAT EMAIL CNT", rows))
    writer.write(
        "b_mail_blacklist",
        by_column("SITE_ID MAILBOX_ID USER_ID ITEM_TYPE ITEM_VALUE", [("s1", 1, 0, 1, "spam@bots.example")]),
    )


def _write_messages(writer: Writer, world: World) -> None:
    """Short messages about some orders; none of them is in `b_event`."""
    orders = world.orders.merge(world.people[["person", "phone"]], on="person")
    orders = orders[orders["order"] % 10 == 0]
    number = orders["order"].tolist()
    at = local(orders["created_at"])
    headers: NDArray[np.object_] = np.array([None, "", php.serialize({"module": "sale"})], dtype=object)
    writer.write(
        "b_messageservice_message",
        {
            "TYPE": ["SMS"] * len(number),
            "SENDER_ID": "smsru",
            "AUTHOR_ID": 1,
            "MESSAGE_FROM": ["SHOP" if order % 20 else None for order in number],
            "MESSAGE_TO": orders["phone"].tolist(),
            "MESSAGE_HEADERS": headers[np.arange(len(number)) % 3],
            "MESSAGE_BODY": [f"Заказ {order} принят 👍" for order in number],
            "DATE_INSERT": at,
            "DATE_EXEC": at + np.timedelta64(30, "s"),
            "SUCCESS_EXEC": ["F" if order % 50 == 0 else "Y" for order in number],
            "EXEC_ERROR": ["нет денег &amp; связи" if order % 50 == 0 else None for order in number],
            "STATUS_ID": [16 if order % 50 == 0 else 14 for order in number],
            "EXTERNAL_ID": [f"sms-{order}" for order in number],
        },
    )


def _write_dictionaries(writer: Writer) -> None:
    company = "ООО «Магазин»\r\nИНН 7700000000"
    writer.write(
        "b_consent_field",
        by_column("AGREEMENT_ID CODE VALUE", [(1, "COMPANY_NAME", company), (1, "EMAIL", ""), (1, None, "0")]),
    )
    writer.write(
        "b_catalog_currency_lang",
        by_column(
            "CURRENCY LID FORMAT_STRING FULL_NAME THOUSANDS_SEP DECIMALS THOUSANDS_VARIANT",
            [
                ("RUB", "ru", "# &#8381;", "Российский рубль", " ", 2, "S"),
                ("EUR", "ru", "&euro;#", "Евро", "\u00a0", 2, None),
                ("USD", "ru", "$#", None, "", 0, "N"),
            ],
        ),
    )
