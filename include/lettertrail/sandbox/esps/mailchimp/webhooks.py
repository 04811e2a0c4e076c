"""Webhooks of an audience: their settings, and the requests that tell of what happened.

The signing secret is told once, at creation. Webhooks from before there was signing stay unsigned.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from lettertrail.sandbox.esps.mailchimp.members import require_list
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, dump
from lettertrail.sandbox.esps.mailchimp.wire import (
    Answer,
    Call,
    Json,
    Router,
    bad_request,
    invalid_resource,
    not_found,
)
from lettertrail.sandbox.hooks import HookRequest

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")

router = Router()


@router.on("GET", "/lists/{list_id}/webhooks")
def list_webhooks(store: MailchimpStore, call: Call) -> Answer:
    """All webhooks of an audience."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    rows = store.rows("select * from webhooks where list_id = ? order by rowid", list_id)
    return Answer(body={"webhooks": [_shown(row) for row in rows], "list_id": list_id, "total_items": len(rows)})


@router.on("POST", "/lists/{list_id}/webhooks")
def create_webhook(store: MailchimpStore, call: Call) -> Answer:
    """Adds one; a second webhook with the same URL is refused."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    with store.transaction() as db:
        url = _url(store, list_id, fields)
        number, secret = uuid.uuid4().hex[:10], secrets.token_hex(32)
        db.execute(
            "insert into webhooks (id, list_id, url, payload, signing_secret) values (?, ?, ?, ?, ?)",
            (number, list_id, url, dump(_switches(fields, {})), secret),
        )
        return Answer(body=_shown(_require(store, list_id, number)) | {"signing_secret": secret})


@router.on("GET", "/lists/{list_id}/webhooks/{webhook_id}")
def get_webhook(store: MailchimpStore, call: Call) -> Answer:
    """One webhook, without its secret."""
    return Answer(body=_shown(_require(store, call.names["list_id"], call.names["webhook_id"])))


@router.on("PATCH", "/lists/{list_id}/webhooks/{webhook_id}")
def change_webhook(store: MailchimpStore, call: Call) -> Answer:
    """Changes the URL or some switches; the secret stays."""
    list_id, number, fields = call.names["list_id"], call.names["webhook_id"], call.fields()
    with store.transaction() as db:
        row = _require(store, list_id, number)
        url = row["url"]
        if fields.get("url") not in {None, url}:
            url = _url(store, list_id, fields)
        db.execute(
            "update webhooks set url = ?, payload = ? where id = ?",
            (url, dump(_switches(fields, json.loads(row["payload"]))), number),
        )
        return Answer(body=_shown(_require(store, list_id, number)))


@router.on("DELETE", "/lists/{list_id}/webhooks/{webhook_id}")
def delete_webhook(store: MailchimpStore, call: Call) -> Answer:
    """Removes one."""
    with store.transaction() as db:
        row = _require(store, call.names["list_id"], call.names["webhook_id"])
        db.execute("delete from webhooks where id = ?", (row["id"],))
    return Answer(204)


def _require(store: MailchimpStore, list_id: str, number: str) -> sqlite3.Row:
    require_list(store, list_id)
    found = store.row("select * from webhooks where list_id = ? and id = ?", list_id, number)
    if found is None:
        raise not_found()
    return found


def _url(store: MailchimpStore, list_id: str, fields: Json) -> str:
    url = fields.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise invalid_resource(("url", "This value is not a valid URL."))
    if store.row("select 1 from webhooks where list_id = ? and url = ?", list_id, url):
        raise bad_request("Sorry, you can't set up multiple WebHooks for one URL")
    return url


def _switches(fields: Json, before: Json) -> Json:
    """`events` and `sources`; what nobody switched on is off."""
    switches: Json = {}
    for name, words in (("events", EVENTS), ("sources", SOURCES)):
        given = fields.get(name) or {}
        if not isinstance(given, dict) or not set(given) <= set(words):
            raise invalid_resource((name, "Value did not match any of the allowed options"))
        old = before.get(name, {})
        switches[name] = {word: bool(given.get(word, old.get(word, False))) for word in words}
    return switches


def _shown(row: sqlite3.Row) -> Json:
    payload: Json = json.loads(row["payload"])
    is_signed = bool(row["signing_secret"])
    return {"id": row["id"], "url": row["url"], "list_id": row["list_id"], "signing_enabled": is_signed} | payload


# --- what is sent


def add_old_webhook(store: MailchimpStore, list_id: str, url: str) -> None:
    """A webhook for everything, as it was made before there was signing."""
    switches = {"events": dict.fromkeys(EVENTS, True), "sources": dict.fromkeys(SOURCES, True)}
    with store.transaction() as db:
        db.execute(
            "insert into webhooks (id, list_id, url, payload, signing_secret) values (?, ?, ?, ?, '')",
            (uuid.uuid4().hex[:10], list_id, url, dump(switches)),
        )


def handshake(url: str) -> HookRequest:
    """What the service asks before a webhook is taken; the answer must be 200."""
    return HookRequest("GET", url)


def hook_requests(store: MailchimpStore, *, since: int = 0) -> list[HookRequest]:
    """What the webhooks are sent of the events after number `since`, signed now; see `last_event`."""
    events = store.rows("select * from hook_events where number > ? order by number", since)
    requests = []
    for hook in store.rows("select * from webhooks order by rowid"):
        switches = json.loads(hook["payload"])
        requests += [
            render(hook["url"], event, secret=hook["signing_secret"], at=int(store.moment.timestamp()))
            for event in events
            if event["list_id"] == hook["list_id"]
            and switches["events"][event["type"]]
            and switches["sources"][event["source"]]
        ]
    return requests


def last_event(store: MailchimpStore) -> int:
    """The number of the newest event, to give as `since` the next time."""
    return store.number("select max(number) from hook_events")


def render(url: str, event: sqlite3.Row, *, secret: str, at: int) -> HookRequest:
    """One event as a form; signed over `{at}.{body}` when there is a secret. `at` is in Unix seconds."""
    pairs = [("type", event["type"]), ("fired_at", event["fired_at"]), *_pairs("data", json.loads(event["data"]))]
    body = urlencode(pairs).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if secret:
        digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        headers["X-Mailchimp-Signature"] = f"t={at},v1={digest}"
    return HookRequest("POST", url, headers, body)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """`data[merges][FNAME]` and the like."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _pairs(f"{name}[{key}]", item)
    else:
        yield name, str(value)
