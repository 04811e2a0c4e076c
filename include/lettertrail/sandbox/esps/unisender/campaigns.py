"""Campaigns and what became of them: totals, the last state of every recipient, clicks.

Opens have no rows of their own: a recipient has one state, and a click hides the opening before it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, missing

MAX_CAMPAIGNS = 10_000
DEFAULT_CAMPAIGNS = 1000
ARRIVED = frozenset({"ok_delivered", "ok_read", "ok_link_visited", "ok_unsubscribed", "ok_fbl", "ok_spam_folder"})

methods: Methods[Handler] = Methods()


def require_campaign(store: UnisenderStore, number: int) -> sqlite3.Row:
    """By id.

    Raises:
        Refusal: `object_not_found`.
    """
    found = store.row("select * from campaigns where id = ?", number)
    if found is None:
        raise missing("Campaign is not found")
    return found


@methods.on("getCampaigns")
def get_campaigns(store: UnisenderStore, call: Call) -> list[Json]:
    """Campaigns that start within a time, oldest first, by limit and offset."""
    rows = store.rows(
        "select * from campaigns where start_time >= ? and start_time <= ? order by start_time, id limit ? offset ?",
        call.moment("from") or "",
        call.moment("to") or "9",
        call.whole("limit", DEFAULT_CAMPAIGNS, maximum=MAX_CAMPAIGNS),
        call.whole("offset", 0),
    )
    return [
        {
            "id": row["id"],
            "start_time": row["start_time"],
            "status": row["status"],
            "message_id": row["message_id"],
            "list_id": row["list_id"],
            "subject": row["subject"],
            "sender_name": row["sender_name"],
            "sender_email": row["sender_email"],
            "stats_url": f"https://cp.unisender.example/ru/v5/campaign/{row['id']}/stats",
        }
        for row in rows
    ]


@methods.on("getCampaignStatus")
def get_campaign_status(store: UnisenderStore, call: Call) -> Json:
    """Where a campaign stands."""
    row = require_campaign(store, call.whole("campaign_id"))
    return {"status": row["status"], "creation_time": row["creation_time"], "start_time": row["start_time"]}


@methods.on("getCampaignCommonStats")
def get_common_stats(store: UnisenderStore, call: Call) -> Json:
    """Totals; bounces are not among them."""
    number = require_campaign(store, call.whole("campaign_id"))["id"]
    states = Counter(
        row["send_result"] for row in store.rows("select send_result from deliveries where campaign_id = ?", number)
    )
    events = {
        row["word"]: row
        for row in store.rows(
            "select word, count(*) as times, count(distinct email) as people from happenings "
            "where campaign_id = ? group by word",
            number,
        )
    }

    def count(word: str, what: str) -> int:
        return int(events[word][what]) if word in events else 0

    return {
        "total": sum(states.values()),
        "sent": sum(states.values()) - states["not_sent"],
        "delivered": sum(states[word] for word in ARRIVED),
        "read_unique": count("ok_read", "people"),
        "read_all": count("ok_read", "times"),
        "clicked_unique": count("ok_link_visited", "people"),
        "clicked_all": count("ok_link_visited", "times"),
        "unsubscribed": count("ok_unsubscribed", "people"),
        "spam": count("ok_fbl", "people"),
    }


@methods.on("getCampaignDeliveryStats")
def get_delivery_stats(store: UnisenderStore, call: Call) -> Json:
    """The last state of every recipient that changed at or after `changed_since`."""
    row = require_campaign(store, call.whole("campaign_id"))
    asked = call.id_array("field_ids")
    return delivery_stats(store, row["id"], call.moment("changed_since"), asked) | {"letter_id": row["message_id"]}


def delivery_stats(
    store: UnisenderStore, campaign_id: int, changed_since: str | None, field_ids: Sequence[int]
) -> Json:
    """`fields` and `data`: address, state, time of the last change in UTC, and the asked fields of the contact."""
    names = {row["id"]: row["name"] for row in store.rows("select id, name from fields")}
    asked = [names[number] for number in field_ids if number in names]
    rows = store.rows(
        "select d.*, c.fields from deliveries d left join contacts c on c.email = d.email "
        "where campaign_id = ? and last_update >= ? order by last_update, d.email",
        campaign_id,
        changed_since or "",
    )
    data = []
    for row in rows:
        own = json.loads(row["fields"] or "{}")
        data.append([row["email"], row["send_result"], row["last_update"], *(own.get(name, "") for name in asked)])
    return {"fields": ["email", "send_result", "last_update", *asked], "data": data}


@methods.on("getVisitedLinks")
def get_visited_links(store: UnisenderStore, call: Call) -> Json:
    """Clicks; with `group` one row for address and link, with their number and the last time."""
    number = require_campaign(store, call.whole("campaign_id"))["id"]
    grouped = "group by email, url" if call.flag("group") else "group by happening"
    rows = store.rows(
        "select email, url, max(at) as at, ip, count(*) as number from happenings "  # noqa: S608
        f"where campaign_id = ? and word = 'ok_link_visited' {grouped} order by at, email, url",
        number,
    )
    return {
        "fields": ["email", "url", "request_time", "ip", "count"],
        "data": [[row["email"], row["url"] or "", row["at"], row["ip"] or "", row["number"]] for row in rows],
    }
