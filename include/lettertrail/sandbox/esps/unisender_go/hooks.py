"""Webhooks: their settings, and the requests that tell of what happened.

Nobody is told of recipients that were refused when the letter was sent.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import uuid
from collections.abc import Sequence

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump
from lettertrail.sandbox.esps.unisender.wire import to_bytes
from lettertrail.sandbox.esps.unisender_go.store import PROJECT_ID, UnisenderGoStore
from lettertrail.sandbox.esps.unisender_go.wire import Call, Handler, Json, Refusal, as_object, invalid
from lettertrail.sandbox.hooks import HookRequest

EVENTS = {
    "email_status": (
        "sent",
        "delivered",
        "opened",
        "hard_bounced",
        "soft_bounced",
        "spam",
        "clicked",
        "unsubscribed",
        "subscribed",
    ),
    "spam_block": ("*",),
}
MAX_EVENTS = 100
OWNER: Json = {"user_id": 456, "project_id": PROJECT_ID, "project_name": "Sandbox"}

methods: Methods[Handler] = Methods()


@methods.on("webhook/set")
def set_webhook(store: UnisenderGoStore, call: Call) -> Json:
    """Adds a webhook, or replaces the one with the same URL."""
    url = call.required("url")
    if not url.startswith(("http://", "https://")):
        raise invalid("Field 'url' must be a URL")
    settings: Json = {
        "status": _one_of(call, "status", ("active", "disabled")),
        "event_format": _one_of(call, "event_format", ("json_post", "json_post_gzip")),
        "delivery_info": _switch(call, "delivery_info"),
        "single_event": _switch(call, "single_event"),
        "max_parallel": call.whole("max_parallel", 10, maximum=100),
        "events": _events(call),
    }
    with store.transaction() as db:
        db.execute("insert or replace into webhooks (url, settings) values (?, ?)", (url, dump(settings)))
    return {"status": "success", "object": {"url": url} | settings}


def _one_of(call: Call, name: str, allowed: Sequence[str]) -> str:
    value = call.text(name, allowed[0])
    if value not in allowed:
        raise invalid(f"Field '{name}' must be one of {', '.join(allowed)}")
    return value


def _switch(call: Call, name: str) -> int:
    value = call.body.get(name, 0)
    if value not in {0, 1}:
        raise invalid(f"Field '{name}' must be 0 or 1")
    return int(value)


def _events(call: Call) -> Json:
    events = call.object("events")
    for name, words in events.items():
        if name not in EVENTS or not isinstance(words, list) or not set(words) <= {*EVENTS[name], "*"}:
            raise invalid("Field 'events' names something unknown")
    if not events:
        raise invalid("Field 'events' is required")
    return events


@methods.on("webhook/get")
def get_webhook(store: UnisenderGoStore, call: Call) -> Json:
    """One webhook by its URL."""
    return {"status": "success", "object": _shown(_require(store, call))}


@methods.on("webhook/list")
def list_webhooks(store: UnisenderGoStore, call: Call) -> Json:
    """All webhooks."""
    return {
        "status": "success",
        "objects": [_shown(row) for row in store.rows("select * from webhooks order by rowid")],
    }


@methods.on("webhook/delete")
def delete_webhook(store: UnisenderGoStore, call: Call) -> Json:
    """Removes one."""
    with store.transaction() as db:
        db.execute("delete from webhooks where url = ?", (_require(store, call)["url"],))
    return {"status": "success"}


def _require(store: UnisenderGoStore, call: Call) -> sqlite3.Row:
    found = store.row("select * from webhooks where url = ?", call.required("url"))
    if found is None:
        raise Refusal(3202, "The webhook is not found", status=404)
    return found


def _shown(row: sqlite3.Row) -> Json:
    return {"url": row["url"]} | as_object(json.loads(row["settings"]), where="settings")


def handshake(url: str) -> HookRequest:
    """What the service asks when a webhook is made active; the answer must be 200."""
    return HookRequest("GET", url)


def hook_requests(store: UnisenderGoStore, *, api_key: str, since: int = 0) -> list[HookRequest]:
    """What the active webhooks are sent of the events after number `since`; see `last_event`."""
    events = store.rows(
        "select e.*, coalesce(l.metadata, '{}') as metadata from events e "
        "left join letters l on l.job_id = e.job_id and l.email = e.email where number > ? order by number",
        since,
    )
    requests = []
    for row in store.rows("select * from webhooks order by rowid"):
        settings = json.loads(row["settings"])
        if settings["status"] != "active":
            continue
        asked = settings["events"].get("email_status", [])
        wanted = [
            event for event in events if event["status"] in asked or ("*" in asked and event["status"] != "accepted")
        ]
        size = 1 if settings["single_event"] else MAX_EVENTS
        requests += [
            render(row["url"], wanted[start : start + size], api_key=api_key, settings=settings)
            for start in range(0, len(wanted), size)
        ]
    return requests


def last_event(store: UnisenderGoStore) -> int:
    """The number of the newest event, to give as `since` the next time."""
    return store.number("select max(number) from events")


def render(url: str, events: Sequence[sqlite3.Row], *, api_key: str, settings: Json) -> HookRequest:
    """One request with some events; a single one lies flat beside the project it belongs to.

    `auth` is the MD5 of the body that has the API key in its place.
    """
    told = [_told(event, with_delivery=bool(settings["delivery_info"])) for event in events]
    if settings["single_event"]:
        raw = to_bytes({"auth": api_key, **OWNER, "event_name": told[0]["event_name"], **told[0]["event_data"]})
    else:
        raw = to_bytes({"auth": api_key, "events_by_user": [{**OWNER, "events": told}]})
    auth = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    body = raw.replace(to_bytes(api_key), to_bytes(auth), 1)
    headers = {"Content-Type": "application/json", "ID": str(uuid.uuid4())}
    if settings["event_format"] == "json_post_gzip":
        return HookRequest("POST", url, headers | {"Content-Encoding": "gzip"}, gzip.compress(body, mtime=0))
    return HookRequest("POST", url, headers, body)


def _told(event: sqlite3.Row, *, with_delivery: bool) -> Json:
    data: Json = {
        "job_id": event["job_id"],
        "metadata": json.loads(event["metadata"]),
        "email": event["email"],
        "status": event["status"],
        "event_time": event["event_time"],
    }
    if event["url"]:
        data["url"] = event["url"]
    if with_delivery:
        data["delivery_info"] = {
            "delivery_status": event["delivery_status"],
            "destination_response": event["destination_response"],
            "user_agent": event["user_agent"],
            "ip": event["ip"],
        }
    return {"event_name": "transactional_email_status", "event_data": data}
