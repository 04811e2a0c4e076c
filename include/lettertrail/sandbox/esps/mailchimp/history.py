"""What an audience and a member went through: growth by the month, and a member's feed of activity."""

from __future__ import annotations

import sqlite3
from collections import Counter

from lettertrail.sandbox.esps.mailchimp.members import require_list, require_member
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Json, Router, invalid_resource

COUNTED = ("subscribed", "unsubscribed", "reconfirm", "cleaned", "pending", "deleted", "transactional")
ACTIVITIES = ("bounce", "click", "open", "unsub", "sent", "signup")
FURTHER = ("marketing_permission", "order", "note", "event", "survey_response")
"""Kinds that may be asked for and have nothing to show here."""

router = Router()


@router.on("GET", "/lists/{list_id}/growth-history")
def growth_history(store: MailchimpStore, call: Call) -> Answer:
    """One row a month, newest first: who joined in it, by the status of today."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    count, offset = call.page()
    months: dict[str, Counter[str]] = {}
    for row in store.rows(
        "select substr(timestamp_signup, 1, 7) as month, status, count(*) as number from members "
        "where list_id = ? and timestamp_signup <> '' group by 1, 2 order by 1 desc",
        list_id,
    ):
        word = "deleted" if row["status"] == "archived" else row["status"]
        months.setdefault(row["month"], Counter())[word] += row["number"]
    history = [
        {"list_id": list_id, "month": month} | {word: counts[word] for word in COUNTED}
        for month, counts in months.items()
    ]
    return Answer(body={"history": history[offset : offset + count], "list_id": list_id, "total_items": len(history)})


@router.on("GET", "/lists/{list_id}/members/{key}/activity-feed")
def activity_feed(store: MailchimpStore, call: Call) -> Answer:
    """A member's activity, newest first; `activity_filters` names the kinds, all by default."""
    member = require_member(store, call.names["list_id"], call.names["key"])
    wanted = [word for word in call.query.get("activity_filters", "").split(",") if word]
    if not set(wanted) <= {*ACTIVITIES, *FURTHER}:
        raise invalid_resource(("activity_filters", "Value did not match any of the allowed options"))
    count, offset = call.page()
    feed = [item for item in _feed(store, member) if not wanted or item["activity_type"] in wanted]
    feed.sort(key=lambda item: str(item["created_at_timestamp"]), reverse=True)
    return Answer(
        body={
            "activity": feed[offset : offset + count],
            "email_id": member["id"],
            "list_id": member["list_id"],
            "total_items": len(feed),
        }
    )


def _feed(store: MailchimpStore, member: sqlite3.Row) -> list[Json]:
    rows = store.rows(
        "select s.campaign_id, c.title, 'sent' as word, s.sent_at as at, null as url, null as type "
        "from sends s join campaigns c on c.id = s.campaign_id where s.email_id = ?1 "
        "union all select a.campaign_id, c.title, a.action, a.timestamp, a.url, a.type "
        "from activity a join sends s on s.send = a.send join campaigns c on c.id = a.campaign_id "
        "where s.email_id = ?1 and a.action in ('open', 'click', 'bounce') "
        "union all select u.campaign_id, c.title, 'unsub', u.timestamp, null, null "
        "from unsubscribes u join sends s on s.send = u.send join campaigns c on c.id = u.campaign_id "
        "where s.email_id = ?1",
        member["id"],
    )
    signup: list[Json] = []
    if member["timestamp_signup"]:
        signup = [{"activity_type": "signup", "created_at_timestamp": member["timestamp_signup"]}]
    return signup + [_item(row) for row in rows]


def _item(row: sqlite3.Row) -> Json:
    item: Json = {
        "activity_type": row["word"],
        "created_at_timestamp": row["at"],
        "campaign_id": row["campaign_id"],
        "campaign_title": row["title"],
    }
    if row["word"] == "click":
        item["link_clicked"] = row["url"] or ""
    if row["word"] == "bounce":
        item["bounce_type"] = row["type"]
    return item
