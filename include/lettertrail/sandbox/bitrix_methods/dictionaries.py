"""The smaller methods: dictionaries, stage history, duplicates, to-dos, and who the caller is."""

# ruff: noqa: S608  only names listed here are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, Where, as_text, split_prefix
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    columns_of,
    integer,
    mapping,
    sequence,
)
from lettertrail.sandbox.bitrix_methods.store import PAGE, match_code

STATUS_FIELDS = (
    "ID",
    "ENTITY_ID",
    "STATUS_ID",
    "NAME",
    "NAME_INIT",
    "SORT",
    "SYSTEM",
    "COLOR",
    "SEMANTICS",
    "CATEGORY_ID",
)
CURRENCY_FIELDS = ("CURRENCY", "AMOUNT_CNT", "AMOUNT", "SORT", "BASE", "DATE_UPDATE")
DEAL_HISTORY = ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "CATEGORY_ID", "STAGE_SEMANTIC_ID", "STAGE_ID")
LEAD_HISTORY = ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "STATUS_SEMANTIC_ID", "STATUS_ID")
HISTORIES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("b_crm_lead_status_history", LEAD_HISTORY),
    2: ("b_crm_deal_stage_history", DEAL_HISTORY),
}
COMPARISONS = {
    "": "=",
    "=": "=",
    ">": ">",
    ">=": ">=",
    "<": "<",
    "<=": "<=",
    "!": "<>",
    "!=": "<>",
    "@": "=",
    "!@": "<>",
}
MAX_VALUES = 20
SCOPES = ("crm", "user", "user_brief")

methods = Methods()


def _select(
    cursor: Any, table: str, allowed: Sequence[str], params: Params, *, page: tuple[int, int] | None
) -> list[Row]:
    """Rows of a small table under the caller's filter and order; names that are not `allowed` are ignored."""
    where = _where(allowed, params)
    order = [
        f"`{key}` {'desc' if str(way).lower() == 'desc' else 'asc'}"
        for key, way in mapping(params, "order").items()
        if key in allowed
    ]
    limit = f"limit {page[0]} offset {page[1]}" if page else ""
    names = ", ".join(f"`{name}`" for name in allowed)
    cursor.execute(
        f"select {names} from {table} where {where.sql()} order by {', '.join([*order, f'`{allowed[0]}`'])} {limit}",
        where.values,
    )
    return list(cursor.fetchall())


def _where(allowed: Sequence[str], params: Params) -> Where:
    where = Where()
    for key, value in mapping(params, "filter").items():
        prefix, name = split_prefix(str(key))
        sign = COMPARISONS.get(prefix)
        if name not in allowed or sign is None:
            continue
        if isinstance(value, list):
            marks = ", ".join(["%s"] * len(value))
            where.add(f"`{name}` {'in' if sign == '=' else 'not in'} ({marks})" if value else "1 = 0", *value)
        else:
            where.add(f"`{name}` {sign} %s", value)
    return where


@methods.on("crm.status.list")
def list_statuses(portal: Portal, params: Params) -> Reply:
    """Entries of the dictionaries: stages, sources, types."""
    with portal.database.transaction() as cursor:
        rows = _select(cursor, "b_crm_status", STATUS_FIELDS, params, page=None)
    result = [{name: as_text(portal, value, "varchar") for name, value in row.items()} for row in rows]
    return Reply(result, total=len(result))


@methods.on("crm.currency.list")
def list_currencies(portal: Portal, params: Params) -> Reply:
    """Currencies with their default rates."""
    with portal.database.transaction() as cursor:
        rows = _select(cursor, "b_catalog_currency", CURRENCY_FIELDS, params, page=None)
    result = [{name: as_text(portal, value, "varchar") for name, value in row.items()} for row in rows]
    return Reply(result, total=len(result))


@methods.on("crm.stagehistory.list")
def list_stage_history(portal: Portal, params: Params) -> Reply:
    """Moves of leads (1) and deals (2) from stage to stage, 50 at a time."""
    history = HISTORIES.get(integer(params.get("entityTypeId")) or 0)
    if history is None:
        raise RestError("NOT_FOUND", "The entity type is not supported.")
    table, names = history
    start = integer(params.get("start", 0)) or 0
    offset = max(0, start) // PAGE * PAGE
    with portal.database.transaction() as cursor:
        rows = _select(cursor, table, names, params, page=(PAGE, offset))
        where = _where(names, params)
        cursor.execute(f"select count(*) as number from {table} where {where.sql()}", where.values)
        total = int(cursor.fetchone()["number"])
    wanted = [name for name in sequence(params, "select") if name in names] or list(names)
    items = [{name: _history_value(portal, name, row[name]) for name in wanted} for row in rows]
    if start < 0:
        return Reply({"items": items})
    return Reply({"items": items}, total, offset + PAGE if offset + len(rows) < total else None)


def _history_value(portal: Portal, name: str, value: Any) -> Any:
    return portal.iso(value) if name == "CREATED_TIME" and value is not None else value


