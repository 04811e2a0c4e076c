"""Registering webhooks: one row per action."""

from __future__ import annotations

import sqlite3

from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore
from lettertrail.sandbox.esps.sendpulse.wire import SendPulseRouter, fields_of, listed
from lettertrail.sandbox.esps.sendpulse.words import invalid, not_here
from lettertrail.sandbox.esps.shell import Answer, Call, Json

router = SendPulseRouter()

PATH = "/v2/email-service/webhook"
ACTIONS = (
    "delivered",
    "open",
    "redirect",
    "unsubscribe",
    "new_emails",
    "delete",
    "spam",
    "spam_by_user",
    "soft_bounces",
    "hard_bounces",
    "task_status_update",
)


@router.on("GET", PATH)
def list_hooks(store: SendPulseStore, call: Call) -> Answer:
    """Every hook, one row per action (U: the wrapper `data`)."""
    return Answer({"success": True, "data": [_shown(row) for row in store.rows("select * from webhooks order by id")]})


@router.on("POST", PATH)
def create_hooks(store: SendPulseStore, call: Call) -> Answer:
    """One hook for each action."""
    fields = fields_of(call)
    actions, url = listed(fields, "actions"), str(fields.get("url", ""))
    if not url.startswith(("http://", "https://")) or not all(action in ACTIONS for action in actions):
        raise invalid("The url or an action is invalid.")
    with store.transaction() as db:
        ids = [
            db.execute("insert into webhooks (url, action) values (?, ?)", (url, action)).lastrowid
            for action in actions
        ]
    return Answer({"success": True, "data": [_shown(_require(store, number)) for number in ids]})


@router.on("GET", PATH + "/{hook_id}")
def get_hook(store: SendPulseStore, call: Call) -> Answer:
    """One hook."""
    return Answer({"success": True, "data": _shown(_require(store, call.names["hook_id"]))})


@router.on("PUT", PATH + "/{hook_id}")
def move_hook(store: SendPulseStore, call: Call) -> Answer:
    """Another URL."""
    url = str(fields_of(call).get("url", ""))
    if not url.startswith(("http://", "https://")):
        raise invalid("The url is invalid.")
    row = _require(store, call.names["hook_id"])
    with store.transaction() as db:
        db.execute("update webhooks set url = ? where id = ?", (url, row["id"]))
    return Answer({"success": True, "data": [_shown(_require(store, row["id"]))]})


@router.on("DELETE", PATH + "/{hook_id}")
def delete_hook(store: SendPulseStore, call: Call) -> Answer:
    """Forgets one."""
    with store.transaction() as db:
        if not db.execute("delete from webhooks where id = ?", (call.names["hook_id"],)).rowcount:
            raise not_here()
    return Answer({"success": True})


def _require(store: SendPulseStore, number: object) -> sqlite3.Row:
    found = store.row("select * from webhooks where id = ?", number)
    if found is None:
        raise not_here()
    return found


def _shown(row: sqlite3.Row) -> Json:
    return {"id": row["id"], "user_id": 1, "url": row["url"], "action": row["action"]}
