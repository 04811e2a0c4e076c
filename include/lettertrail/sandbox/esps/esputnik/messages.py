"""Letters, mailings and single sendings."""

from __future__ import annotations

import json
import sqlite3
import uuid
from typing import Any

from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import UNCONFIRMED, UNSUBSCRIBED, EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import (
    bad,
    fields_of,
    missing,
    page,
    results,
    rows_of,
    texts,
)
from lettertrail.sandbox.esps.shell import Answer, Call, Json, dump, is_address, key_of

router = EsputnikRouter()

MAX_RECIPIENTS = 1000
MAX_EVENT_BYTES = 20_000
NEXT_STATUS = {"SCHEDULED": "RUNNING", "RUNNING": "IDLE"}


@router.on("GET", "/v1/messages/email")
def list_messages(store: EsputnikStore, call: Call) -> Answer:
    """By pages; `search` may stand anywhere in the name or be a tag (U: the parameter's name)."""
    limit, offset = page(call)
    wanted = call.query.get("search", "")
    rows = [
        row
        for row in store.rows("select * from messages order by id")
        if wanted.lower() in row["name"].lower() or wanted in json.loads(row["tags"])
    ]
    return Answer([_shown(row) for row in rows[offset : offset + limit]], headers={"TotalCount": str(len(rows))})


@router.on("POST", "/v1/messages/email")
def create_message(store: EsputnikStore, call: Call) -> Answer:
    """A new letter."""
    fields = fields_of(call)
    for name in ("name", "from", "subject"):
        if not fields.get(name):
            raise bad(f"{name} must not be empty")
    with store.transaction() as db:
        cursor = db.execute(
            "insert into messages (name, sender, subject, html, plain, tags) values (?, ?, ?, ?, ?, ?)",
            (*_columns(fields),),
        )
    return Answer({"id": cursor.lastrowid})


@router.on("GET", "/v1/messages/email/{message_id}")
def get_message(store: EsputnikStore, call: Call) -> Answer:
    """One letter with its bodies."""
    row = _require(store, call.names["message_id"])
    return Answer(_shown(row) | {"htmlText": row["html"], "plainText": row["plain"]})


@router.on("GET", "/v1/messages/email/{message_id}/viewLink")
def get_view_link(store: EsputnikStore, call: Call) -> Answer:
    """Where the letter can be read."""
    row = _require(store, call.names["message_id"])
    return Answer({"viewLink": f"https://sandbox.example/view/{row['id']}"})


@router.on("PUT", "/v1/messages/email/{message_id}")
def change_message(store: EsputnikStore, call: Call) -> Answer:
    """Replaces a letter."""
    row, fields = _require(store, call.names["message_id"]), fields_of(call)
    before = _shown(row) | {"htmlText": row["html"], "plainText": row["plain"]}
    with store.transaction() as db:
        db.execute(
            "update messages set name = ?, sender = ?, subject = ?, html = ?, plain = ?, tags = ? where id = ?",
            (*_columns(before | fields), row["id"]),
        )
    return Answer()


@router.on("DELETE", "/v1/messages/email/{message_id}")
def delete_message(store: EsputnikStore, call: Call) -> Answer:
    """Deletes a letter."""
    with store.transaction() as db:
        db.execute("delete from messages where id = ?", (_require(store, call.names["message_id"])["id"],))
    return Answer()


@router.on("POST", "/v1/broadcast")
def create_broadcast(store: EsputnikStore, call: Call) -> Answer:
    """A mailing of one letter to groups; it starts and ends while its state is asked for."""
    fields = fields_of(call)
    message = _require(store, fields.get("messageId"))
    groups = fields.get("groups")
    first = groups[0] if isinstance(groups, list) and groups else None
    number = first.get("id") if isinstance(first, dict) else first
    row = store.row("select id from groups where id = ?", str(number))
    if row is None:
        raise bad("groups must not be empty")
    with store.transaction() as db:
        cursor = db.execute(
            "insert into broadcasts (title, message_id, group_id, status, created_at) values (?, ?, ?, 'SCHEDULED', ?)",
            (str(fields.get("title") or ""), message["id"], row["id"], store.now()),
        )
    return Answer({"broadcastId": cursor.lastrowid})


@router.on("GET", "/v1/broadcast/{broadcast_id}")
def get_broadcast(store: EsputnikStore, call: Call) -> Answer:
    """One mailing (U: the fields)."""
    with store.transaction() as db:
        row = _require_broadcast(store, call)
        shown = {
            "id": row["id"],
            "title": row["title"],
            "messageId": str(row["message_id"]),
            "groups": [{"id": row["group_id"]}],
            "status": row["status"],
            "createdDate": store.local(row["created_at"]),
        }
        if row["status"] == "RUNNING":
            _deliver(store, row)
        status = NEXT_STATUS.get(row["status"], row["status"])
        db.execute("update broadcasts set status = ? where id = ?", (status, row["id"]))
    return Answer(shown)


@router.on("DELETE", "/v1/broadcast/{broadcast_id}")
def delete_broadcast(store: EsputnikStore, call: Call) -> Answer:
    """Stops a mailing."""
    with store.transaction() as db:
        db.execute("delete from broadcasts where id = ?", (_require_broadcast(store, call)["id"],))
    return Answer()


