"""Lists, segments with connectors, trigger conditions and terms in the sample site's sender module (bitrix.md 1)."""

from __future__ import annotations

import numpy as np

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import Writer, by_column, encode_emoji, moment
from lettertrail.sandbox.bitrix_site_sender import SenderFrames
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_letters import NEWS, PROMO, WELCOME_LETTERS

IMPORTED_LIST, PARTNER_LIST, EMPTY_LIST = 1, 2, 3
SHARE_IMPORTED, SHARE_PARTNERS = 9, 40
EMAIL, PHONE = 1, 2
CUSTOMERS, BUYERS, FROM_LIST, STAFF, AD_HOC = 1, 2, 3, 4, 5
"""`b_sender_group.ID`; the first four are written with the letters."""


def write_segments(writer: Writer, world: World, frames: SenderFrames) -> None:
    """Writes lists and their addresses, segments, what starts and ends a trigger chain, and the accepted terms."""
    members = _write_lists(writer, frames)
    _write_groups(writer, world, frames, imported=members)
    _write_triggers(writer)
    _write_odds_and_ends(writer, world)


def _write_lists(writer: Writer, frames: SenderFrames) -> int:
    writer.write(
        "b_sender_list",
        by_column(
            "ID NAME CODE SORT",
            [
                (IMPORTED_LIST, "Импорт с выставки", "expo", 100),
                (PARTNER_LIST, encode_emoji("Партнёры 🤝"), None, 200),
                (EMPTY_LIST, "Закрытый &quot;клуб&quot;", "expo", 300),  # codes are not unique
            ],
        ),
    )
    contact = frames.contacts["ID"].to_numpy(np.int64)
    contact = contact[contact > len(EMPLOYEES)]
    imported = contact[contact % SHARE_IMPORTED == 0]
    partners = contact[contact % SHARE_PARTNERS == 1]
    writer.write(
        "b_sender_contact_list",
        {
            "CONTACT_ID": np.concatenate([imported, partners]),
            "LIST_ID": [IMPORTED_LIST] * len(imported) + [PARTNER_LIST] * len(partners),
        },
    )
    return len(imported)


def _write_groups(writer: Writer, world: World, frames: SenderFrames, *, imported: int) -> None:
    at = moment(world.ended_at) - np.timedelta64(40, "D")
    cards = world.people[world.people["on_bitrix"]]
    chosen = cards.head(12)
    writer.write(
        "b_sender_group",
        {
            "ID": [AD_HOC],
            "NAME": "Обувь: 41–42 :f09f91a2:",
            "HIDDEN": "Y",
            "ADDRESS_COUNT": 2 * len(chosen),
            "USE_COUNT": 1,
            "DATE_INSERT": str(at),
            "DATE_UPDATE": None,
            "DATE_USE": str(at + np.timedelta64(1, "h")),
            "STATUS": "R",
        },
    )
    customers, buyers = len(cards), world.orders["person"].nunique()
    connectors = [
        (CUSTOMERS, "Клиенты CRM", _endpoint("sender", "crm_client", {"CLIENT_TYPE_ID": "3"}), customers, "crm_client"),
        (BUYERS, None, _endpoint("sale", "order", {"SITE_ID": "s1", "LAST_ORDER_DATE": {"days": 365}}), buyers, ""),
        (FROM_LIST, "", _endpoint("sender", "contact_list", {"LIST_ID": IMPORTED_LIST}), imported, None),
        (STAFF, "Сотрудники", _endpoint("sender", "base_group", {"GROUP_ID": ["5"]}), len(EMPLOYEES), None),
        (
            AD_HOC,
            "Клиенты CRM",
            _endpoint(
                "sender",
                "crm_client",
                {"UF_CRM_SHOE_SIZE": {"from": 41.0, "to": 42.5}, "NAME": 'ООО "Ромашка" 🌸', "WITH_PHONE": True},
            ),
            2 * len(chosen),
            "crm_client_5",
        ),
    ]
    writer.write("b_sender_group_connector", by_column("GROUP_ID NAME ENDPOINT ADDRESS_COUNT FILTER_ID", connectors))
    counters = [(group, EMAIL, count) for group, _, _, count, _ in connectors[:-1]]
    counters += [(AD_HOC, EMAIL, len(chosen)), (AD_HOC, PHONE, len(chosen))]
    writer.write("b_sender_group_counter", by_column("GROUP_ID TYPE_ID CNT", counters))
    writer.write(
        "b_sender_group_data",
        {
            "GROUP_ID": [AD_HOC] * len(chosen),
            "DATE_INSERT": str(at),
            "FILTER_ID": "crm_client_5",
            "CRM_ENTITY_ID": chosen["person"].to_numpy(),
            "CRM_ENTITY_TYPE_ID": 3,
            "NAME": [encode_emoji(name) for name in chosen["first_name"]],
            "CRM_ENTITY_TYPE": "CONTACT",
            "CONTACT_ID": chosen["person"].to_numpy(),
            "COMPANY_ID": [None if company is None else int(company) for company in chosen["company"].fillna(0)],
            "EMAIL": chosen["email"].tolist(),
            "PHONE": chosen["phone"].tolist(),
            "HAS_EMAIL": "Y",
            "HAS_IMOL": "N",
            "HAS_PHONE": "Y",
            "SENDER_TYPE_ID": EMAIL,
        },
    )
    writer.write("b_sender_group_deal_category", {"GROUP_ID": [BUYERS, BUYERS], "DEAL_CATEGORY_ID": [0, 1]})
    writer.write(
        "b_sender_mailing_group",
        by_column("MAILING_ID GROUP_ID INCLUDE", [(NEWS, CUSTOMERS, 1), (PROMO, BUYERS, 1), (PROMO, STAFF, 0)]),
    )