@methods.on("crm.duplicate.findbycomm")
def find_duplicates(portal: Portal, params: Params) -> Reply:
    """Cards by e-mail or phone; types without a match are absent; nothing found is an empty list, as PHP writes it."""
    kind = str(params.get("type", "")).upper()
    if kind not in {"EMAIL", "PHONE"}:
        raise RestError("", "The parameter 'type' must be EMAIL or PHONE.")
    values = [str(value) for value in sequence(params, "values")][:MAX_VALUES]
    if not values:
        raise RestError("", "The parameter 'values' is empty.")
    only = str(params.get("entity_type", "")).upper()
    codes = sorted({match_code(kind, value) for value in values})
    found: dict[str, list[int]] = {}
    with portal.database.transaction() as cursor:
        for entity in ENTITIES:
            if only and entity.code != only:
                continue
            cursor.execute(
                "select distinct ENTITY_ID from b_crm_dp_comm_mcd where ENTITY_TYPE_ID = %s and TYPE = %s "
                f"and VALUE in ({', '.join(['%s'] * len(codes))}) order by ENTITY_ID limit {MAX_VALUES}",
                (entity.type_id, kind, *codes),
            )
            ids = [int(row["ENTITY_ID"]) for row in cursor.fetchall()]
            if ids:
                found[entity.code] = ids
    return Reply(found or [])


@methods.on("crm.activity.todo.add")
def add_todo(portal: Portal, params: Params) -> Reply:
    """A to-do on a card. There is no external key: a repeat makes a second one."""
    owner_type, owner = integer(params.get("ownerTypeId")), integer(params.get("ownerId"))
    entity = next((entity for entity in ENTITIES if entity.type_id == owner_type), None)
    deadline = portal.local(str(params.get("deadline") or ""))
    if deadline is None:
        raise RestError("WRONG_DATETIME_FORMAT", "Wrong datetime format.")
    with portal.database.transaction() as cursor:
        if entity is not None:
            cursor.execute(f"select ID from {entity.table} where ID = %s", (owner,))
        if entity is None or cursor.fetchone() is None:
            raise RestError("OWNER_NOT_FOUND", "The owner of the activity was not found.")
        now = portal.now()
        row: Row = {
            "TYPE_ID": 6,
            "PROVIDER_ID": "CRM_TODO",
            "PROVIDER_TYPE_ID": "TODO",
            "OWNER_ID": owner,
            "OWNER_TYPE_ID": owner_type,
            "SUBJECT": str(params.get("title") or ""),
            "DESCRIPTION": str(params.get("description") or ""),
            "COMPLETED": "N",
            "RESPONSIBLE_ID": integer(params.get("responsibleId")) or portal.user_id,
            "AUTHOR_ID": portal.user_id,
            "EDITOR_ID": portal.user_id,
            "CREATED": now,
            "LAST_UPDATED": now,
            "START_TIME": deadline,
            "END_TIME": deadline,
            "DEADLINE": deadline,
            "DIRECTION": 2,
        }
        names = ", ".join(row)
        marks = ", ".join(["%s"] * len(row))
        cursor.execute(f"insert into b_crm_act ({names}) values ({marks})", tuple(row.values()))
        number = int(cursor.lastrowid)
        if columns_of(cursor, "b_crm_act_bind"):
            cursor.execute(
                "insert into b_crm_act_bind (ACTIVITY_ID, OWNER_ID, OWNER_TYPE_ID) values (%s, %s, %s)",
                (number, owner, owner_type),
            )
        # A new activity moves the card's own time of last activity, not its DATE_MODIFY.
        cursor.execute(f"update {entity.table} set LAST_ACTIVITY_TIME = %s where ID = %s", (now, owner))
    return Reply({"id": number})


@methods.on("user.current")
def current_user(portal: Portal, params: Params) -> Reply:
    """The user in whose name the webhook acts."""
    user = _user(portal)
    return Reply({"ACTIVE": True, "USER_TYPE": "employee", "IS_ONLINE": "Y"} | user)


@methods.on("profile")
def profile(portal: Portal, params: Params) -> Reply:
    """The same in short, with the rights."""
    user = _user(portal)
    offset = portal.clock().astimezone(portal.timezone).utcoffset()
    return Reply(
        {
            "ID": user["ID"],
            "ADMIN": True,
            "NAME": user["NAME"],
            "LAST_NAME": user["LAST_NAME"],
            "PERSONAL_GENDER": "",
            "TIME_ZONE": str(portal.timezone),
            "TIME_ZONE_OFFSET": int(offset.total_seconds()) if offset is not None else 0,
        }
    )


def _user(portal: Portal) -> Row:
    with portal.database.transaction() as cursor:
        cursor.execute("select ID, NAME, LAST_NAME, EMAIL from b_user where ID = %s", (portal.user_id,))
        row = cursor.fetchone() or {"ID": portal.user_id, "NAME": "", "LAST_NAME": "", "EMAIL": ""}
    return {name: str(value or "") for name, value in row.items()}


@methods.on("scope")
def scope(portal: Portal, params: Params) -> Reply:
    """What the webhook may use."""
    return Reply(list(SCOPES))


def lister(names: Callable[[], Sequence[str]]) -> Methods:
    """The method `methods`, which lists all the others."""
    listing = Methods()

    @listing.on("methods")
    def list_methods(portal: Portal, params: Params) -> Reply:
        """All method names."""
        return Reply([*names(), "batch"])

    return listing
