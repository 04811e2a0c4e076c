"""Sending and looking for what was sent. Status 200 does not mean that a letter was accepted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.esps.mandrill.store import MandrillStore, shown
from lettertrail.sandbox.esps.mandrill.wire import Call, Handler, Json, Refusal, invalid, utc_text
from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import is_address

AT_ONCE = 10
"""More recipients than these are always queued."""
MAX_TAG = 50
DEFAULT_FOUND = 100
MAX_FOUND = 1000
WEEK = 7 * 86_400
YEAR = 366 * 86_400
KINDS: dict[str, type] = {
    "from_email": str,
    "subject": str,
    "tags": list,
    "metadata": dict,
    "recipient_metadata": list,
    "subaccount": str,
    "headers": dict,
}
UNSIGNED = ".invalid"
"""Senders of this domain are not signed for."""

methods: Methods[Handler] = Methods()


@methods.on("messages/send")
def send(store: MandrillStore, call: Call) -> list[Json]:
    """Sends one letter; an answer for every recipient. Nothing keeps a repeat from mailing twice."""
    return _send(store, call, template=None)


@methods.on("messages/send-template")
def send_template(store: MandrillStore, call: Call) -> list[Json]:
    """The same with a template; any name but one that starts with `unknown` is known."""
    name = call.required("template_name")
    if name.startswith("unknown"):
        raise Refusal("Unknown_Template", f'No such template "{name}"')
    return _send(store, call, template=name)


def _send(store: MandrillStore, call: Call, *, template: str | None) -> list[Json]:
    message = call.object("message")
    recipients = _recipients(message)
    _check(store, message)
    send_at = call.seconds("send_at")
    if send_at is not None and send_at > store.seconds() + YEAR:
        raise invalid('{"send_at":"Please enter a date within a year"}')
    is_later = send_at is not None and send_at > store.seconds()
    is_queued = call.flag("async") or len(recipients) > AT_ONCE
    with store.transaction():
        return [
            _send_one(
                store,
                message,
                recipient,
                template=template,
                status="scheduled" if is_later else "queued" if is_queued else "sent",
                send_at=send_at if is_later else None,
            )
            for recipient in recipients
        ]


def _recipients(message: Json) -> list[Json]:
    to = message.get("to")
    if not isinstance(to, list) or not to or not all(isinstance(item, dict) for item in to):
        raise invalid('{"message":{"to":"Please enter an array"}}')
    return to


def _check(store: MandrillStore, message: Json) -> None:
    for name, kind in KINDS.items():
        if not isinstance(message.get(name) or kind(), kind):
            raise invalid(f'{{"message":{{"{name}":"Please enter a valid value"}}}}')
    if not all(isinstance(item, dict) for item in message.get("recipient_metadata") or []):
        raise invalid('{"message":{"recipient_metadata":"Please enter an array"}}')
    for tag in message.get("tags") or []:
        if not isinstance(tag, str) or len(tag) > MAX_TAG or tag.startswith("_"):
            raise invalid('{"message":{"tags":"Please enter valid tags"}}')
    subaccount = message.get("subaccount")
    if subaccount and store.row("select 1 from subaccounts where id = ?", subaccount) is None:
        raise Refusal("Unknown_Subaccount", f'No subaccount exists with the id "{subaccount}"')


def _send_one(
    store: MandrillStore, message: Json, recipient: Json, *, template: str | None, status: str, send_at: int | None
) -> Json:
    email = str(recipient.get("email", ""))
    reason = _reject_reason(store, message, email)
    if reason == "invalid":
        status = "invalid"
    elif reason is not None:
        status = "rejected"
    message_id = store.add_message(
        email,
        state={"invalid": "rejected"}.get(status, status),
        sender=message.get("from_email") or "",
        subject=message.get("subject") or "",
        tags=message.get("tags") or [],
        metadata=_metadata(message, email),
        template=template,
        subaccount=message.get("subaccount") or None,
        headers=message.get("headers") or {},
        reject_reason=reason,
        send_at=send_at,
    )
    if reason is not None:
        store.add_event(message_id, "reject", store.seconds(), {})
    elif status == "sent":
        store.add_event(message_id, "send", store.seconds(), {})
    queued: Json = {"queued_reason": "batch"} if status == "queued" else {}
    return {"email": email, "status": status, "_id": message_id, "reject_reason": reason} | queued


def _reject_reason(store: MandrillStore, message: Json, email: str) -> str | None:
    if not is_address(email):
        return "invalid"
    sender = str(message.get("from_email") or "")
    if not is_address(sender):
        return "invalid-sender"
    if sender.endswith(UNSIGNED):
        return "unsigned"
    found = store.reject(email, message.get("subaccount") or "")
    return None if found is None else str(found["reason"])


def _metadata(message: Json, email: str) -> Json:
    own = next(
        (item.get("values") or {} for item in message.get("recipient_metadata") or [] if item.get("rcpt") == email), {}
    )
    common: Json = message.get("metadata") or {}
    return common | own


@methods.on("messages/search")
def search(store: MandrillStore, call: Call) -> list[Json]:
    """The newest messages of the last seven days, or of a window; there are no pages."""
    limit = call.whole("limit", DEFAULT_FOUND, maximum=MAX_FOUND)
    return [shown(store, row) for row in _found(store, call)[:limit]]


def _found(store: MandrillStore, call: Call) -> list[sqlite3.Row]:
    """Newest first."""
    now = store.seconds()
    begin, end = call.seconds("date_from"), call.seconds("date_to", is_end=True)
    rows = store.rows(
        "select * from messages where ts >= ? and ts <= ? order by ts desc, number desc",
        now - WEEK if begin is None else begin,
        now if end is None else end,
    )
    tags, senders, words = call.texts("tags"), call.texts("senders"), call.text("query").split()
    return [row for row in rows if _matches(row, tags, senders, words)]


def _matches(row: sqlite3.Row, tags: Sequence[str], senders: Sequence[str], words: Sequence[str]) -> bool:
    own: list[str] = json.loads(row["tags"])
    if tags and not set(tags) & set(own):
        return False
    if senders and row["sender"] not in senders:
        return False
    return all(_holds(row, word) for word in words if word.upper() != "AND")


def _holds(row: sqlite3.Row, word: str) -> bool:
    """`email:a@b.c`, `subject:word`, `u_key:value` of the metadata, or a word anywhere."""
    name, colon, value = word.partition(":")
    value = value.strip('"').lower()
    if not colon:
        return word.lower() in f"{row['email']} {row['subject']}".lower()
    if name.startswith("u_"):
        metadata: Json = json.loads(row["metadata"])
        return str(metadata.get(name[2:], "")).lower() == value
    return name in {"email", "subject", "sender"} and value in str(row[name]).lower()


@methods.on("messages/info")
def info(store: MandrillStore, call: Call) -> Json:
    """One message."""
    row = store.message(call.required("id"))
    if row is None:
        raise Refusal("Unknown_Message", "No message exists with the id given")
    return shown(store, row)


@methods.on("messages/search-time-series")
def time_series(store: MandrillStore, call: Call) -> list[Json]:
    """Counts by the hour."""
    hours: dict[int, Json] = {}
    for row in _found(store, call):
        hour = hours.setdefault(row["ts"] // 3600 * 3600, dict.fromkeys(COUNTERS, 0))
        events = store.rows("select event, count(*) as number from events where message_id = ? group by 1", row["id"])
        for event in events:
            for counter in COUNTED.get(event["event"], ()):
                hour[counter] += 1 if counter.startswith("unique_") else event["number"]
    return [{"time": utc_text(hour)} | counts for hour, counts in sorted(hours.items())]


COUNTED: dict[str, tuple[str, ...]] = {
    "send": ("sent",),
    "open": ("opens", "unique_opens"),
    "click": ("clicks", "unique_clicks"),
    "hard_bounce": ("hard_bounces",),
    "soft_bounce": ("soft_bounces",),
    "reject": ("rejects",),
    "spam": ("complaints",),
    "unsub": ("unsubs",),
}
COUNTERS = tuple(name for names in COUNTED.values() for name in names)


@methods.on("messages/list-scheduled")
def list_scheduled(store: MandrillStore, call: Call) -> list[Json]:
    """What waits for its time."""
    rows = store.rows(
        "select * from messages where state = 'scheduled' and (? = '' or email = ?) order by send_at",
        *(call.text("to"),) * 2,
    )
    return [_scheduled(row) for row in rows]


@methods.on("messages/cancel-scheduled")
def cancel_scheduled(store: MandrillStore, call: Call) -> Json:
    """Takes one back."""
    row = store.row("select * from messages where id = ? and state = 'scheduled'", call.required("id"))
    if row is None:
        raise Refusal("Unknown_Message", "No scheduled message exists with the id given")
    with store.transaction() as db:
        db.execute("update messages set state = 'canceled' where id = ?", (row["id"],))
    return _scheduled(row)


def _scheduled(row: sqlite3.Row) -> Json:
    return {
        "_id": row["id"],
        "created_at": utc_text(row["ts"]),
        "send_at": utc_text(row["send_at"]),
        "from_email": row["sender"],
        "to": row["email"],
        "subject": row["subject"],
    }


@methods.on("users/ping2")
def ping(store: MandrillStore, call: Call) -> Json:
    """Is the key good?"""
    return {"PING": "PONG!"}


@methods.on("users/info")
def user_info(store: MandrillStore, call: Call) -> Json:
    """Whose account this is; every reject that was deleted cost reputation."""
    counts: dict[str, Any] = dict.fromkeys(COUNTERS, 0)
    for row in store.rows("select event, count(*) as number, count(distinct message_id) as m from events group by 1"):
        for counter in COUNTED.get(row["event"], ()):
            counts[counter] += row["m"] if counter.startswith("unique_") else row["number"]
    return {
        "username": "sandbox",
        "created_at": utc_text(1_577_836_800),
        "public_id": "sandboxpublicid",
        "reputation": 98 - int(store.fact("deleted_rejects") or 0),
        "hourly_quota": 1000,
        "backlog": store.number("select count(*) from messages where state = 'queued'"),
        "stats": {"all_time": counts},
    }
