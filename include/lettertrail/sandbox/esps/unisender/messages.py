"""Messages and the campaigns that send them to a list."""

from __future__ import annotations

import sqlite3

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.unisender.campaigns import require_campaign
from lettertrail.sandbox.esps.unisender.lists import require_lists
from lettertrail.sandbox.esps.unisender.mail import UNCHECKED
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, Refusal, invalid, missing

DEFAULT_MESSAGES = 50
MAX_MESSAGES = 100
MAILABLE = ("new", "active")

methods: Methods[Handler] = Methods()


@methods.on("getMessages", "listMessages")
def get_messages(store: UnisenderStore, call: Call) -> list[Json]:
    """Messages that were written within a time, by limit and offset."""
    rows = store.rows(
        "select * from messages where created >= ? and created <= ? order by id limit ? offset ?",
        call.moment("date_from") or "",
        call.moment("date_to") or "9",
        call.whole("limit", DEFAULT_MESSAGES, maximum=MAX_MESSAGES),
        call.whole("offset", 0),
    )
    return [_shown(row) for row in rows]


@methods.on("getMessage")
def get_message(store: UnisenderStore, call: Call) -> list[Json]:
    """One message, in an array."""
    return [_shown(_require(store, call.whole("id")))]


def _require(store: UnisenderStore, number: int) -> sqlite3.Row:
    found = store.row("select * from messages where id = ?", number)
    if found is None:
        raise missing("Message is not found")
    return found


def _shown(row: sqlite3.Row) -> Json:
    return {
        "id": row["id"],
        "list_id": row["list_id"],
        "subject": row["subject"],
        "sender_name": row["sender_name"],
        "sender_email": row["sender_email"],
        "body": row["body"],
        "created": row["created"],
        "service_type": "email",
        "lang_code": "ru",
    }


@methods.on("createEmailMessage")
def create_message(store: UnisenderStore, call: Call) -> Json:
    """Writes a message for a list."""
    number = call.whole("list_id")
    require_lists(store, [number])
    names = ("subject", "sender_name", "sender_email", "body")
    texts = [call.required(name) for name in names]
    if texts[2].endswith(UNCHECKED):
        raise Refusal("unchecked_sender_email", "The sender's address is not confirmed")
    with store.transaction() as db:
        cursor = db.execute(
            "insert into messages (list_id, subject, sender_name, sender_email, body, created) "
            "values (?, ?, ?, ?, ?, ?)",
            (number, *texts, store.now()),
        )
        return {"message_id": cursor.lastrowid}


@methods.on("createCampaign")
def create_campaign(store: UnisenderStore, call: Call) -> Json:
    """Sends a message to everybody mailable on its list at once; a later `start_time` (UTC) is only kept."""
    message = _require(store, call.whole("message_id"))
    start = call.moment("start_time") or store.now()
    status = "scheduled" if start > store.now() else "completed"
    if call.text("timezone", "UTC") != "UTC":
        raise invalid("Argument 'timezone' must be 'UTC' here")
    with store.transaction() as db:
        cursor = db.execute(
            "insert into campaigns (list_id, message_id, status, subject, sender_name, sender_email, creation_time, "
            "start_time) select list_id, id, ?, subject, sender_name, sender_email, ?, ? from messages where id = ?",
            (status, store.now(), start, message["id"]),
        )
        people = store.rows(
            "select c.email from contacts c join memberships m on m.contact = c.contact "
            "where m.list_id = ? and m.state = 'subscribed' and c.status in (?, ?) order by c.contact",
            message["list_id"],
            *MAILABLE,
        )
        if status == "completed":
            for person in people:
                store.happen(person["email"], "ok_sent", int(cursor.lastrowid or 0))
    return {"campaign_id": cursor.lastrowid, "status": status, "count": len(people)}


@methods.on("cancelCampaign")
def cancel_campaign(store: UnisenderStore, call: Call) -> Json:
    """Stops one that has not started."""
    row = require_campaign(store, call.whole("campaign_id"))
    if row["status"] != "scheduled":
        raise Refusal("has_been_sent", "The campaign has been sent")
    with store.transaction() as db:
        db.execute("update campaigns set status = 'canceled' where id = ?", (row["id"],))
    return {}
