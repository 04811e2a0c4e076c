"""Address books and reading their contacts."""

from __future__ import annotations

import sqlite3
from typing import Any

from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore, variables_of
from lettertrail.sandbox.esps.sendpulse.wire import SendPulseRouter, direction, fields_of, is_set, page
from lettertrail.sandbox.esps.sendpulse.words import (
    ADDRESS_NOT_FOUND,
    BOOK_NOT_FOUND,
    BOOK_STATUS,
    CONTACT_STATUS,
    MAILABLE,
    NAME_IN_USE,
    VARIABLE_NOT_FOUND,
    invalid,
    not_here,
    refused,
)
from lettertrail.sandbox.esps.shell import Answer, Call, Json, key_of

router = SendPulseRouter()

MAILABLE_SQL = f"status in ({', '.join(map(str, MAILABLE))})"
SHOWN_CONTACTS = (
    "select contact, book_id, key, email, phone, variables, added_at, source, "
    "case when exists (select 1 from blacklist b where b.key = c.key) then 8 else status end as status "
    "from contacts c"
)
"""A blacklisted contact is shown as blocked and gets its own status back when it leaves the blacklist (U)."""


@router.on("GET", "/addressbooks")
def list_books(store: SendPulseStore, call: Call) -> Answer:
    """All books by pages."""
    limit, offset = page(call)
    rows = store.rows("select * from books order by id limit ? offset ?", limit, offset)
    return Answer([_shown(store, row) for row in rows])


@router.on("POST", "/addressbooks")
def create_book(store: SendPulseStore, call: Call) -> Answer:
    """A new book; the name must be free."""
    name = fields_of(call).get("bookName")
    if not isinstance(name, str) or not name.strip():
        raise invalid("The bookName field is required.")
    with store.transaction():
        _require_free(store, name)
        return Answer({"id": store.add_book(name)})


@router.on("GET", "/addressbooks/{book_id}")
def get_book(store: SendPulseStore, call: Call) -> Answer:
    """One book, as an array of one."""
    return Answer([_shown(store, require_book(store, call))])


@router.on("PUT", "/addressbooks/{book_id}")
def rename_book(store: SendPulseStore, call: Call) -> Answer:
    """Another name."""
    name = fields_of(call).get("name")
    if not isinstance(name, str) or not name.strip():
        raise invalid("The name field is required.")
    with store.transaction() as db:
        book = require_book(store, call)
        _require_free(store, name)
        db.execute("update books set name = ? where id = ?", (name, book["id"]))
    return Answer({"result": True})


@router.on("DELETE", "/addressbooks/{book_id}")
def delete_book(store: SendPulseStore, call: Call) -> Answer:
    """Deletes the book and its contacts; a missing one is `{result: false}` (U)."""
    with store.transaction() as db:
        if db.execute("delete from books where id = ?", (call.names["book_id"],)).rowcount == 0:
            raise not_here()
    return Answer({"result": True})


@router.on("GET", "/addressbooks/{book_id}/variables")
def list_variables(store: SendPulseStore, call: Call) -> Answer:
    """The variables of the book with their types."""
    book = require_book(store, call)
    rows = store.rows("select name, type from variables where book_id = ? order by name", book["id"])
    return Answer([dict(row) for row in rows])


@router.on("GET", "/addressbooks/{book_id}/emails")
def list_contacts(store: SendPulseStore, call: Call) -> Answer:
    """Contacts by pages, on request only the mailable or only the others."""
    book = require_book(store, call)
    limit, offset = page(call)
    rows = store.rows(
        f"select * from ({SHOWN_CONTACTS} where book_id = ?) where {_activity_filter(call)} "  # noqa: S608
        f"order by contact {direction(call, 'asc')} limit ? offset ?",
        book["id"],
        limit,
        offset,
    )
    return Answer([_contact(row) for row in rows])


@router.on("GET", "/addressbooks/{book_id}/emails/total")
def count_contacts(store: SendPulseStore, call: Call) -> Answer:
    """How many contacts the book has, whatever their status."""
    book = require_book(store, call)
    return Answer({"total": store.number("select count(*) from contacts where book_id = ?", book["id"])})


