"""Where visitors of the sample site came from: ad sources and costs, traces of orders, form results (bitrix.md 2.8)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_rows import ZERO_DATE, Writer, by_column, local, moment, yes_no
from lettertrail.sandbox.world import World

CONTACT, COMPANY, ORDER = 3, 4, 14
YANDEX, GOOGLE, VK = 1, 2, 3
EVERY_NTH_ORDER = 3
EXPENSE_MONTHS = 6


def write_tracking(writer: Writer, world: World) -> None:
    """Writes sources with costs, traces beyond those of leads, form results and the list of exceptions."""
    _write_sources(writer, world)
    _write_order_traces(writer, world)
    _write_form_results(writer, world)
    _write_exclusions(writer, world)


def _write_sources(writer: Writer, world: World) -> None:
    began = str(moment(world.started_at))
    writer.write(
        "b_crm_tracking_source",
        by_column(
            "ID DATE_CREATE ACTIVE CODE NAME ICON_COLOR PHONE EMAIL UTM_SOURCE TAGS AD_CLIENT_ID AD_ACCOUNT_ID",
            [
                (
                    YANDEX,
                    began,
                    "Y",
                    "yandex",
                    "Яндекс.Директ",
                    "#ff0000",
                    None,
                    None,
                    "yandex",
                    "brand, sale",
                    "7",
                    "77",
                ),
                (GOOGLE, None, "N", "google", "Google Ads", "#3889db", None, None, "google", None, None, None),
                (
                    VK,
                    began,
                    "Y",
                    None,
                    "ВКонтакте &amp; друзья",
                    None,
                    "+78005550100",
                    "vk@shop.example",
                    "vk",
                    "",
                    "",
                    "",
                ),
            ],
        ),
    )
    writer.write(
        "b_crm_tracking_source_field",
        by_column(
            "SOURCE_ID CODE VALUE",
            [(YANDEX, "REF_DOMAIN", "yandex.example"), (YANDEX, "UTM_SOURCE", "ya"), (VK, "REF_DOMAIN", "vk.example")],
        ),
    )
    children = [
        (1, 0, YANDEX, 0, "campaign-1", "Кампания «Бренд»"),
        (2, 1, YANDEX, 1, "group-1", None),
        (3, 0, VK, 0, "spring", "Весна 🌷"),
    ]
    writer.write("b_crm_tracking_source_child", by_column("ID PARENT_ID SOURCE_ID LEVEL CODE TITLE", children))
    months = moment(world.ended_at).astype("datetime64[M]") - np.arange(EXPENSE_MONTHS, 0, -1)
    packs: list[tuple[object, ...]] = []
    costs: list[tuple[object, ...]] = []
    for number, month in enumerate(months, start=1):
        first, last = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]") - 1
        total = f"{number * 10_000}.50"
        packs.append((number, str(last), YANDEX, 0, str(first), str(last), number * 40, total, "RUB", None))
        costs.append((number, YANDEX, 0, str(first), number * 40, total, "RUB", "за месяц", 1, number * 9_000_000_000))
    costs.append((0, VK, 1, ZERO_DATE, None, "0.00", "RUB", "", 0, 0))
    writer.write(
        "b_crm_tracking_expenses_pack",
        by_column("ID DATE_INSERT SOURCE_ID TYPE_ID DATE_FROM DATE_TO ACTIONS EXPENSES CURRENCY_ID COMMENT", packs),
    )
    writer.write(
        "b_crm_tracking_source_expenses",
        by_column(
            "PACK_ID SOURCE_ID TYPE_ID DATE_STAT ACTIONS EXPENSES CURRENCY_ID COMMENT SOURCE_CHILD_ID IMPRESSIONS",
            costs,
        ),
    )
    writer.write("b_crm_tracking_pool", by_column("DATE_CREATE TYPE_ID VALUE", [(began, 1, "+78005550100")]))
    writer.write(
        "b_crm_tracking_site",
        {
            "ID": [1],
            "DATE_CREATE": began,
            "HOST": "shop.example",
            "ADDRESS": "https://shop.example",
            "ACTIVE": "Y",
            "IS_INSTALLED": "Y",
            "PHONES": "+78005550100\r\n+78005550101",
        },
    )


def _write_order_traces(writer: Writer, world: World) -> None:
    """Every third order has a trace after those of the leads; each second of them continues an earlier visit."""
    orders = world.orders[world.orders["order"] % EVERY_NTH_ORDER == 0]
    first = len(world.leads) + 1
    numbers = first + np.arange(len(orders))
    source = np.array([0, YANDEX, VK])[orders["order"].to_numpy() // EVERY_NTH_ORDER % 3]
    is_child = np.arange(len(orders)) % 2 == 1
    has_child = np.append(is_child[1:], np.zeros(min(1, len(orders)), dtype=bool))
    created = local(orders["created_at"])
    utm = {0: {}, YANDEX: {"utm_source": "yandex", "yclid": "88"}, VK: {"utm_source": "vk", "utm_term": "тент & дуги"}}
    tags: list[str] = []
    pages: list[str] = []
    # PHP's time(): seconds since 1970, whatever the site's zone
    moments = [int(at.timestamp()) for at in orders["created_at"]]
    for place, (kind, at) in enumerate(zip(source.tolist(), moments, strict=True)):
        tags.append("" if place == 0 else php.serialize({"ts": at - 900, "list": utm[kind], "gclid": None}))
        pages.append(
            php.serialize(
                [{"URL": "https://shop.example/корзина?шаг=2", "DATE_INSERT": at - 900, "IS_REF": place == 1}]
            )
        )
    writer.write(
        "b_crm_tracking_trace",
        {
            "ID": numbers,
            "DATE_CREATE": created,
            "SOURCE_ID": source,
            "GUEST_ID": [None if place % 3 else place for place in range(len(orders))],
            "TAGS_RAW": tags,
            "PAGES_RAW": pages,
            "IS_MOBILE": yes_no(numbers % 2 == 0),
            "HAS_CHILD": yes_no(has_child),
        },
    )
    writer.write(
        "b_crm_tracking_trace_entity",
        {"TRACE_ID": numbers, "ENTITY_TYPE_ID": ORDER, "ENTITY_ID": orders["order"].to_numpy()},
    )
    writer.write(
        "b_crm_tracking_trace_channel",
        {
            "TRACE_ID": np.concatenate([numbers, numbers]),
            "CODE": ["order"] * len(orders) + ["site-domain"] * len(orders),
            "VALUE": [None] * len(orders) + ["shop.example"] * len(orders),
        },
    )
    writer.write(
        "b_crm_tracking_trace_tree", {"CHILD_ID": numbers[is_child], "PARENT_ID": numbers[has_child][: is_child.sum()]}
    )
    paid = source == YANDEX
    writer.write(
        "b_crm_tracking_trace_source",
        {
            "TRACE_ID": np.concatenate([numbers[paid], numbers[paid]]),
            "LEVEL": np.repeat([0, 1], paid.sum()),
            "CODE": np.repeat(["campaign-1", "group-1"], paid.sum()).astype(object),
            "SOURCE_CHILD_ID": np.repeat([1, 2], paid.sum()),
            "PROCESSED": 1,
        },
    )


def _write_form_results(writer: Writer, world: World) -> None:
    """One result per lead; the form also made the card of whoever it did not know."""
    leads = world.leads
    number = leads["lead"].to_numpy(np.int64)
    writer.write(
        "b_crm_webform_result",
        {
            "ID": number,
            "DATE_INSERT": local(leads["created_at"]),
            "FORM_ID": 1,
            "ORIGIN_ID": [None if lead % 4 else f"b24form/{lead}" for lead in number.tolist()],
        },
    )
    carded = leads[(leads["status"] == "converted") & leads["person"].isin(_cards(world))]
    writer.write(
        "b_crm_webform_result_entity",
        {
            "FORM_ID": 1,
            "RESULT_ID": np.concatenate([number, carded["lead"].to_numpy(np.int64)]),
            "ENTITY_NAME": ["LEAD"] * len(leads) + ["CONTACT"] * len(carded),
            "ITEM_ID": np.concatenate([number, carded["person"].to_numpy(np.int64)]),
        },
    )
    writer.write("b_crm_webform_agreement", by_column("FORM_ID AGREEMENT_ID CHECKED REQUIRED", [(1, 1, "N", "Y")]))


def _cards(world: World) -> pd.Series:
    return world.people["person"][world.people["on_bitrix"]]


def _write_exclusions(writer: Writer, world: World) -> None:
    """Addresses and phones that must not become leads; mailings do not ask this list."""
    at = str(moment(world.started_at))
    staff = world.companies.head(2)
    rows: list[tuple[object, ...]] = [(at, 2, email, "партнёр") for email in staff["email"]]
    rows += [(at, 1, "+78005550199", None), (at, 2, "spam@bots.example", "")]
    writer.write("b_crm_exclusion", by_column("DATE_INSERT TYPE_ID CODE COMMENT", rows))