@router.on("POST", "/v1/message/{message_id}/smartsend")
def smartsend(store: EsputnikStore, call: Call) -> Answer:
    """Sends one letter to up to 1000 people; each has a result of its own."""
    fields = fields_of(call)
    message = _require(store, call.names["message_id"])
    recipients = rows_of(fields, "recipients", MAX_RECIPIENTS)
    may_be_unconfirmed = bool(fields.get("allowUnconfirmed"))
    with store.transaction():
        done = [
            _send(store, recipient, message["id"], may_be_unconfirmed=may_be_unconfirmed) for recipient in recipients
        ]
    return Answer(results(done))


@router.on("POST", "/v1/message/email")
def send_email(store: EsputnikStore, call: Call) -> Answer:
    """Sends what is given to these addresses."""
    fields = fields_of(call)
    for name in ("from", "subject"):
        if not fields.get(name):
            raise bad(f"{name} must not be empty")
    if not fields.get("htmlText") and not fields.get("plainText"):
        raise bad("htmlText must not be empty")
    emails = texts(fields, "emails")
    if not emails:
        raise bad("emails must not be empty")
    external = fields.get("externalRequestId")
    with store.transaction():
        done = [
            _send(store, {"locator": email, "externalRequestId": external}, None, may_be_unconfirmed=True)
            for email in emails
        ]
    return Answer(results(done))


@router.on("GET", "/v1/message/status")
@router.on("GET", "/v1/message/email/status")
def get_sending(store: EsputnikStore, call: Call) -> Answer:
    """What became of sendings, by `requestId`."""
    rows = [store.row("select * from sends where request = ?", text) for text in call.query.get("ids", "").split(",")]
    return Answer(
        results(
            [
                {
                    "id": 0,
                    "status": row["status"],
                    "requestId": row["request"],
                    "failed": row["status"] == "ERROR",
                    "delivered": row["status"] != "ERROR",
                }
                for row in rows
                if row is not None
            ]
        )
    )


@router.on("POST", "/v1/event")
@router.on("POST", "/v2/event")
@router.on("POST", "/v3/event")
def add_event(store: EsputnikStore, call: Call) -> Answer:
    """Takes an event that may start a workflow."""
    fields = fields_of(call)
    if not fields.get("eventTypeKey"):
        raise bad("eventTypeKey must not be empty")
    if len(dump(fields).encode()) > MAX_EVENT_BYTES:
        raise bad("Event is too large")
    with store.transaction() as db:
        row = (str(fields["eventTypeKey"]), str(fields.get("keyValue") or ""), store.now())
        db.execute("insert into events (type, value, at) values (?, ?, ?)", row)
    return Answer()


def _require(store: EsputnikStore, number: Any) -> sqlite3.Row:
    row = store.row("select * from messages where id = ?", str(number))
    if row is None:
        raise missing("Message")
    return row


def _require_broadcast(store: EsputnikStore, call: Call) -> sqlite3.Row:
    row = store.row("select * from broadcasts where id = ?", call.names["broadcast_id"])
    if row is None:
        raise missing("Broadcast")
    return row


def _deliver(store: EsputnikStore, broadcast: sqlite3.Row) -> None:
    readers = store.rows(
        "select * from contacts where is_deleted = 0 and key is not null "
        "and id in (select contact_id from group_contacts where group_id = ?)",
        broadcast["group_id"],
    )
    for reader in readers:
        if store.email_status(reader) == "CONFIRMED":
            store.happen(reader["email"], "DELIVERED", broadcast["id"], store.moment)


def _send(store: EsputnikStore, recipient: Any, message_id: int | None, *, may_be_unconfirmed: bool) -> Json:
    """U: that who left, or has not confirmed, is refused in the row, and that the rest arrives at once."""
    given = recipient if isinstance(recipient, dict) else {}
    email = given.get("locator") or given.get("email")
    if not email and given.get("contactId"):
        row = store.row("select email from contacts where id = ? and is_deleted = 0", str(given["contactId"]))
        email = row["email"] if row else None
    problem = _problem(store, email, may_be_unconfirmed=may_be_unconfirmed)
    if problem is not None:
        return {"id": 0, "locator": email, "status": "ERROR", "requestId": None, "message": problem}
    request, external = str(uuid.uuid4()), given.get("externalRequestId")
    with store.transaction() as db:
        db.execute(
            "insert into sends (request, message_id, email, status, external_id, at) values (?, ?, ?, 'OK', ?, ?)",
            (request, message_id, email, external, store.now()),
        )
    store.happen(
        str(email), "DELIVERED", None, store.moment, externalRequestId=external,
        **({} if message_id is None else {"messageId": message_id}),
    )  # fmt: skip
    return {"id": 0, "locator": email, "status": "OK", "requestId": request, "message": None}


def _problem(store: EsputnikStore, email: Any, *, may_be_unconfirmed: bool) -> str | None:
    if not is_address(email):
        return "Invalid locator"
    if store.row("select 1 from unsubscribed where key = ?", key_of(email)):
        return "Recipient is unsubscribed"
    status = store.status_of(email)
    if status == UNSUBSCRIBED or (status == UNCONFIRMED and not may_be_unconfirmed):
        return "Recipient is not confirmed"
    return None


def _shown(row: sqlite3.Row) -> Json:
    return {
        "id": row["id"],
        "name": row["name"],
        "from": row["sender"],
        "subject": row["subject"],
        "tags": json.loads(row["tags"]),
    }


def _columns(fields: Json) -> tuple[str, ...]:
    words = (str(fields.get(name) or "") for name in ("name", "from", "subject", "htmlText", "plainText"))
    return (*words, dump(texts(fields, "tags") or []))
