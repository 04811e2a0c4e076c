"""Transactional mail: sending, what became of it, and its own list of people who left."""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
import uuid
from typing import Any

from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore
from lettertrail.sandbox.esps.sendpulse.wire import SendPulseRouter, fields_of, listed, page
from lettertrail.sandbox.esps.sendpulse.words import ADDRESS_NOT_FOUND, SENDER_MISSING, invalid, not_here, refused
from lettertrail.sandbox.esps.shell import Answer, Call, Json, dump, is_address, key_of

router = SendPulseRouter()

ACCEPTED, REFUSED = 250, 550
ANSWERS = {ACCEPTED: "2.1.5 Ok", REFUSED: "5.1.1 The e-mail account does not exist"}
MAX_INFO = 500
BOUNCES_SHOWN = 300


@router.on("POST", "/smtp/emails")
def send_letter(store: SendPulseStore, call: Call) -> Answer:
    """Takes one letter; sending the same again sends it again.

    A recipient on the unsubscribe list is accepted like any other, and the letter fails later (U).
    """
    fields = fields_of(call)
    letter = _letter(fields.get("email"))
    sender, people = letter.get("from"), letter.get("to")
    if not isinstance(sender, dict) or not is_address(sender.get("email")):
        raise refused(SENDER_MISSING, "Sender is missing", status=422)
    if not isinstance(people, list) or not people or not all(_has_address(person) for person in people):
        raise invalid("The email.to field is required.")
    if not letter.get("subject"):
        raise invalid("The email.subject field is required.")
    content = dump(_content(letter))
    ids = [uuid.uuid4().hex for _ in people]
    with store.transaction() as db:
        db.executemany(
            "insert into letters (id, sender, recipient, subject, size, sent_at, code, content) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (number, sender["email"], person["email"], str(letter["subject"]), len(content), store.now(),
                 _code(store, person["email"]), content)
                for number, person in zip(ids, people, strict=True)
            ],
        )  # fmt: skip
        for number in ids:
            row = store.row("select code from letters where id = ?", number)
            word = "delivered" if row is not None and row["code"] == ACCEPTED else "undelivered"
            store.happen_to_letter(number, word, store.moment)
    return Answer({"result": True, "id": ids[0]})


@router.on("GET", "/smtp/emails")
def list_letters(store: SendPulseStore, call: Call) -> Answer:
    """Letters by pages, newest first, on request of certain days, one sender or one recipient."""
    limit, offset = page(call)
    rows = [row for row in store.rows("select * from letters order by letter desc") if _is_asked(store, row, call)]
    return Answer([_shown(store, row) for row in rows[offset : offset + limit]])


@router.on("GET", "/smtp/emails/total")
def count_letters(store: SendPulseStore, call: Call) -> Answer:
    """How many letters there are."""
    return Answer({"total": store.number("select count(*) from letters")})


@router.on("POST", "/smtp/emails/info")
def get_letters(store: SendPulseStore, call: Call) -> Answer:
    """Many letters by id."""
    ids = [str(value) for value in listed(fields_of(call), "emails")]
    if len(ids) > MAX_INFO:
        raise invalid(f"The emails may not have more than {MAX_INFO} items.")
    rows = [store.row("select * from letters where id = ?", number) for number in ids]
    return Answer([_shown(store, row) for row in rows if row is not None])


@router.on("GET", "/smtp/emails/{letter_id}")
def get_letter(store: SendPulseStore, call: Call) -> Answer:
    """One letter."""
    row = store.row("select * from letters where id = ?", call.names["letter_id"])
    if row is None:
        raise refused(ADDRESS_NOT_FOUND, "Email not found", status=404)
    return Answer(_shown(store, row))


@router.on("GET", "/smtp/bounces/day")
def list_bounces(store: SendPulseStore, call: Call) -> Answer:
    """The failed letters of a day."""
    day = call.query.get("date") or store.local(store.now())[:10]
    limit, offset = page(call, BOUNCES_SHOWN)
    rows = [
        row
        for row in store.rows("select * from letters where code <> ? order by letter", ACCEPTED)
        if store.local(row["sent_at"]).startswith(day)
    ]
    names = ("email_to", "sender", "send_date", "subject", "smtp_answer_code", "smtp_answer_subcode")
    shown = [
        dict(zip(names, (row["recipient"], row["sender"], store.local(row["sent_at"]), row["subject"], row["code"],
                         _subcode(row["code"])), strict=True))
        | {"smtp_answer_data": ANSWERS[row["code"]]}
        for row in rows[offset : offset + limit]
    ]  # fmt: skip
    return Answer({"total": len(rows), "emails": shown, "request_limit": limit, "found": len(shown)})


