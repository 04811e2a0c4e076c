"""Sending: who is refused is told in the answer only, and hears of no webhook."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import is_address, key_of
from lettertrail.sandbox.esps.unisender_go.store import UnisenderGoStore
from lettertrail.sandbox.esps.unisender_go.wire import TIME, Call, Handler, Json, Refusal, as_object, invalid, utc_text

MAX_RECIPIENTS = 500
MAX_TAGS = 4
MAX_METADATA = 10
MAX_KEY = 64
KINDS: dict[str, type] = {
    "subject": str,
    "from_email": str,
    "template_id": str,
    "tags": list,
    "global_metadata": dict,
    "headers": dict,
    "options": dict,
    "body": dict,
}
GUARDED = timedelta(minutes=1)
FURTHEST = timedelta(hours=24)
BYPASS = {
    "unsubscribed": "bypass_unsubscribed",
    "complained": "bypass_complained",
    "temporary_unavailable": "bypass_unavailable",
    "permanent_unavailable": "bypass_unavailable",
}

methods: Methods[Handler] = Methods()


@methods.on("email/send")
def send(store: UnisenderGoStore, call: Call) -> Json:
    """Sends one letter to up to 500 recipients. When all of them are refused, the call is."""
    message = call.object("message")
    recipients = _recipients(message)
    _check(store, message)
    with store.transaction() as db:
        _guard(store, db, message.get("idempotence_key"))
        failed: dict[str, str] = {}
        accepted: dict[str, Json] = {}
        for recipient in recipients:
            email = str(recipient.get("email", ""))
            reason = "duplicate" if key_of(email) in map(key_of, accepted) else _refused(store, message, email)
            if reason is None:
                accepted[email] = as_object(recipient.get("metadata", {}), where="metadata")
            else:
                failed[email] = reason
        if not accepted:
            raise Refusal(204, "All emails are failed", more={"failed_emails": failed})
        job_id = _job(store, call, message)
        for email, metadata in accepted.items():
            store.add_letter(job_id, email, as_object(message.get("global_metadata", {}), where="metadata") | metadata)
    answer: Json = {"status": "success", "job_id": job_id, "emails": list(accepted)}
    return answer | ({"failed_emails": failed} if failed else {})


def _recipients(message: Json) -> list[Json]:
    recipients = message.get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise invalid("Field 'recipients' is required")
    if len(recipients) > MAX_RECIPIENTS:
        raise invalid(f"Field 'recipients' must have at most {MAX_RECIPIENTS} items")
    return [as_object(recipient, where="recipients") for recipient in recipients]


def _check(store: UnisenderGoStore, message: Json) -> None:
    for name, kind in KINDS.items():
        if not isinstance(message.get(name) or kind(), kind):
            raise invalid(f"Field '{name}' is not of the right type")
    if not message.get("template_id"):
        body = as_object(message.get("body", {}), where="body")
        if not body.get("html") and not body.get("plaintext"):
            raise invalid("Field 'body' is required")
        for name in ("subject", "from_email"):
            if not message.get(name):
                raise invalid(f"Field '{name}' is required")
    if len(message.get("tags") or []) > MAX_TAGS:
        raise invalid(f"Field 'tags' must have at most {MAX_TAGS} items")
    if len(message.get("global_metadata") or {}) > MAX_METADATA:
        raise invalid(f"Field 'global_metadata' must have at most {MAX_METADATA} items")
    if send_at := as_object(message.get("options", {}), where="options").get("send_at"):
        try:
            moment = datetime.strptime(str(send_at), TIME).replace(tzinfo=store.moment.tzinfo)
        except ValueError:
            raise invalid("Field 'send_at' must be a time YYYY-MM-DD hh:mm:ss in UTC") from None
        if moment > store.moment + FURTHEST:
            raise invalid("Field 'send_at' must be at most 24 hours ahead")


def _guard(store: UnisenderGoStore, db: sqlite3.Connection, name: Any) -> None:
    """Refuses an idempotence key that was used less than a minute ago; after that it is as good as new."""
    if not name:
        return
    if not isinstance(name, str) or len(name) > MAX_KEY:
        raise Refusal(1572, f"Field 'idempotence_key' must be a string of at most {MAX_KEY} characters")
    if store.row("select 1 from idempotence where name = ? and at > ?", name, utc_text(store.moment - GUARDED)):
        raise Refusal(1573, "A message with this idempotence_key was sent already")
    db.execute("insert or replace into idempotence (name, at) values (?, ?)", (name, store.now()))


def _refused(store: UnisenderGoStore, message: Json, email: str) -> str | None:
    if not is_address(email):
        return "invalid"
    found = store.suppression(email)
    if found is None:
        return None
    cause = str(found["cause"])
    return None if message.get(BYPASS.get(cause, "")) else cause


def _job(store: UnisenderGoStore, call: Call, message: Json) -> str:
    given: Mapping[str, Any] = as_object(message.get("headers", {}), where="headers")
    # Other headers are left out without a word.
    kept = {
        name: value
        for name, value in given.items()
        if name.lower().startswith("x-") or name.lower() in {"to", "cc"} | call.approved_headers
    }
    return store.add_job(
        str(message.get("from_email", "")),
        str(message.get("subject", "")),
        tags=message.get("tags") or [],
        headers=kept,
        unsubscribe_url=str(as_object(message.get("options", {}), where="options").get("unsubscribe_url", "")),
    )


@methods.on("email/subscribe")
def subscribe(store: UnisenderGoStore, call: Call) -> Json:
    """Sends somebody who unsubscribed a letter that asks to confirm."""
    for name in ("from_email", "from_name"):
        call.required(name)
    email = call.required("to_email")
    if not is_address(email):
        raise invalid("Field 'to_email' must be an e-mail address")
    with store.transaction() as db:
        db.execute("insert into confirmations (email, at) values (?, ?)", (key_of(email), store.now()))
    return {"status": "success"}
