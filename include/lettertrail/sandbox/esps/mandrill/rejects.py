"""Who is not mailed, and who always is. One address per call."""

from __future__ import annotations

import sqlite3

from lettertrail.sandbox.esps.mandrill.store import MandrillStore
from lettertrail.sandbox.esps.mandrill.wire import Call, Handler, Json, Refusal, fine_text, invalid, utc_text
from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import is_address, key_of

MAX_ROWS = 1000

methods: Methods[Handler] = Methods()


@methods.on("rejects/add")
def add(store: MandrillStore, call: Call) -> Json:
    """Rejects letters for good; without effect on an address that is always allowed."""
    email, subaccount = _email(call), _subaccount(store, call)
    is_allowed = store.row("select 1 from allowed where email = ?", key_of(email)) is not None
    if not is_allowed:
        with store.transaction():
            store.add_reject(email, "custom", detail=call.text("comment"), subaccount=subaccount, at=store.seconds())
    return {"email": email, "added": not is_allowed}


@methods.on("rejects/list")
def list_rejects(store: MandrillStore, call: Call) -> list[Json]:
    """At most 1000, newest first; there are no pages."""
    rows = store.rows(
        "select * from rejects where (? = '' or email = ?) and (? = '' or subaccount = ?) "
        "and (? or coalesce(expires_at, ?) > ?) order by number desc limit ?",
        *(key_of(call.text("email")),) * 2,
        *(_subaccount(store, call),) * 2,
        int(call.flag("include_expired")),
        store.seconds() + 1,
        store.seconds(),
        MAX_ROWS,
    )
    return [reject_json(store, row) for row in rows]


@methods.on("rejects/delete")
def delete(store: MandrillStore, call: Call) -> Json:
    """Takes one back, at the cost of reputation."""
    email, subaccount = _email(call), _subaccount(store, call)
    with store.transaction() as db:
        deleted = db.execute(
            "delete from rejects where email = ? and subaccount = ?", (key_of(email), subaccount)
        ).rowcount
        if deleted:
            store.remember("deleted_rejects", str(1 + int(store.fact("deleted_rejects") or 0)))
            store.note_sync("blacklist", "remove", {"email": key_of(email)})
    return {"email": email, "deleted": bool(deleted), "subaccount": subaccount or None}


def reject_json(store: MandrillStore, row: sqlite3.Row) -> Json:
    """A row of the list."""
    expires = row["expires_at"]
    return {
        "email": row["email"],
        "reason": row["reason"],
        "detail": row["detail"],
        "created_at": fine_text(row["created_at"]),
        "last_event_at": utc_text(row["last_event_at"]),
        "expires_at": None if expires is None else utc_text(expires),
        "expired": expires is not None and expires <= store.seconds(),
        "sender": None,
        "subaccount": row["subaccount"] or None,
    }


@methods.on("allowlists/add")
def allow(store: MandrillStore, call: Call) -> Json:
    """Letters to this address are never rejected."""
    email = _email(call)
    with store.transaction() as db:
        db.execute(
            "insert or ignore into allowed (email, detail, created_at) values (?, ?, ?)",
            (key_of(email), call.text("comment"), store.seconds()),
        )
        store.note_sync("whitelist", "add", {"email": key_of(email)})
    return {"email": email, "added": True}


@methods.on("allowlists/list")
def list_allowed(store: MandrillStore, call: Call) -> list[Json]:
    """At most 1000."""
    rows = store.rows(
        "select * from allowed where instr(email, ?) > 0 order by created_at desc limit ?",
        key_of(call.text("email")),
        MAX_ROWS,
    )
    return [
        {"email": row["email"], "detail": row["detail"], "created_at": fine_text(row["created_at"])} for row in rows
    ]


@methods.on("allowlists/delete")
def disallow(store: MandrillStore, call: Call) -> Json:
    """Takes one back."""
    email = _email(call)
    with store.transaction() as db:
        deleted = db.execute("delete from allowed where email = ?", (key_of(email),)).rowcount
        if deleted:
            store.note_sync("whitelist", "remove", {"email": key_of(email)})
    return {"email": email, "deleted": bool(deleted)}


@methods.on("subaccounts/add")
def add_subaccount(store: MandrillStore, call: Call) -> Json:
    """Adds one."""
    number = call.required("id")
    with store.transaction() as db:
        db.execute("insert or ignore into subaccounts (id, name) values (?, ?)", (number, call.text("name") or number))
    return {"id": number, "name": call.text("name") or number, "status": "active"}


@methods.on("subaccounts/list")
def list_subaccounts(store: MandrillStore, call: Call) -> list[Json]:
    """All of them."""
    rows = store.rows("select * from subaccounts order by id")
    return [{"id": row["id"], "name": row["name"], "status": "active"} for row in rows]


def _email(call: Call) -> str:
    email = call.required("email")
    if not is_address(email):
        raise invalid('{"email":"An email address must contain a single @"}')
    return email


def _subaccount(store: MandrillStore, call: Call) -> str:
    number = call.text("subaccount")
    if number and store.row("select 1 from subaccounts where id = ?", number) is None:
        raise Refusal("Unknown_Subaccount", f'No subaccount exists with the id "{number}"')
    return number