@router.on("GET", "/addressbooks/{book_id}/emails/{email}")
def get_contact(store: SendPulseStore, call: Call) -> Answer:
    """One contact. Here the book's number is text and the variables are a list."""
    row = require_contact(store, call, call.names["email"])
    shown = _contact(row)
    return Answer(
        {
            "email": shown["email"],
            "abook_id": str(row["book_id"]),
            "phone": shown["phone"],
            "status": shown["status"],
            "status_explain": shown["status_explain"],
            "variables": variable_list(store, row),
        }
    )


@router.on("GET", "/addressbooks/{book_id}/variables/{name}/{value}")
def find_by_variable(store: SendPulseStore, call: Call) -> Answer:
    """Contacts whose variable has this value."""
    book, name = require_book(store, call), call.names["name"]
    known = store.row("select 1 from variables where book_id = ? and name = ?", book["id"], name)
    if known is None:
        raise refused(VARIABLE_NOT_FOUND, "Variable not found", status=404)
    rows = store.rows(f"{SHOWN_CONTACTS} where book_id = ? order by contact", book["id"])
    return Answer([_contact(row) for row in rows if str(variables_of(row).get(name)) == call.names["value"]])


@router.on("GET", "/addressbooks/{book_id}/campaigns")
def list_campaigns_of_book(store: SendPulseStore, call: Call) -> Answer:
    """The campaigns that went to this book."""
    book = require_book(store, call)
    limit, offset = page(call)
    rows = store.rows(
        "select id, name, status from campaigns where book_id = ? order by id desc limit ? offset ?",
        book["id"],
        limit,
        offset,
    )
    return Answer([{"task_id": row["id"], "task_name": row["name"], "task_status": row["status"]} for row in rows])


def require_book(store: SendPulseStore, call: Call) -> sqlite3.Row:
    """The book of the path.

    Raises:
        Refused: 213.
    """
    found = store.row("select * from books where id = ?", call.names["book_id"])
    if found is None:
        raise refused(BOOK_NOT_FOUND, "Book not found", status=404)
    return found


def require_contact(store: SendPulseStore, call: Call, email: str) -> sqlite3.Row:
    """The contact of the path's book.

    Raises:
        Refused: 213, 502.
    """
    book = require_book(store, call)
    found = store.row(f"{SHOWN_CONTACTS} where book_id = ? and key = ?", book["id"], key_of(email))
    if found is None:
        raise refused(ADDRESS_NOT_FOUND, "Address not found", status=404)
    return found


def variable_list(store: SendPulseStore, row: sqlite3.Row) -> list[Json]:
    """A contact's variables as `{name, type, value}`."""
    types = {
        str(known["name"]): str(known["type"])
        for known in store.rows("select name, type from variables where book_id = ?", row["book_id"])
    }
    return [
        {"name": name, "type": types.get(name, "string"), "value": value} for name, value in variables_of(row).items()
    ]


def _contact(row: sqlite3.Row) -> Json:
    return {
        "email": row["email"],
        "phone": row["phone"],
        "status": row["status"],
        "status_explain": CONTACT_STATUS.get(row["status"], "Unknown"),
        # PHP writes an empty map as an empty list.
        "variables": variables_of(row) or [],
    }


def _shown(store: SendPulseStore, row: sqlite3.Row) -> Json:
    everyone = store.number("select count(*) from contacts where book_id = ?", row["id"])
    active = store.number(
        f"select count(*) from ({SHOWN_CONTACTS} where book_id = ?) where {MAILABLE_SQL}",  # noqa: S608
        row["id"],
    )
    return {
        "id": row["id"],
        "name": row["name"],
        "all_email_qty": everyone,
        "active_email_qty": active,
        "inactive_email_qty": everyone - active,
        "creationdate": store.local(row["created_at"]),
        "status": row["status"],
        "status_explain": BOOK_STATUS.get(row["status"], "Unknown"),
    }


def _activity_filter(call: Call) -> str:
    active, not_active = is_set(call.query.get("active", "")), is_set(call.query.get("not_active", ""))
    if active == not_active:
        return "1"
    return MAILABLE_SQL if active else f"not {MAILABLE_SQL}"


def _require_free(store: SendPulseStore, name: str) -> None:
    if store.row("select 1 from books where name = ?", name):
        raise refused(NAME_IN_USE, "Book name already in use")


def type_of(value: Any) -> str:
    """The type a variable gets from the first value written to it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    text = str(value)
    is_date = len(text) == 10 and text[4:8:3] == "--" and text.replace("-", "").isdigit()
    return "date" if is_date else "string"
