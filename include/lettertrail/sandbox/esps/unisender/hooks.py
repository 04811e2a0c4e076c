"""Webhooks: their settings, and the requests that tell of what happened."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, invalid, missing, to_bytes
from lettertrail.sandbox.hooks import HookRequest

EVENTS = (
    "email_status",
    "unsubscribe",
    "subscribe",
    "subscribe_primary",
    "campaign_status",
    "email_check",
    "user_info",
    "user_payment",
    "user_balance",
)
MAX_EVENTS = 100
LOGIN = "sandbox"

methods: Methods[Handler] = Methods()


@methods.on("setHook")
def set_hook(store: UnisenderStore, call: Call) -> Json:
    """Adds a webhook, or replaces the one with the same URL."""
    url = call.required("hook_url")
    if not url.startswith(("http://", "https://")):
        raise invalid("Argument 'hook_url' must be a URL")
    events = call.object("events")
    if not events or not set(events) <= set(EVENTS):
        raise invalid(f"Argument 'events' must name some of {', '.join(EVENTS)}")
    status = call.text("status", "active")
    if status not in {"active", "disabled"}:
        raise invalid("Argument 'status' must be 'active' or 'disabled'")
    with store.transaction() as db:
        db.execute(
            "insert or replace into hooks (url, events, event_format, max_parallel, single_event, status) "
            "values (?, ?, ?, ?, ?, ?)",
            (
                url,
                dump(events),
                call.text("event_format", "json_post"),
                call.whole("max_parallel", 10),
                int(call.flag("single_event")),
                status,
            ),
        )
    return {}


@methods.on("listHooks")
def list_hooks(store: UnisenderStore, call: Call) -> list[Json]:
    """All webhooks."""
    return [
        {
            "url": row["url"],
            "status": row["status"],
            "event_format": row["event_format"],
            "max_parallel": row["max_parallel"],
            "single_event": row["single_event"],
            "events": json.loads(row["events"]),
        }
        for row in store.rows("select * from hooks order by rowid")
    ]


@methods.on("removeHook")
def remove_hook(store: UnisenderStore, call: Call) -> Json:
    """Removes one."""
    with store.transaction() as db:
        if db.execute("delete from hooks where url = ?", (call.required("hook_url"),)).rowcount == 0:
            raise missing("Hook is not found")
    return {}


def hook_requests(store: UnisenderStore, *, api_key: str, since: int = 0) -> list[HookRequest]:
    """What the active webhooks are sent of the events after number `since`; see `last_event`."""
    events = store.rows("select * from hook_events where number > ? order by number", since)
    requests = []
    for hook in store.rows("select * from hooks where status = 'active' order by rowid"):
        wanted = [event for event in events if _is_wanted(event, json.loads(hook["events"]))]
        size = 1 if hook["single_event"] else MAX_EVENTS
        requests += [
            render(hook["url"], wanted[start : start + size], api_key=api_key, number=start // size + 1)
            for start in range(0, len(wanted), size)
        ]
    return requests


def last_event(store: UnisenderStore) -> int:
    """The number of the newest event, to give as `since` the next time."""
    return store.number("select max(number) from hook_events")


def render(url: str, events: Sequence[sqlite3.Row], *, api_key: str, number: int = 1) -> HookRequest:
    """One request with some events. `auth` is the MD5 of the body that has the API key in its place."""
    body = {
        "auth": api_key,
        "num": number,
        "events_by_user": [
            {
                "Login": LOGIN,
                "Events": [
                    {
                        "event_name": event["event_name"],
                        "event_time": event["event_time"],
                        "event_data": json.loads(event["event_data"]),
                    }
                    for event in events
                ],
            }
        ],
    }
    raw = to_bytes(body)
    auth = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    signed = raw.replace(to_bytes(api_key), to_bytes(auth), 1)
    return HookRequest("POST", url, {"Content-Type": "application/json"}, signed)


def _is_wanted(event: sqlite3.Row, asked: dict[str, str]) -> bool:
    """`events[name]` is `*` or a list of statuses."""
    words = asked.get(event["event_name"])
    if words is None:
        return False
    status = json.loads(event["event_data"]).get("status")
    return words == "*" or status is None or status in words.split(",")
