"""Deals of the sample site, their contacts and every move between stages (bitrix.md 2.2, 2.5, 2.7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import Writer, local, yes_no
from lettertrail.sandbox.bitrix_site_fields import deal_values, write_deal_multiples
from lettertrail.sandbox.world import World

RECURRING_TEMPLATES = 5


def write_deals(writer: Writer, world: World) -> None:
    """Writes the deals, and a few templates of recurring deals that look won and are no revenue."""
    deals = world.deals
    won = deals[deals["stage"] == "won"].head(RECURRING_TEMPLATES)
    templates = won.assign(
        deal=len(deals) + np.arange(1, len(won) + 1), template=True, lead=pd.array([pd.NA] * len(won), dtype="Int64")
    )
    rows = pd.concat([deals.assign(template=False), templates], ignore_index=True)
    people = world.people.set_index("person")
    created, closed = local(rows["created_at"]), local(rows["closed_at"])
    open_stage = np.array(["NEW", "PREPARATION", "EXECUTING"], dtype=object)[rows["deal"].to_numpy() % 3]
    stage = np.where(rows["stage"] == "won", "WON", np.where(rows["stage"] == "lost", "LOSE", open_stage))
    stage = np.where(rows["funnel"] == 1, np.char.add("C1:", stage.astype(str)), stage)
    moved = np.fmax(np.fmax(created, closed), local(rows["reopened_at"]))
    closed_date = np.where(np.isnat(closed), created + np.timedelta64(30, "D"), closed)
    repeat = rows.duplicated("person").to_numpy()
    writer.write(
        "b_crm_deal",
        {
            "ID": rows["deal"].to_numpy(),
            "DATE_CREATE": created,
            "DATE_MODIFY": moved,
            "CREATED_BY_ID": 1,
            "MODIFY_BY_ID": 1,
            "ASSIGNED_BY_ID": 2 + rows["deal"].to_numpy() % len(EMPLOYEES),
            "OPENED": "Y",
            "LEAD_ID": rows["lead"].tolist(),
            "COMPANY_ID": [0 if value is pd.NA else value for value in rows["person"].map(people["company"])],
            "CONTACT_ID": rows["person"].to_numpy(),
            "TITLE": [f"Сделка № {number}" for number in rows["deal"].tolist()],
            "CATEGORY_ID": rows["funnel"].to_numpy(),
            "STAGE_ID": stage,
            "STAGE_SEMANTIC_ID": rows["stage"].map({"won": "S", "lost": "F", "open": "P"}).tolist(),
            "IS_NEW": yes_no((rows["stage"] == "open").to_numpy()),
            "IS_RECURRING": yes_no(rows["template"].to_numpy(bool)),
            "IS_RETURN_CUSTOMER": yes_no(repeat),
            "CLOSED": yes_no((rows["stage"] != "open").to_numpy()),
            "TYPE_ID": "SALE",
            "OPPORTUNITY": rows["amount"].tolist(),
            "CURRENCY_ID": rows["currency"].tolist(),
            "OPPORTUNITY_ACCOUNT": rows["amount_base"].tolist(),
            "ACCOUNT_CURRENCY_ID": "RUB",
            "EXCH_RATE": rows["exchange_rate"].tolist(),
            "TAX_VALUE": Decimal("0.00"),
            "PROBABILITY": np.where(rows["stage"] == "won", 100, 50),
            "BEGINDATE": created.astype("datetime64[D]").astype("datetime64[s]"),
            "CLOSEDATE": closed_date.astype("datetime64[D]").astype("datetime64[s]"),
            "SOURCE_ID": [None if lead is pd.NA else "WEBFORM" for lead in rows["lead"]],
            "MOVED_BY_ID": 1,
            "MOVED_TIME": moved,
            "LAST_ACTIVITY_TIME": moved,
        },
    )
    _write_deal_contacts(writer, world, rows)
    _write_history(writer, deals)
    ids = rows["deal"].tolist()
    writer.write(
        "b_uts_crm_deal",
        {
            "VALUE_ID": ids,
            "UF_CRM_MARGIN": [f"{amount / 5:.2f}|RUB" for amount in rows["amount_base"]],
            "UF_CRM_DELIVERY_DATE": (closed_date + np.timedelta64(5, "D")).astype("datetime64[D]"),
            **deal_values(ids, closed_date),
        },
    )
    write_deal_multiples(writer, ids, closed_date)


def _write_deal_contacts(writer: Writer, world: World, rows: pd.DataFrame) -> None:
    """The main contact, and in some companies' deals a colleague beside it."""
    primary = rows[["deal", "person"]].assign(sort=10, primary="Y")
    people = world.people[world.people["company"].notna() & world.people["on_bitrix"]]
    first = people.groupby("company")["person"].min()
    company = rows["person"].map(world.people.set_index("person")["company"])
    colleague = pd.to_numeric(company.map(first), errors="coerce")
    second = rows[["deal", "person"]].assign(colleague=colleague, sort=20, primary="N")
    second = second[second["colleague"].notna() & (second["colleague"] != second["person"])]
    second = second.assign(person=second["colleague"].astype(np.int64))[["deal", "person", "sort", "primary"]]
    links = pd.concat([primary, second], ignore_index=True)
    writer.write(
        "b_crm_deal_contact",
        {
            "DEAL_ID": links["deal"].to_numpy(),
            "CONTACT_ID": links["person"].to_numpy(),
            "SORT": links["sort"].to_numpy(),
            "ROLE_ID": 0,
            "IS_PRIMARY": links["primary"].tolist(),
        },
    )


