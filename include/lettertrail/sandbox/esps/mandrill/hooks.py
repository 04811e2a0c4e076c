"""Webhooks: their settings, and the requests that tell of what happened."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Sequence
from urllib.parse import urlencode

from lettertrail.sandbox.esps.mandrill.store import EVENTS, MandrillStore, shown
from lettertrail.sandbox.esps.mandrill.wire import Call, Handler, Json, Refusal, fine_text, invalid
from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump
from lettertrail.sandbox.hooks import HookRequest

SYNCS = ("whitelist", "blacklist")
MAX_EVENTS = 1000
TEST_KEY = "test-webhook"

methods: Methods[Handler] = Methods()


@methods.on("webhooks/add")
def add(store: MandrillStore, call: Call) -> Json:
    """Adds one; the URL was asked by HEAD before."""
    url, events = call.required("url"), call.texts("events") or list(EVENTS)
    if not url.startswith(("http://", "https://")):
        raise invalid('{"url":"Please enter a URL"}')
    if not set(events) <= {*EVENTS, *SYNCS}:
        raise invalid('{"events":"Please enter known events"}')
    with store.transaction() as db:
        if store.row("select 1 from webhooks where url = ?", url):
            raise invalid('{"url":"A webhook with this URL exists already"}')
        db.execute(
            "insert into webhooks (url, description, events, auth_key, created_at) values (?, ?, ?, ?, ?)",
            (url, call.text("description"), dump(events), secrets.token_urlsafe(16), store.seconds()),
        )
        row = store.row("select * from webhooks where url = ?", url)
        assert row is not None
        return _shown(row)


@methods.on("webhooks/list")
def list_webhooks(store: MandrillStore, call: Call) -> list[Json]:
    """All of them, keys included."""
    return [_shown(row) for row in store.rows("select * from webhooks order by id")]


@methods.on("webhooks/info")
def info(store: MandrillStore, call: Call) -> Json:
    """One of them."""
    return _shown(_require(store, call))


@methods.on("webhooks/delete")
def delete(store: MandrillStore, call: Call) -> Json:
    """Removes one."""
    row = _require(store, call)
    with store.transaction() as db:
        db.execute("delete from webhooks where id = ?", (row["id"],))
    return _shown(row)


def _require(store: MandrillStore, call: Call) -> sqlite3.Row:
    number = call.body.get("id")
    found = store.row("select * from webhooks where id = ?", number if isinstance(number, int) else -1)
    if found is None:
        raise Refusal("Unknown_Webhook", "No webhook exists with the id given")
    return found


def _shown(row: sqlite3.Row) -> Json:
    return {
        "id": row["id"],
        "url": row["url"],
        "auth_key": row["auth_key"],
        "description": row["description"],
        "events": json.loads(row["events"]),
        "created_at": fine_text(row["created_at"]),
        "last_sent_at": None,
        "batches_sent": 0,
        "events_sent": 0,
        "last_error": None,
    }


def handshake(url: str) -> HookRequest:
    """The unsigned question before a webhook is taken; the answer must be 200."""
    return HookRequest("HEAD", url)


def trial_request(url: str) -> HookRequest:
    """The empty list that the interface's test button sends, signed with a key that everybody knows."""
    return render(url, [], auth_key=TEST_KEY)


def hook_requests(store: MandrillStore, *, since: int = 0) -> list[HookRequest]:
    """What the webhooks are sent of the events after number `since`; see `last_event`."""
    rows = store.rows("select * from events where number > ? order by number", since)
    told = [(row["event"], _sync(row) if row["sync"] else _told(store, row)) for row in rows]
    requests = []
    for hook in store.rows("select * from webhooks order by id"):
        asked = json.loads(hook["events"])
        wanted = [event for word, event in told if word in asked]
        requests += [
            render(hook["url"], wanted[start : start + MAX_EVENTS], auth_key=hook["auth_key"])
            for start in range(0, len(wanted), MAX_EVENTS)
        ]
    return requests


def last_event(store: MandrillStore) -> int:
    """The number of the newest event, to give as `since` the next time."""
    return store.number("select max(number) from events")


def render(url: str, events: Sequence[Json], *, auth_key: str) -> HookRequest:
    """One request with some events, signed over the URL and the form's keys and values in sorted order."""
    params = {"mandrill_events": json.dumps(list(events), separators=(",", ":"))}
    signed = url + "".join(f"{name}{params[name]}" for name in sorted(params))
    digest = hmac.new(auth_key.encode(), signed.encode(), hashlib.sha1).digest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Mandrill-Signature": base64.b64encode(digest).decode(),
    }
    return HookRequest("POST", url, headers, urlencode(params).encode())


def _told(store: MandrillStore, row: sqlite3.Row) -> Json:
    message = store.message(row["message_id"])
    assert message is not None
    event: Json = {
        "event": row["event"],
        "ts": row["ts"],
        "_id": row["message_id"],
        "msg": _message(store, message),
    }
    if row["event"] in {"open", "click"}:
        event |= {"ip": row["ip"], "location": {}, "user_agent": row["user_agent"], "user_agent_parsed": {}}
    if row["event"] == "click":
        event["url"] = row["url"]
    return event


def _message(store: MandrillStore, row: sqlite3.Row) -> Json:
    found = shown(store, row)
    kept = ("_id", "ts", "subject", "email", "sender", "tags", "metadata", "state", "diag", "template", "subaccount")
    return {name: found[name] for name in kept} | {
        "opens": [{"ts": opened["ts"]} for opened in found["opens_detail"]],
        "clicks": [{"ts": click["ts"], "url": click["url"]} for click in found["clicks_detail"]],
        "bounce_description": found["bounce_description"],
        "bgtools_code": 10 if found["bounce_description"] else None,
        "smtp_events": found["smtp_events"],
    }


def _sync(row: sqlite3.Row) -> Json:
    return {"type": row["event"], **json.loads(row["sync"]), "ts": row["ts"]}
