"""`event.*`: what an application is told of, and the queue in which offline events wait for it (bitrix.md 6.6).

`event.offline.get` with `clear` = 0 hands rows to a process and keeps them until `event.offline.clear`; without it they
are gone with the answer. A row has no more than the id of the object. The source of what bitrix.md leaves open is the
official documentation, `api-reference/events` of `bitrix-tools/b24-rest-docs`.
"""

# ruff: noqa: S608  only the conditions built in `conditions` are interpolated; values are always bound

from __future__ import annotations

import json
import secrets
from typing import Any

from lettertrail.sandbox.bitrix_methods.caller import is_yes
from lettertrail.sandbox.bitrix_methods.conditions import Where, add_condition, order_clause
from lettertrail.sandbox.bitrix_methods.events import NAMES
from lettertrail.sandbox.bitrix_methods.paging import PAGE, page_of
from lettertrail.sandbox.bitrix_methods.portal import (
    Column,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    integer,
    mapping,
    sequence,
)
from lettertrail.sandbox.bitrix_methods.tables import TableShape

QUEUE = "b_rest_event_offline"
FETCHED = ("ID", "TIMESTAMP_X", "EVENT_NAME", "EVENT_DATA", "EVENT_ADDITIONAL", "MESSAGE_ID")
LISTED = (*FETCHED, "PROCESS_ID", "ERROR")
_MOMENT = {"TIMESTAMP_X": Column("TIMESTAMP_X", "datetime", False)}
_FILTERED = {name: Column(name, "varchar", False) for name in ("ID", "EVENT_NAME", "MESSAGE_ID")} | _MOMENT
SHAPE = TableShape(QUEUE, _FILTERED)
LIST_SHAPE = TableShape(QUEUE, _FILTERED | {name: Column(name, "varchar", False) for name in ("PROCESS_ID", "ERROR")})

methods = Methods()


@methods.on("events")
def list_names(portal: Portal, params: Params) -> Reply:
    """All events there are."""
    return Reply(list(NAMES))


@methods.on("event.bind")
def bind(portal: Portal, params: Params) -> Reply:
    """Asks to be told of an event; an offline one has no handler."""
    event, handler = _binding(params)
    with portal.database.transaction() as cursor:
        cursor.execute(
            "insert ignore into b_rest_event (APP_ID, EVENT_NAME, EVENT_HANDLER, USER_ID, CONNECTOR_ID) "
            "values (%s, %s, %s, %s, %s)",
            (
                portal.access.client_id,
                event,
                handler,
                integer(params.get("auth_type")) or 0,
                portal.access.connector,
            ),
        )
        if not cursor.rowcount:
            raise RestError("ERROR_CORE", "Unable to set event handler: Handler already binded")
    return Reply(True)


@methods.on("event.unbind")
def unbind(portal: Portal, params: Params) -> Reply:
    """Takes a wish back; gives how many there were."""
    event, handler = _binding(params)
    with portal.database.transaction() as cursor:
        cursor.execute(
            "delete from b_rest_event where APP_ID = %s and EVENT_NAME = %s and EVENT_HANDLER = %s "
            "and (%s = '' or CONNECTOR_ID = %s)",
            (portal.access.client_id, event, handler, portal.access.connector, portal.access.connector),
        )
        return Reply({"count": cursor.rowcount})


def _binding(params: Params) -> tuple[str, str]:
    event = str(params.get("event") or "").upper()
    if event not in NAMES:
        raise RestError("ERROR_EVENT_NOT_FOUND", "Event not found")
    if str(params.get("event_type") or "online").lower() == "offline":
        return event, ""
    handler = str(params.get("handler") or "")
    if not handler:
        raise RestError("ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty")
    return event, handler


@methods.on("event.get")
def get_bindings(portal: Portal, params: Params) -> Reply:
    """What the application asked for."""
    with portal.database.transaction() as cursor:
        cursor.execute("select * from b_rest_event where APP_ID = %s order by ID", (portal.access.client_id,))
        rows = cursor.fetchall()
    shown = []
    for row in rows:
        if row["EVENT_HANDLER"]:
            handler = {"handler": row["EVENT_HANDLER"], "auth_type": str(row["USER_ID"]), "offline": 0}
        else:
            handler = {"connector_id": row["CONNECTOR_ID"], "offline": 1}
        shown.append({"event": row["EVENT_NAME"]} | handler)
    return Reply(shown)


