"""Single letters: `sendEmail` and `checkEmail`."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import is_address, key_of
from lettertrail.sandbox.esps.unisender.lists import require_lists
from lettertrail.sandbox.esps.unisender.store import FIXED, UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, Refusal, invalid, utc_text

MAX_BODY = 1 << 20
MAX_CHECKED = 500
PAUSE = timedelta(seconds=60)
UNCHECKED = ".invalid"
"""Senders of this domain have not confirmed their address."""

methods: Methods[Handler] = Methods()


@methods.on("sendEmail")
def send_email(store: UnisenderStore, call: Call) -> list[Json]:
    """Sends to one address or several; every address has its own answer, with `id` or with `errors`."""
    for name in ("sender_name", "subject"):
        call.required(name)
    sender, body = call.required("sender_email"), call.required("body")
    require_lists(store, [call.whole("list_id")])
    if sender.endswith(UNCHECKED):
        raise Refusal("unchecked_sender_email", "The sender's address is not confirmed")
    if len(body.encode()) > MAX_BODY:
        raise invalid("Argument 'body' is larger than 1 MB")
    given = call.params.get("email", "")
    addresses = [given] if isinstance(given, str) else [str(email) for email in call.array("email")]
    with store.transaction() as db:
        return [_send(store, db, call, index, email) for index, email in enumerate(addresses)]


def _send(store: UnisenderStore, db: sqlite3.Connection, call: Call, index: int, email: str) -> Json:
    if (error := _error(store, email)) is not None:
        return {"index": index, "email": email, "errors": [error]}
    cursor = db.execute(
        "insert into mails (email, sender_email, subject, headers, ref_key, status, sent_at) "
        "values (?, ?, ?, ?, ?, 'ok_sent', ?)",
        (key_of(email), *(call.text(name) for name in ("sender_email", "subject", "headers", "ref_key")), store.now()),
    )
    answer: Json = {"index": index, "email": email, "id": str(cursor.lastrowid)}
    return answer | ({"ref_key": call.text("ref_key")} if call.flag("ref_key_return") else {})


def _error(store: UnisenderStore, email: str) -> Json | None:
    if not is_address(email):
        return {"code": "invalid_email", "message": "The e-mail address is not valid"}
    status = store.status_of(email)
    if store.has_left(email) or status in FIXED:
        return {"code": "unsubscribed", "message": "The recipient does not take letters from this account"}
    recently = utc_text(store.moment - PAUSE)
    if store.row("select 1 from mails where email = ? and sent_at > ?", key_of(email), recently):
        return {"code": "too_frequent", "message": "A letter to this address was sent less than 60 seconds ago"}
    return None


@methods.on("checkEmail")
def check_email(store: UnisenderStore, call: Call) -> Json:
    """What became of up to 500 letters."""
    numbers = call.numbers("email_id")
    if len(numbers) > MAX_CHECKED:
        raise invalid(f"No more than {MAX_CHECKED} ids are allowed in one call")
    marks = ", ".join("?" * len(numbers))
    found = store.rows(f"select id, status from mails where id in ({marks}) order by id", *numbers)  # noqa: S608
    known = {row["id"] for row in found}
    return {
        "statuses": [{"id": str(row["id"]), "status": row["status"]} for row in found],
        "failed_email_id": [str(number) for number in numbers if number not in known],
    }
