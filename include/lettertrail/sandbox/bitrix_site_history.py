"""What happened to the sample site's leads, invoices and deals, and how they hang together (bitrix.md 2.5, 2.7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import Writer, by_column, local, moment, yes_no
from lettertrail.sandbox.world import World

LEAD, DEAL, CONTACT, INVOICE, PROCESS = 1, 2, 3, 31, 128
CREATED, MOVED, WON, LOST = 1, 2, 3, 4
OPEN_END = np.datetime64("9999-12-31", "D")
EVERY_NTH_INVOICE = 4

_STAGES = (
    ("SMART_INVOICE_STAGE_2", "DT31_2:N", "Новый", "#2fc6f6", None),
    ("SMART_INVOICE_STAGE_2", "DT31_2:P", "Оплачен", "#7bd500", "S"),
    ("DYNAMIC_128_STAGE_3", "DT128_3:NEW", "Заявка", "#fff", None),
    ("DYNAMIC_128_STAGE_3", "DT128_3:FAIL", "Отказ", "", "F"),
)


def write_history(writer: Writer, world: World) -> None:
    """Writes the histories of leads and invoices, the change log, and the links between cards."""
    _write_lead_history(writer, world)
    invoices = _write_invoices(writer, world)
    _write_links(writer, world, invoices)
    _write_supposed(writer, world)
    _write_change_log(writer, world)


def _write_lead_history(writer: Writer, world: World) -> None:
    """Every lead is made as NEW; one that is decided was in work halfway."""
    leads = world.leads
    created, closed = local(leads["created_at"]), local(leads["closed_at"])
    events: list[tuple[np.datetime64, int, int, str, str]] = []
    for lead, status, began, ended in zip(leads["lead"].tolist(), leads["status"], created, closed, strict=True):
        events.append((began, lead, CREATED, "NEW", "P"))
        if status != "new":
            events.append((began + (ended - began) // 2, lead, MOVED, "IN_PROCESS", "P"))
            won = status == "converted"
            events.append((ended, lead, WON if won else LOST, "CONVERTED" if won else "JUNK", "S" if won else "F"))
    events.sort(key=lambda event: event[:3])
    at = np.array([event[0] for event in events], dtype="datetime64[s]")
    owner = np.array([event[1] for event in events], dtype=np.int64)
    writer.write(
        "b_crm_lead_status_history",
        {
            "ID": np.arange(1, len(events) + 1),
            "TYPE_ID": [event[2] for event in events],
            "OWNER_ID": owner,
            "CREATED_TIME": at,
            "CREATED_DATE": at.astype("datetime64[D]"),
            **_period("", at),
            "RESPONSIBLE_ID": 2 + owner % len(EMPLOYEES),
            "STATUS_SEMANTIC_ID": [event[4] for event in events],
            "STATUS_ID": [event[3] for event in events],
            "IS_IN_WORK": yes_no([event[3] == "IN_PROCESS" for event in events]),
            "IS_JUNK": yes_no([event[4] == "F" for event in events]),
        },
    )


def _period(prefix: str, at: Any) -> dict[str, object]:
    months = at.astype("datetime64[M]").astype(np.int64)
    return {
        f"{prefix}PERIOD_YEAR": 1970 + months // 12,
        f"{prefix}PERIOD_QUARTER": 1 + months % 12 // 3,
        f"{prefix}PERIOD_MONTH": 1 + months % 12,
    }


def _write_invoices(writer: Writer, world: World) -> pd.DataFrame:
    """Smart invoices of some won deals, paid unless the number is odd; and two elements of a smart process."""
    writer.write(
        "b_crm_status",
        {
            "ENTITY_ID": [stage[0] for stage in _STAGES],
            "STATUS_ID": [stage[1] for stage in _STAGES],
            "NAME": [stage[2] for stage in _STAGES],
            "NAME_INIT": None,
            "SORT": [10, 20, 10, 20],
            "SYSTEM": "N",
            "COLOR": [stage[3] for stage in _STAGES],
            "SEMANTICS": [stage[4] for stage in _STAGES],
            "CATEGORY_ID": [2, 2, 3, 3],
        },
    )
    began = str(moment(world.started_at))
    writer.write(
        "b_crm_item_category",
        by_column(
            "ID ENTITY_TYPE_ID IS_DEFAULT CODE CREATED_DATE NAME SORT SETTINGS",
            [
                (2, INVOICE, "Y", None, began, "Счета", 100, None),
                (3, PROCESS, "Y", "SERVICE", None, "Ремонт &amp; сервис", 200, "[]"),
            ],
        ),
    )
    won = world.deals[(world.deals["stage"] == "won") & (world.deals["deal"] % EVERY_NTH_INVOICE == 0)]
    invoices = pd.DataFrame(
        {
            "id": np.arange(1, len(won) + 1),
            "deal": won["deal"].to_numpy(np.int64),
            "person": won["person"].to_numpy(np.int64),
            "at": local(won["closed_at"]),
        }
    )
    rows: list[tuple[int, int, int, np.datetime64, str, str, int]] = []
    for number, at in zip(invoices["id"].tolist(), invoices["at"].to_numpy("datetime64[s]"), strict=True):
        rows.append((INVOICE, number, CREATED, at, "DT31_2:N", "P", 2))
        if number % 2 == 0:
            rows.append((INVOICE, number, WON, at + np.timedelta64(2, "D"), "DT31_2:P", "S", 2))
    late = moment(world.ended_at) - np.timedelta64(20, "D")
    rows += [
        (PROCESS, 1, CREATED, late, "DT128_3:NEW", "P", 3),
        (PROCESS, 2, CREATED, late, "DT128_3:NEW", "P", 3),
        (PROCESS, 2, LOST, late + np.timedelta64(1, "D"), "DT128_3:FAIL", "F", 3),
    ]
    rows.sort(key=lambda row: (row[3], row[0], row[1]))
    at = np.array([row[3] for row in rows], dtype="datetime64[s]")
    day = at.astype("datetime64[D]")
    final = np.array([row[5] != "P" for row in rows])
    end = np.where(final, day, OPEN_END)
    writer.write(
        "b_crm_entity_stage_history",
        {
            "ID": np.arange(1, len(rows) + 1),
            "TYPE_ID": [row[2] for row in rows],
            "OWNER_TYPE_ID": [row[0] for row in rows],
            "OWNER_ID": [row[1] for row in rows],
            "CREATED_TIME": at,
            "CREATED_DATE": day,
            "EFFECTIVE_DATE": day,
            "START_DATE": day,
            "END_DATE": end,
            **_period("", day),
            **_period("START_", day),
            **_period("END_", end),
            "RESPONSIBLE_ID": 2,
            "CATEGORY_ID": [row[6] for row in rows],
            "STAGE_SEMANTIC_ID": [row[5] for row in rows],
            "STAGE_ID": [row[4] for row in rows],
            "IS_LOST": yes_no([row[5] == "F" for row in rows]),
        },
    )
    return invoices


def _write_links(writer: Writer, world: World, invoices: pd.DataFrame) -> None:
    links: dict[str, object] = {
        "ENTITY_TYPE_ID": INVOICE,
        "ENTITY_ID": invoices["id"].to_numpy(),
        "CONTACT_ID": invoices["person"].to_numpy(),
        "SORT": 10,
        "ROLE_ID": 0,
        "IS_PRIMARY": "Y",
    }
    writer.write("b_crm_entity_contact", links)
    writer.write(
        "b_crm_entity_relation",
        {
            "SRC_ENTITY_TYPE_ID": DEAL,
            "SRC_ENTITY_ID": invoices["deal"].to_numpy(),
            "DST_ENTITY_TYPE_ID": INVOICE,
            "DST_ENTITY_ID": invoices["id"].to_numpy(),
            "RELATION_TYPE": "BINDING",
        },
    )
    with_card = world.orders.merge(world.people.loc[world.people["on_bitrix"], ["person"]], on="person")
    writer.write(
        "b_crm_order_contact_company",
        {
            "ORDER_ID": with_card["order"].to_numpy(),
            "ENTITY_ID": with_card["person"].to_numpy(),
            "ENTITY_TYPE_ID": CONTACT,
            "SORT": 0,
            "ROLE_ID": 0,
            "IS_PRIMARY": "Y",
        },
    )
    both = (
        world.deals[["deal", "person"]].merge(world.orders[["order", "person"]], on="person").drop_duplicates("order")
    )
    writer.write(
        "b_crm_order_entity",
        {"OWNER_ID": both["deal"].to_numpy(), "OWNER_TYPE_ID": DEAL, "ORDER_ID": both["order"].to_numpy()},
    )


def _write_supposed(writer: Writer, world: World) -> None:
    """A derived table with stages nobody saw; an open deal closes on 3000-12-12 there (bitrix.md 2.7)."""
    deals = pd.concat([world.deals.head(7), world.deals[world.deals["stage"] == "open"].tail(3)])
    deals = deals.drop_duplicates("deal")
    at = local(deals["created_at"])
    still_open = (deals["stage"] == "open").to_numpy()
    closed = local(deals["closed_at"]).astype("datetime64[D]")
    writer.write(
        "b_crm_deal_stage_history_with_supposed",
        {
            "OWNER_ID": deals["deal"].to_numpy(),
            "CREATED_TIME": at,
            "CREATED_DATE": at.astype("datetime64[D]"),
            "CATEGORY_ID": deals["funnel"].to_numpy(),
            "STAGE_SEMANTIC_ID": "P",
            "STAGE_ID": "NEW",
            "IS_LOST": "N",
            "IS_SUPPOSED": yes_no(deals["deal"].to_numpy() % 2 == 0),
            "LAST_UPDATE_DATE": at.astype("datetime64[D]"),
            "CLOSE_DATE": np.where(still_open, np.datetime64("3000-12-12", "D"), closed),
            "SPENT_TIME": [None if is_open else 3600 for is_open in still_open],
        },
    )


def _write_change_log(writer: Writer, world: World) -> None:
    """The history tab of a card: a field changed from one text to another, entities and markup as typed."""
    deals = world.deals[world.deals["deal"] % 5 == 0]
    at = local(deals["created_at"]) + np.timedelta64(1800, "s")
    number = np.arange(1, len(deals) + 1)
    writer.write(
        "b_crm_event",
        {
            "ID": number,
            "DATE_CREATE": at,
            "CREATED_BY_ID": 1,
            "EVENT_ID": ["INFO" if deal % 2 else None for deal in deals["deal"]],
            "EVENT_NAME": "Изменено поле &quot;Комментарий&quot;",
            "EVENT_TEXT_1": ["" if deal % 3 else "[B]старый[/B] текст" for deal in deals["deal"]],
            "EVENT_TEXT_2": [f"<b>Сделка № {deal}</b>: звонить после 18:00 ☎️ 🙂" for deal in deals["deal"]],
            "EVENT_TYPE": 1,
            "FILES": [None if deal % 10 else 'a:1:{i:0;s:2:"15";}' for deal in deals["deal"]],
        },
    )
    writer.write(
        "b_crm_event_relations",
        {
            "ASSIGNED_BY_ID": 2,
            "ENTITY_TYPE": "DEAL",
            "ENTITY_ID": deals["deal"].to_numpy(),
            "ENTITY_FIELD": "COMMENTS",
            "EVENT_ID": number,
        },
    )
    writer.write(
        "b_crm_field_content_type",
        {
            "ENTITY_TYPE_ID": DEAL,
            "ENTITY_ID": deals["deal"].to_numpy(),
            "FIELD_NAME": "COMMENTS",
            "CONTENT_TYPE_ID": 2,
        },
    )