@router.on("GET", "/smtp/unsubscribe")
def list_unsubscribed(store: SendPulseStore, call: Call) -> Answer:
    """Who must not get transactional mail, by pages."""
    limit, offset = page(call)
    day = call.query.get("date", "")
    rows = [
        row
        for row in store.rows("select * from smtp_unsubscribed order by rowid")
        if store.local(row["at"]).startswith(day)
    ]
    return Answer([_left(store, row) for row in rows[offset : offset + limit]])


@router.on("GET", "/smtp/unsubscribe/search")
def find_unsubscribed(store: SendPulseStore, call: Call) -> Answer:
    """One address of that list."""
    row = store.row("select * from smtp_unsubscribed where key = ?", key_of(call.query.get("email", "")))
    if row is None:
        raise not_here()
    return Answer(_left(store, row))


@router.on("POST", "/smtp/unsubscribe")
def unsubscribe(store: SendPulseStore, call: Call) -> Answer:
    """Adds to that list."""
    rows = [row for row in listed(fields_of(call), "emails") if isinstance(row, dict) and is_address(row.get("email"))]
    with store.transaction() as db:
        db.executemany(
            "insert or ignore into smtp_unsubscribed (key, email, by_link, by_user, spam, comment, at) "
            "values (?, ?, 0, 1, 0, ?, ?)",
            [(key_of(row["email"]), row["email"], str(row.get("comment") or ""), store.now()) for row in rows],
        )
    return Answer({"result": bool(rows)})


@router.on("DELETE", "/smtp/unsubscribe")
def remove_unsubscribed(store: SendPulseStore, call: Call) -> Answer:
    """Takes off that list, even who left by the link (U)."""
    emails = [str(value) for value in listed(fields_of(call), "emails")]
    with store.transaction() as db:
        before = db.total_changes
        db.executemany("delete from smtp_unsubscribed where key = ?", [(key_of(email),) for email in emails])
        if db.total_changes == before:
            raise not_here()
    return Answer({"result": True})


@router.on("POST", "/smtp/resubscribe")
def ask_to_come_back(store: SendPulseStore, call: Call) -> Answer:
    """Mails the person a confirmation; the list stays as it is until the link is followed."""
    fields = fields_of(call)
    if not is_address(fields.get("email")) or not is_address(fields.get("sender")):
        raise invalid("The email and sender fields are required.")
    return Answer({"result": True})


def _letter(given: Any) -> Json:
    """The letter, which the official client for Python sends as JSON inside a string."""
    try:
        letter = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        letter = None
    if not isinstance(letter, dict):
        raise invalid("The email field is required.")
    return letter


def _has_address(person: Any) -> bool:
    return isinstance(person, dict) and is_address(person.get("email"))


def _content(letter: Json) -> Json:
    if letter.get("template"):
        return {"template": letter["template"]}
    html, text = letter.get("html"), letter.get("text")
    if not html and not text:
        raise invalid("The email.html field is required.")
    try:
        shown = base64.b64decode(str(html or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid("The email.html field must be base64.") from None
    return {"html": shown, "text": str(text or "")}


def _code(store: SendPulseStore, email: str) -> int:
    left = store.row("select 1 from smtp_unsubscribed where key = ?", key_of(email)) is not None
    return REFUSED if left else ACCEPTED


def _is_asked(store: SendPulseStore, row: sqlite3.Row, call: Call) -> bool:
    query, day = call.query, store.local(row["sent_at"])[:10]
    return (
        (not query.get("from") or day >= query["from"])
        and (not query.get("to") or day <= query["to"])
        and (not query.get("sender") or key_of(row["sender"]) == key_of(query["sender"]))
        and (not query.get("recipient") or key_of(row["recipient"]) == key_of(query["recipient"]))
    )


def _shown(store: SendPulseStore, row: sqlite3.Row) -> Json:
    clicks, opens = json.loads(row["clicks"]), json.loads(row["opens"])
    return {
        "id": row["id"],
        "sender": row["sender"],
        "total_size": row["size"],
        "sender_ip": "192.0.2.10",
        "smtp_answer_code": row["code"],
        "smtp_answer_code_explain": "Delivered" if row["code"] == ACCEPTED else "Not delivered",
        "smtp_answer_subcode": _subcode(row["code"]),
        "smtp_answer_data": ANSWERS[row["code"]],
        "used_ip": "192.0.2.11",
        "recipient": row["recipient"],
        "subject": row["subject"],
        "send_date": store.local(row["sent_at"]),
        "tracking": {"click": len(clicks), "open": len(opens), "link": clicks, "client_info": opens},
    }


def _subcode(code: int) -> str:
    return ANSWERS[code].partition(" ")[0]


def _left(store: SendPulseStore, row: sqlite3.Row) -> Json:
    return {
        "email": row["email"],
        "unsubscribe_by_link": row["by_link"],
        "unsubscribe_by_user": row["by_user"],
        "spam_complaint": row["spam"],
        "date": store.local(row["at"]),
    }
