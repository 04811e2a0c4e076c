"""Campaigns: the letters sent through Mailchimp, with a summary of what happened to them."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import sqlite3
from typing import Any

from lettertrail.sandbox.esps.mailchimp.reports import Numbers, numbers_of
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Json, Router, invalid_resource, not_found

TYPES = ("regular", "plaintext", "absplit", "rss", "variate")
STATUSES = ("save", "paused", "schedule", "sending", "sent")

router = Router()


@router.on("GET", "/campaigns")
def list_campaigns(store: MailchimpStore, call: Call) -> Answer:
    """One page of campaigns; newest first unless sorting is asked for."""
    where, values = _filters(call)
    order = call.sorting(("create_time", "send_time"), default="create_time", direction="DESC")
    count, offset = call.page()
    rows = store.rows(
        f"select * from campaigns where {where} order by {order}, id limit ? offset ?",
        *values,
        count,
        offset,
    )
    return Answer(
        body={
            "campaigns": [campaign_json(store, row) for row in rows],
            "total_items": store.number(f"select count(*) from campaigns where {where}", *values),
        }
    )


def _filters(call: Call) -> tuple[str, list[Any]]:
    conditions, values = ["1 = 1"], []
    for name, allowed in (("type", TYPES), ("status", STATUSES), ("list_id", None)):
        if value := call.query.get(name):
            if allowed is not None and value not in allowed:
                raise invalid_resource((name, "Value did not match any of the allowed options"))
            conditions.append(f"{name} = ?")
            values.append(value)
    for column in ("send_time", "create_time"):
        for word, sign in (("since", ">="), ("before", "<")):
            if moment := call.moment(f"{word}_{column}"):
                conditions.append(f"{column} <> '' and {column} {sign} ?")
                values.append(moment)
    if member_id := call.query.get("member_id"):
        conditions.append("id in (select campaign_id from sends where email_id = ?)")
        values.append(member_id)
    if call.query.get("folder_id"):
        conditions.append("0 = 1")  # there are no folders
    return " and ".join(conditions), values


@router.on("GET", "/campaigns/{campaign_id}")
def get_campaign(store: MailchimpStore, call: Call) -> Answer:
    """One campaign."""
    row = store.row("select * from campaigns where id = ?", call.names["campaign_id"])
    if row is None:
        raise not_found()
    return Answer(body=campaign_json(store, row))


@router.on("GET", "/campaigns/{campaign_id}/content")
def get_content(store: MailchimpStore, call: Call) -> Answer:
    """The texts of one campaign, with merge tags and links as they were written."""
    row = store.row("select * from campaigns where id = ?", call.names["campaign_id"])
    if row is None:
        raise not_found()
    content = store.row("select html from contents where campaign_id = ?", row["id"])
    html = content["html"] if content else ""
    return Answer(body={"plain_text": row["subject_line"], "html": html, "archive_html": html})


def campaign_json(store: MailchimpStore, row: sqlite3.Row) -> Json:
    """A campaign as the list and the single call show it."""
    audience = store.row("select name from lists where id = ?", row["list_id"])
    numbers = numbers_of(store, row["id"])
    return {
        "id": row["id"],
        "web_id": row["web_id"],
        "parent_campaign_id": "",
        "type": row["type"],
        "create_time": row["create_time"],
        "archive_url": row["archive_url"],
        "long_archive_url": row["archive_url"],
        "status": row["status"],
        "emails_sent": numbers.emails_sent,
        "send_time": row["send_time"],
        "content_type": "template",
        "needs_block_refresh": False,
        "resendable": False,
        "recipients": {
            "list_id": row["list_id"],
            "list_is_active": audience is not None,
            "list_name": audience["name"] if audience else "",
            "segment_text": "",
            "recipient_count": numbers.emails_sent,
        },
        "settings": {
            "subject_line": row["subject_line"],
            "preview_text": "",
            "title": row["title"],
            "from_name": "Sandbox Ltd",
            "reply_to": "news@sandbox.example",
            "use_conversation": False,
            "to_name": "*|FNAME|*",
            "folder_id": "",
            "authenticate": True,
            "auto_footer": False,
            "inline_css": False,
            "auto_tweet": False,
            "fb_comments": False,
            "timewarp": False,
            "template_id": 1,
            "drag_and_drop": True,
        },
        "tracking": {
            "opens": True,
            "html_clicks": True,
            "text_clicks": False,
            "goal_tracking": False,
            "ecomm360": False,
            "google_analytics": row["google_analytics"],
            "clicktale": "",
        },
        "report_summary": _summary(numbers),
        "delivery_status": {"enabled": False},
    }


def _summary(numbers: Numbers) -> Json:
    return {
        "opens": numbers.opens,
        "unique_opens": numbers.unique_opens,
        "open_rate": numbers.rate(numbers.unique_opens),
        "proxy_excluded_opens": numbers.human_opens,
        "proxy_excluded_unique_opens": numbers.unique_human_opens,
        "proxy_excluded_open_rate": numbers.rate(numbers.unique_human_opens),
        "clicks": numbers.clicks,
        "subscriber_clicks": numbers.clickers,
        "click_rate": numbers.rate(numbers.clickers),
        "ecommerce": {"total_orders": 0, "total_spent": 0, "total_revenue": 0},
    }
