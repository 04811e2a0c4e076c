"""Writing the contacts of a book. The answer is one flag, whatever became of the single rows."""

from __future__ import annotations

import sqlite3
from typing import Any

from lettertrail.sandbox.esps.sendpulse.books import require_book, require_contact, type_of
from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore, variables_of
from lettertrail.sandbox.esps.sendpulse.wire import (
    MAX_EMAILS,
    SendPulseRouter,
    addresses,
    fields_of,
    is_set,
    listed,
)
from lettertrail.sandbox.esps.sendpulse.words import (
    ACTIVE,
    CONFIRMING,
    MAILABLE,
    NO_EMAILS,
    UNSUBSCRIBED,
    UNSUBSCRIBED_ALL,
    error_inside,
    invalid,
    not_here,
)
from lettertrail.sandbox.esps.shell import Answer, Call, Json, dump, is_address, key_of

router = SendPulseRouter()


@router.on("POST", "/addressbooks/{book_id}/emails")
def add_contacts(store: SendPulseStore, call: Call) -> Answer:
    """Adds or updates; who left stays as he is, and rows without a usable address vanish without a word."""
    fields = fields_of(call)
    rows = [row if isinstance(row, dict) else {"email": row} for row in listed(fields, "emails")]
    if len(rows) > MAX_EMAILS:
        raise invalid(f"The emails may not have more than {MAX_EMAILS} items.")
    if fields.get("confirmation") == "force" and not fields.get("sender_email"):
        raise invalid("The sender_email field is required when confirmation is force.")
    usable = [row for row in rows if is_address(row.get("email"))]
    if not usable:
        raise error_inside(NO_EMAILS, "There are no emails to add")
    with store.transaction() as db:
        book = int(require_book(store, call)["id"])
        for row in usable:
            _upsert(store, db, book, row, fields)
            _pin(db, row, fields)
    return Answer({"result": True})


@router.on("DELETE", "/addressbooks/{book_id}/emails")
def remove_contacts(store: SendPulseStore, call: Call) -> Answer:
    """Takes contacts out of the book; that nobody was there is `{result: false}` (U)."""
    emails = addresses(call)
    with store.transaction() as db:
        book = int(require_book(store, call)["id"])
        removed = 0
        for email in emails:
            gone = db.execute("delete from contacts where book_id = ? and key = ?", (book, key_of(email))).rowcount
            if gone:
                store.tell(db, email, "delete", book_id=book)
            removed += gone
        if not removed:
            raise not_here()
    return Answer({"result": True})


@router.on("POST", "/addressbooks/{book_id}/emails/unsubscribe")
def unsubscribe_contacts(store: SendPulseStore, call: Call) -> Answer:
    """Unsubscribes the active ones in this book; 422 when none of them is active."""
    emails = addresses(call)
    with store.transaction() as db:
        book = int(require_book(store, call)["id"])
        done = 0
        for email in emails:
            done += db.execute(
                f"update contacts set status = ? where book_id = ? and key = ? "  # noqa: S608
                f"and status in ({', '.join(map(str, MAILABLE))})",
                (UNSUBSCRIBED, book, key_of(email)),
            ).rowcount
            if store.row("select 1 from contacts where book_id = ? and key = ?", book, key_of(email)):
                db.execute("insert or ignore into opt_outs (key, book_id) values (?, ?)", (key_of(email), book))
        if not done:
            raise invalid("There are no active emails to unsubscribe")
    return Answer({"result": True})


@router.on("POST", "/addressbooks/{book_id}/emails/variable")
def change_variables(store: SendPulseStore, call: Call) -> Answer:
    """Sets variables of one contact; the others stay."""
    fields = fields_of(call)
    given = [row for row in listed(fields, "variables") if isinstance(row, dict) and row.get("name")]
    with store.transaction() as db:
        row = require_contact(store, call, str(fields.get("email", "")))
        values = {str(item["name"]): item.get("value") for item in given}
        types = {str(item["name"]): str(item["type"]) for item in given if item.get("type")}
        _define(db, int(row["book_id"]), values, types)
        _write_variables(db, row, values)
    return Answer({"result": True})


@router.on("PUT", "/addressbooks/{book_id}/phone")
def change_phone(store: SendPulseStore, call: Call) -> Answer:
    """Sets the phone of one contact."""
    fields = fields_of(call)
    with store.transaction() as db:
        row = require_contact(store, call, str(fields.get("email", "")))
        db.execute("update contacts set phone = ? where contact = ?", (str(fields.get("phone", "")), row["contact"]))
    return Answer({"result": True})


def _upsert(store: SendPulseStore, db: sqlite3.Connection, book: int, row: Json, fields: Json) -> None:
    email = str(row["email"]).strip()
    given = row.get("variables")
    values = {str(name): value for name, value in given.items()} if isinstance(given, dict) else {}
    current = store.row("select * from contacts where book_id = ? and key = ?", book, key_of(email))
    if current is not None:
        if not is_set(fields.get("dont_update", "")):
            _define(db, book, values, {})
            _write_variables(db, current, values)
        return
    _define(db, book, values, {})
    phone = str(values["Phone"]) if "Phone" in values else None
    status = _new_status(store, book, email, fields)
    db.execute(
        "insert into contacts (book_id, key, email, phone, status, variables, added_at, source) "
        "values (?, ?, ?, ?, ?, ?, ?, 'api')",
        (book, key_of(email), email, phone, status, dump(values), store.now()),
    )
    if not is_set(fields.get("disable_webhook", "")):
        store.tell(db, email, "new_emails", book_id=book, source="api", variables=values)


def _new_status(store: SendPulseStore, book: int, email: str, fields: Json) -> int:
    """An opt-out outlives the contact's removal from the book, but not its deletion from the account (U)."""
    left = {int(row["book_id"]) for row in store.rows("select book_id from opt_outs where key = ?", key_of(email))}
    if 0 in left:
        return UNSUBSCRIBED_ALL
    if book in left:
        return UNSUBSCRIBED
    return CONFIRMING if fields.get("confirmation") == "force" else ACTIVE


def _define(db: sqlite3.Connection, book: int, values: Json, types: dict[str, str]) -> None:
    db.executemany(
        "insert or ignore into variables (book_id, name, type) values (?, ?, ?)",
        [(book, name, types.get(name) or type_of(value)) for name, value in values.items()],
    )


def _write_variables(db: sqlite3.Connection, row: sqlite3.Row, values: dict[str, Any]) -> None:
    if values:
        merged = dump(variables_of(row) | values)
        db.execute("update contacts set variables = ? where contact = ?", (merged, row["contact"]))


def _pin(db: sqlite3.Connection, row: Json, fields: Json) -> None:
    tags = fields.get("tags")
    if isinstance(tags, list):
        db.executemany(
            "insert into tag_queue (tag_id, key, pin) select id, ?, 1 from tags where id = ?",
            [(key_of(str(row["email"])), str(tag)) for tag in tags],
        )