@methods.on("event.offline.get")
def fetch(portal: Portal, params: Params) -> Reply:
    """The first rows of the queue: taken away at once, or, with `clear` = 0, handed to a process until it clears them.

    With `process_id` the rows that this process already has come again.
    """
    limit = integer(params.get("limit", PAGE))
    if limit is None or limit <= 0:
        raise RestError("ERROR_ARGUMENT", "Value must be positive integer")
    keeps = "clear" in params and not is_yes(params["clear"])
    process = str(params.get("process_id") or "")
    where = _own(portal, params)
    where.add("m.ERROR = %s", int(is_yes(params.get("error", 0))))
    if process or not is_yes(params.get("error", 0)):
        where.add("m.PROCESS_ID = %s", process)
    for key, value in mapping(params, "filter").items():
        add_condition(where, portal, SHAPE, str(key), value)
    order = order_clause(SHAPE, mapping(params, "order") or {"TIMESTAMP_X": "ASC"}, key="m.ID")
    with portal.database.transaction() as cursor:
        cursor.execute(
            f"select {', '.join(FETCHED)} from {QUEUE} m where {where.sql()} order by {order} limit {limit} for update",
            where.values,
        )
        rows = cursor.fetchall()
        ids = [row["ID"] for row in rows]
        if keeps and not process:
            process = secrets.token_hex(16)
            _for_rows(cursor, "update ignore", f"set PROCESS_ID = '{process}'", ids)
        elif not keeps:
            _for_rows(cursor, "delete from", "", ids)
    return Reply({"process_id": process if keeps else None, "events": [_shown(portal, row) for row in rows]})


def _for_rows(cursor: Any, verb: str, change: str, ids: list[int]) -> None:
    if ids:
        cursor.execute(f"{verb} {QUEUE} {change} where ID in ({', '.join(['%s'] * len(ids))})", ids)


def _own(portal: Portal, params: Params) -> Where:
    where = Where()
    where.add("m.APP_ID = %s", portal.access.client_id)
    where.add("m.CONNECTOR_ID = %s", portal.access.connector)
    return where


def _shown(portal: Portal, row: Row) -> Row:
    shown: Row = {name: str(value) for name, value in row.items()}
    shown["TIMESTAMP_X"] = portal.iso(row["TIMESTAMP_X"])
    for name in ("EVENT_DATA", "EVENT_ADDITIONAL"):
        shown[name] = json.loads(row[name]) if row[name] else False
    return shown


@methods.on("event.offline.list")
def list_queue(portal: Portal, params: Params) -> Reply:
    """The queue as it stands, with what processes hold and what failed; nothing changes."""
    page = page_of(params)
    where = Where()
    where.add("m.APP_ID = %s", portal.access.client_id)
    for key, value in mapping(params, "filter").items():
        add_condition(where, portal, LIST_SHAPE, str(key), value)
    order = order_clause(LIST_SHAPE, mapping(params, "order"), key="m.ID")
    with portal.database.transaction() as cursor:
        cursor.execute(
            f"select {', '.join(LISTED)} from {QUEUE} m where {where.sql()} order by {order} "
            f"limit {PAGE} offset {page.offset}",
            where.values,
        )
        rows = cursor.fetchall()
        cursor.execute(f"select count(*) as number from {QUEUE} m where {where.sql()}", where.values)
        total = int(cursor.fetchone()["number"])
    return page.reply([_shown(portal, row) for row in rows], shown=len(rows), total=total)


@methods.on("event.offline.clear")
def clear(portal: Portal, params: Params) -> Reply:
    """Takes the rows of a process away: all of them, or those in `id` or else in `message_id`."""
    where = _of_process(portal, params)
    for parameter, column in (("id", "ID"), ("message_id", "MESSAGE_ID")):
        if parameter in params:
            add_condition(where, portal, SHAPE, column, [str(value) for value in sequence(params, parameter)])
            break
    with portal.database.transaction() as cursor:
        cursor.execute(f"delete m from {QUEUE} m where {where.sql()}", where.values)
    return Reply(True)


@methods.on("event.offline.error")
def mark_failed(portal: Portal, params: Params) -> Reply:
    """Puts rows of a process aside; they come again only to those who ask with `error` = 1."""
    where = _of_process(portal, params)
    add_condition(where, portal, SHAPE, "MESSAGE_ID", [str(value) for value in sequence(params, "message_id")])
    with portal.database.transaction() as cursor:
        # A name of its own for each row frees the place of the object in the queue.
        cursor.execute(
            f"update {QUEUE} m set ERROR = 1, PROCESS_ID = concat('fake_process_', m.ID) where {where.sql()}",
            where.values,
        )
    return Reply(True)


def _of_process(portal: Portal, params: Params) -> Where:
    process = str(params.get("process_id") or "")
    if not process:
        raise RestError("ERROR_ARGUMENT", "Argument 'PROCESS_ID' is null or empty")
    where = Where()
    where.add("m.APP_ID = %s", portal.access.client_id)
    where.add("m.PROCESS_ID = %s", process)
    return where