def _write_history(writer: Writer, deals: pd.DataFrame) -> None:
    """Every move of every deal; a reopened one has two final rows."""
    created, closed = local(deals["created_at"]), local(deals["closed_at"])
    first_won, reopened = local(deals["first_won_at"]), local(deals["reopened_at"])
    events: list[tuple[np.datetime64, int, int, str, str]] = []
    for place, (number, funnel, stage) in enumerate(
        zip(deals["deal"].tolist(), deals["funnel"], deals["stage"], strict=True)
    ):
        prefix = "C1:" if funnel == 1 else ""
        events.append((created[place], number, 1, f"{prefix}NEW", "P"))
        final_at = closed[place] if np.isnat(first_won[place]) else first_won[place]
        if not np.isnat(final_at):
            halfway = created[place] + (final_at - created[place]) // 2
            events.append((halfway, number, 2, f"{prefix}EXECUTING", "P"))
        elif number % 3:
            events.append(
                (
                    created[place] + np.timedelta64(3600, "s"),
                    number,
                    2,
                    f"{prefix}{('', 'PREPARATION', 'EXECUTING')[number % 3]}",
                    "P",
                )
            )
        if not np.isnat(first_won[place]):
            events.append((first_won[place], number, 3, f"{prefix}WON", "S"))
            events.append((reopened[place], number, 2, f"{prefix}EXECUTING", "P"))
        if not np.isnat(closed[place]):
            won = stage == "won"
            events.append(
                (closed[place], number, 3 if won else 4, f"{prefix}{'WON' if won else 'LOSE'}", "S" if won else "F")
            )
    events.sort(key=lambda event: (event[0], event[1], event[2]))
    at = np.array([event[0] for event in events], dtype="datetime64[s]")
    owner = np.array([event[1] for event in events])
    day = at.astype("datetime64[D]")
    start = created.astype("datetime64[D]")[owner - 1]
    end = np.where(np.isnat(closed), np.datetime64("9999-12-31", "D"), closed.astype("datetime64[D]"))[owner - 1]
    columns: dict[str, Any] = {
        "ID": np.arange(1, len(events) + 1),
        "TYPE_ID": [event[2] for event in events],
        "OWNER_ID": owner,
        "CREATED_TIME": at,
        "CREATED_DATE": day,
        "EFFECTIVE_DATE": day,
        "START_DATE": start,
        "END_DATE": end,
        "RESPONSIBLE_ID": 2 + owner % len(EMPLOYEES),
        "CATEGORY_ID": deals["funnel"].to_numpy()[owner - 1],
        "STAGE_SEMANTIC_ID": [event[4] for event in events],
        "STAGE_ID": [event[3] for event in events],
        "IS_LOST": yes_no([event[4] == "F" for event in events]),
    }
    for prefix, days in (("", day), ("START_", start), ("END_", end)):
        months = days.astype("datetime64[M]").astype(np.int64)
        columns[f"{prefix}PERIOD_YEAR"] = 1970 + months // 12
        columns[f"{prefix}PERIOD_MONTH"] = 1 + months % 12
        columns[f"{prefix}PERIOD_QUARTER"] = 1 + months % 12 // 3
    writer.write("b_crm_deal_stage_history", columns)