def _endpoint(module: str, code: str, fields: dict[str, object]) -> str:
    return php.serialize({"MODULE_ID": module, "CODE": code, "FIELDS": fields})


def _write_triggers(writer: Writer) -> None:
    """The welcome chain starts with a new card and ends with a paid order. The table has no key at all."""
    rows: list[tuple[object, ...]] = []
    for letter in range(1, WELCOME_LETTERS + 1):
        start = {"MODULE_ID": "crm", "CODE": "contact_add", "FIELDS": {"TYPE": "CLIENT"}, "IS_CLOSED_TRIGGER": "N"}
        goal = {"MODULE_ID": "sale", "CODE": "order_paid", "FIELDS": {}, "WAS_RUN_FOR_OLD_DATA": True}
        rows.append((letter, 1, "Новый клиент", "crm/OnAfterCrmContactAdd", php.serialize(start)))
        rows.append((letter, 0, None, "sale/OnSaleOrderPaid", php.serialize(goal)))
    writer.write("b_sender_mailing_trigger", by_column("MAILING_CHAIN_ID IS_TYPE_START NAME EVENT ENDPOINT", rows))


def _write_odds_and_ends(writer: Writer, world: World) -> None:
    began = moment(world.started_at)
    writer.write("b_sender_mailing_attachment", by_column("CHAIN_ID FILE_ID", [(5, 11), (5, 12), (9, 11)]))
    writer.write(
        "b_sender_agreement",
        {
            "ID": [1, 2],
            "USER_ID": [1, 2],
            "NAME": ["Администратор", "Менеджер"],
            "EMAIL": ["admin@shop.example", None],
            "DATE": [str(began - np.timedelta64(30, "D")), str(began)],
            "IP_ADDRESS": ["203.0.113.7", "2001:db8:85a3::8a2e:370:7334"],
        },
    )
    writer.write(
        "b_sender_preset_template",
        {
            "ID": [1],
            "NAME": "Праздник",
            "CONTENT": encode_emoji(
                '<p style="color:red">С праздником! 🎄 #NAME#</p>\r\n<a href="#UNSUBSCRIBE_LINK#">×</a>'
            ),
            "DATE_INSERT": str(began),
        },
    )
