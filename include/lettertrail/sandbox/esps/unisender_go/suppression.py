"""Who is not mailed."""

from __future__ import annotations

import base64
import binascii
import sqlite3

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import is_address
from lettertrail.sandbox.esps.unisender_go.store import CAUSES, PROJECT_ID, UnisenderGoStore, is_deletable
from lettertrail.sandbox.esps.unisender_go.wire import Call, Handler, Json, Refusal, invalid

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
SOURCES = ("user", "system", "subscriber")

methods: Methods[Handler] = Methods()


@methods.on("suppression/set")
def set_suppression(store: UnisenderGoStore, call: Call) -> Json:
    """Suppresses an address; a stronger cause stays. `blocked` is the platform's own."""
    email, cause = _email(call), call.required("cause")
    if cause not in CAUSES or cause == "blocked":
        raise invalid(f"Field 'cause' must be one of {', '.join(CAUSES[:-1])}")
    store.suppress(email, cause, "user", created=call.moment("created"))
    return {"status": "success"}


@methods.on("suppression/get")
def get_suppression(store: UnisenderGoStore, call: Call) -> Json:
    """Why an address is not mailed; nothing when it is."""
    email = _email(call)
    row = store.suppression(email)
    return {"status": "success", "email": email, "suppressions": [] if row is None else [_shown(row)]}


@methods.on("suppression/list")
def list_suppressions(store: UnisenderGoStore, call: Call) -> Json:
    """One page, oldest first; `cursor` leads on and is empty at the end."""
    cause, source = call.text("cause"), call.text("source")
    if cause and cause not in CAUSES:
        raise invalid(f"Field 'cause' must be one of {', '.join(CAUSES)}")
    if source and source not in SOURCES:
        raise invalid(f"Field 'source' must be one of {', '.join(SOURCES)}")
    limit = call.whole("limit", DEFAULT_LIMIT, maximum=MAX_LIMIT)
    rows = store.rows(
        "select * from suppressions where number > ? and (? = '' or cause = ?) and (? = '' or source = ?) "
        "and created >= ? order by number limit ?",
        _after(call.text("cursor")),
        cause,
        cause,
        source,
        source,
        call.moment("start_time") or "",
        limit + 1,
    )
    cursor = _cursor(rows[limit - 1]["number"]) if len(rows) > limit else ""
    return {
        "status": "success",
        "suppressions": [{"email": row["email"]} | _shown(row) for row in rows[:limit]],
        "cursor": cursor,
    }


@methods.on("suppression/delete")
def delete_suppression(store: UnisenderGoStore, call: Call) -> Json:
    """Takes a suppression back, if it `is_deletable`."""
    row = store.suppression(_email(call))
    if row is None:
        raise Refusal(3003, "The email is not suppressed")
    if not is_deletable(row):
        raise Refusal(3004, "The suppression cannot be deleted")
    with store.transaction() as db:
        db.execute("delete from suppressions where number = ?", (row["number"],))
    return {"status": "success"}


def _email(call: Call) -> str:
    email = call.required("email")
    if not is_address(email):
        raise invalid("Field 'email' must be an e-mail address")
    return email


def _shown(row: sqlite3.Row) -> Json:
    return {
        "project_id": PROJECT_ID,
        "cause": row["cause"],
        "source": row["source"],
        "is_deletable": is_deletable(row),
        "created": row["created"],
    }


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(f"after {number}".encode()).decode()


def _after(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(cursor).decode().partition(" ")
    except (binascii.Error, UnicodeDecodeError):
        word, number = "", ""
    if word != "after" or not number.isdecimal():
        raise invalid("Field 'cursor' is not valid")
    return int(number)
