"""Moves from stage to stage: `crm.stagehistory.list`, and the rows a change of stage leaves (bitrix.md 2.7)."""

# ruff: noqa: S608  only names listed here are interpolated; values are always bound

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import DEAL, Entity
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    columns_of,
    integer,
)
from lettertrail.sandbox.bitrix_methods.tables import TableList, as_typed

COMMON = ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME")
DEAL_HISTORY = (*COMMON, "CATEGORY_ID", "STAGE_SEMANTIC_ID", "STAGE_ID")
LEAD_HISTORY = (*COMMON, "STATUS_SEMANTIC_ID", "STATUS_ID")
SMART_INVOICE, FIRST_SMART_PROCESS = 31, 128
CREATED, MOVED, FUNNEL_CHANGED = 1, 2, 5
FINAL = {"S": 3, "F": 4}
WITHOUT_END = date(9999, 12, 31)

methods = Methods()
_leads = TableList("b_crm_lead_status_history", result="items", only=LEAD_HISTORY, show=as_typed)
_deals = TableList("b_crm_deal_stage_history", result="items", only=DEAL_HISTORY, show=as_typed)


@methods.on("crm.stagehistory.list")
def list_stage_history(portal: Portal, params: Params) -> Reply:
    """Moves of leads (1), deals (2), smart invoices (31) and smart processes (128 and up), 50 at a time."""
    entity = integer(params.get("entityTypeId")) or 0
    if entity == 1:
        return _leads(portal, params)
    if entity == DEAL.type_id:
        return _deals(portal, params)
    if entity == SMART_INVOICE or entity >= FIRST_SMART_PROCESS:
        items = TableList(
            "b_crm_entity_stage_history",
            result="items",
            only=DEAL_HISTORY,
            show=as_typed,
            fixed=f"m.OWNER_TYPE_ID = {entity}",
        )
        return items(portal, params)
    raise RestError("NOT_FOUND", "The entity type is not supported.")


def write_move(portal: Portal, cursor: Any, entity: Entity, card: int, *, row: Row, before: Row | None) -> None:
    """One row of a deal's or lead's history; `before` is None for a card just made.

    Args:
        row: the card as it is now.
        before: the card as it was.
    """
    stage, semantics = ("STAGE_ID", "STAGE_SEMANTIC_ID") if entity is DEAL else ("STATUS_ID", "STATUS_SEMANTIC_ID")
    now, meaning = portal.now(), str(row.get(semantics) or "P")
    kind = CREATED if before is None else FINAL.get(meaning, MOVED)
    if before is not None and entity is DEAL and row.get("CATEGORY_ID") != before.get("CATEGORY_ID"):
        kind = FUNNEL_CHANGED
    history: Row = {
        "TYPE_ID": kind,
        "OWNER_ID": card,
        "CREATED_TIME": now,
        "CREATED_DATE": now.date(),
        **_period("", now.date()),
        "RESPONSIBLE_ID": row.get("ASSIGNED_BY_ID") or portal.user_id,
        semantics: meaning,
        stage: row.get(stage),
    }
    if entity is DEAL:
        start = _day(row.get("BEGINDATE")) or now.date()
        end = _day(row.get("CLOSEDATE")) or (now.date() + timedelta(days=7) if meaning != "P" else WITHOUT_END)
        history |= {"EFFECTIVE_DATE": now.date(), "START_DATE": start, "END_DATE": end}
        history |= {**_period("START_", start), **_period("END_", end)}
        history |= {"CATEGORY_ID": row.get("CATEGORY_ID") or 0, "IS_LOST": "Y" if meaning == "F" else "N"}
    else:
        history |= {"IS_IN_WORK": "Y" if meaning == "P" else "N", "IS_JUNK": "Y" if meaning == "F" else "N"}
    table = "b_crm_deal_stage_history" if entity is DEAL else "b_crm_lead_status_history"
    known = columns_of(cursor, table)
    history = {name: value for name, value in history.items() if name in known}
    if history:
        names, marks = ", ".join(f"`{name}`" for name in history), ", ".join(["%s"] * len(history))
        cursor.execute(f"insert into {table} ({names}) values ({marks})", tuple(history.values()))


def _period(prefix: str, day: date) -> Row:
    return {
        f"{prefix}PERIOD_YEAR": day.year,
        f"{prefix}PERIOD_QUARTER": (day.month + 2) // 3,
        f"{prefix}PERIOD_MONTH": day.month,
    }


def _day(value: Any) -> date | None:
    return value.date() if isinstance(value, datetime) else None
