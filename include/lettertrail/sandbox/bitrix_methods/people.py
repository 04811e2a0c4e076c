"""`user.*` and `userconsent.*`: who works here, and which agreements there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import as_text
from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    integer,
    mapping,
)
from lettertrail.sandbox.bitrix_methods.tables import TableList

USER_FIELDS = (
    "ID",
    "XML_ID",
    "ACTIVE",
    "NAME",
    "LAST_NAME",
    "SECOND_NAME",
    "TITLE",
    "EMAIL",
    "LAST_LOGIN",
    "DATE_REGISTER",
    "TIME_ZONE",
    "TIMESTAMP_X",
    "LAST_ACTIVITY_DATE",
    "PERSONAL_GENDER",
    "PERSONAL_BIRTHDAY",
    "PERSONAL_PHONE",
    "PERSONAL_MOBILE",
    "PERSONAL_CITY",
    "PERSONAL_STATE",
    "PERSONAL_COUNTRY",
    "WORK_COMPANY",
    "WORK_POSITION",
    "WORK_PHONE",
)
"""No login, no password, no check word: `user.get` has none of them."""
SERVICE_ACCOUNTS = (
    "bot",
    "email",
    "__controller",
    "replica",
    "imconnector",
    "sale",
    "saleanonymous",
    "shop",
    "call",
    "document_editor",
)

methods = Methods()


def _complete_users(portal: Portal, cursor: Any, rows: list[Row], selected: Sequence[str]) -> None:
    for row in rows:
        row["ACTIVE"] = row["ACTIVE"] == "Y"
        for name, value in row.items():
            row[name] = "" if value is None else value
        # The portal writes its own date objects as empty ones: the times are not to be had here.
        row["TIMESTAMP_X"] = {}
        row["LAST_ACTIVITY_DATE"] = {}
        row |= {"IS_ONLINE": "N", "UF_DEPARTMENT": [], "USER_TYPE": "employee"}


_users = TableList(
    "b_user",
    only=USER_FIELDS,
    fixed="m.EXTERNAL_AUTH_ID is null or m.EXTERNAL_AUTH_ID not in ("
    + ", ".join(f"'{name}'" for name in SERVICE_ACCOUNTS)
    + ")",
    complete=_complete_users,
)


@methods.on("user.get")
def get_users(portal: Portal, params: Params) -> Reply:
    """50 users; the filter may stand in `filter` or among the parameters, `sort` and `order` are words."""
    lower = {str(name).lower(): value for name, value in params.items()}
    wanted: Row = dict(mapping(lower, "filter"))
    wanted |= {name: value for name, value in params.items() if str(name).lstrip("!=<>@%") in USER_FIELDS}
    wanted = {name: _yes_no(value) if name.lstrip("!=") == "ACTIVE" else value for name, value in wanted.items()}
    sort = str(lower.get("sort") or "ID").upper()
    way = lower.get("order")
    order = way if isinstance(way, dict) else {sort: str(way or "ASC")}
    return _users(portal, {"filter": wanted, "order": order, "start": lower.get("start", 0)})


def _yes_no(value: Any) -> str:
    return "Y" if str(value).lower() in {"true", "1", "y"} else "N"


methods.on("userconsent.agreement.list")(
    TableList("b_consent_agreement", only=("ID", "NAME", "ACTIVE", "LANGUAGE_ID"), is_paged=False, show=as_text)
)


@methods.on("userconsent.agreement.text")
def agreement_text(portal: Portal, params: Params) -> Reply:
    """Label and text of one agreement."""
    with portal.database.transaction() as cursor:
        cursor.execute(
            "select LABEL_TEXT, AGREEMENT_TEXT from b_consent_agreement where ID = %s",
            (integer(params.get("id", params.get("ID"))),),
        )
        row = cursor.fetchone()
    if row is None:
        raise RestError("", "Agreement not found")
    return Reply({"LABEL": row["LABEL_TEXT"] or "", "TEXT": row["AGREEMENT_TEXT"] or ""})


@methods.on("userconsent.consent.add")
def add_consent(portal: Portal, params: Params) -> Reply:
    """Writes one consent; nothing reads them, nothing withdraws them."""
    agreement, address = integer(params.get("AGREEMENT_ID")), str(params.get("IP") or "")
    if agreement is None or not address:
        raise RestError("", "AGREEMENT_ID and IP are required.")
    with portal.database.transaction() as cursor:
        cursor.execute(
            "insert into b_consent_user_consent "
            "(DATE_INSERT, AGREEMENT_ID, USER_ID, IP, URL, ORIGIN_ID, ORIGINATOR_ID) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            (
                portal.now(),
                agreement,
                integer(params.get("USER_ID")),
                address,
                params.get("URL"),
                params.get("ORIGIN_ID"),
                params.get("ORIGINATOR_ID"),
            ),
        )
        return Reply(int(cursor.lastrowid))
