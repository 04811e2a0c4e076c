"""What each recipient of a campaign did: activity, opens, clicks, unsubscribes, complaints, deliveries."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence

from lettertrail.sandbox.esps.mailchimp.members import require_list
from lettertrail.sandbox.esps.mailchimp.reports import require_campaign
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Json, Router, not_found

KEPT_PER_MEMBER = 1000

router = Router()


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _campaign_facts(campaign: sqlite3.Row) -> Json:
    return {"campaign_id": campaign["id"], "list_id": campaign["list_id"], "list_is_active": True}


def _recipient(store: MailchimpStore, send: sqlite3.Row) -> Json:
    """Who it was: the address of the time of sending, the fields of today."""
    member = store.row(
        "select merge_fields, vip, status from members where list_id = ? and id = ?", send["list_id"], send["email_id"]
    )
    return {
        "email_id": send["email_id"],
        "email_address": send["email_address"],
        "merge_fields": json.loads(member["merge_fields"]) if member else {},
        "vip": bool(member["vip"]) if member else False,
    }


def _contact_status(store: MailchimpStore, send: sqlite3.Row) -> str:
    member = store.row("select status from members where list_id = ? and id = ?", send["list_id"], send["email_id"])
    return str(member["status"]) if member else "archived"


# --- activity


@router.on("GET", "/reports/{campaign_id}/email-activity")
def email_activity(store: MailchimpStore, call: Call) -> Answer:
    """Opens, clicks and bounces per recipient; with `since` only recipients who did something from then on.

    Contains neither unsubscribes nor complaints nor sends, and does not say which opens a proxy made.
    """
    campaign = require_campaign(store, call.names["campaign_id"])
    count, offset = call.page()
    since = call.moment("since") or ""
    source = "from sends s where s.campaign_id = ?"
    values: list[object] = [campaign["id"]]
    if since:
        source += " and exists (select 1 from activity a where a.send = s.send and a.timestamp >= ?)"
        values.append(since)
    sends = store.rows(f"select s.* {source} order by s.send limit ? offset ?", *values, count, offset)
    return Answer(
        body={
            "emails": _with_activity(store, campaign, sends, since),
            "campaign_id": campaign["id"],
            "total_items": store.number(f"select count(*) {source}", *values),
        }
    )


@router.on("GET", "/reports/{campaign_id}/email-activity/{email_id}")
def one_email_activity(store: MailchimpStore, call: Call) -> Answer:
    """The same for one recipient."""
    campaign = require_campaign(store, call.names["campaign_id"])
    send = store.row(
        "select * from sends where campaign_id = ? and email_id = ?", campaign["id"], call.names["email_id"]
    )
    if send is None:
        raise not_found()
    return Answer(body=_with_activity(store, campaign, [send], call.moment("since") or "")[0])


def _with_activity(
    store: MailchimpStore, campaign: sqlite3.Row, sends: Sequence[sqlite3.Row], since: str
) -> list[Json]:
    ids = [send["send"] for send in sends]
    activity: dict[int, list[Json]] = {send: [] for send in ids}
    for row in store.rows(
        "select send, action, type, timestamp, url, ip from activity "
        f"where send in ({_marks(ids)}) and timestamp >= ? order by timestamp, activity",
        *ids,
        since,
    ):
        entry: Json = {"action": row["action"]}
        if row["action"] == "bounce":
            entry["type"] = row["type"]
        entry["timestamp"] = row["timestamp"]
        if row["action"] == "click":
            entry["url"] = row["url"]
        if row["ip"]:
            entry["ip"] = row["ip"]
        if len(activity[row["send"]]) < KEPT_PER_MEMBER:
            activity[row["send"]].append(entry)
    return [
        _campaign_facts(campaign)
        | {
            "email_id": send["email_id"],
            "email_address": send["email_address"],
            "activity": activity[send["send"]],
        }
        for send in sends
    ]


@router.on("GET", "/reports/{campaign_id}/open-details")
def open_details(store: MailchimpStore, call: Call) -> Answer:
    """Everybody who opened, with each open and whether a mail proxy made it."""
    campaign = require_campaign(store, call.names["campaign_id"])
    count, offset = call.page()
    since = call.moment("since") or ""
    order = call.sorting(("opens_count",), default="s.send")
    source = (
        "from sends s join activity a on a.send = s.send and a.action = 'open' and a.timestamp >= ? "
        "where s.campaign_id = ? group by s.send"
    )
    sends = store.rows(
        "select s.*, count(*) as opens_count, sum(a.is_proxy = 0) as human "
        f"{source} order by {order}, s.send limit ? offset ?",
        since,
        campaign["id"],
        count,
        offset,
    )
    totals = store.row(
        "select count(*) as opens, coalesce(sum(is_proxy = 0), 0) as human, count(distinct send) as people "
        "from activity where campaign_id = ? and action = 'open' and timestamp >= ?",
        campaign["id"],
        since,
    )
    opens = _opens(store, [send["send"] for send in sends], since)
    assert totals is not None
    return Answer(
        body={
            "members": [
                _campaign_facts(campaign)
                | {"contact_status": _contact_status(store, send)}
                | _recipient(store, send)
                | {
                    "opens_count": send["opens_count"],
                    "proxy_excluded_opens_count": send["human"],
                    "opens": opens[send["send"]],
                }
                for send in sends
            ],
            "campaign_id": campaign["id"],
            "total_opens": totals["opens"],
            "total_proxy_excluded_opens": totals["human"],
            "total_items": totals["people"],
        }
    )


def _opens(store: MailchimpStore, ids: Sequence[int], since: str) -> dict[int, list[Json]]:
    opens: dict[int, list[Json]] = {send: [] for send in ids}
    for row in store.rows(
        "select send, timestamp, is_proxy from activity where action = 'open' "
        f"and send in ({_marks(ids)}) and timestamp >= ? order by timestamp, activity",
        *ids,
        since,
    ):
        opens[row["send"]].append({"timestamp": row["timestamp"], "is_proxy_open": bool(row["is_proxy"])})
    return opens


# --- clicks


def link_id(campaign_id: str, url: str) -> str:
    """The id of a link in a campaign."""
    return hashlib.md5(f"{campaign_id} {url}".encode(), usedforsecurity=False).hexdigest()[:10]


def _links(store: MailchimpStore, campaign: sqlite3.Row) -> list[Json]:
    rows = store.rows(
        "select url, count(*) as clicks, count(distinct send) as people, max(timestamp) as last "
        "from activity where campaign_id = ? and action = 'click' group by url order by url",
        campaign["id"],
    )
    clicks, people = sum(row["clicks"] for row in rows), sum(row["people"] for row in rows)
    return [
        {
            "id": link_id(campaign["id"], row["url"]),
            "url": row["url"],
            "total_clicks": row["clicks"],
            "click_percentage": row["clicks"] / clicks,
            "unique_clicks": row["people"],
            "unique_click_percentage": row["people"] / people,
            "last_click": row["last"],
            "campaign_id": campaign["id"],
        }
        for row in rows
    ]


@router.on("GET", "/reports/{campaign_id}/click-details")
def click_details(store: MailchimpStore, call: Call) -> Answer:
    """Clicks per link."""
    campaign = require_campaign(store, call.names["campaign_id"])
    links = _links(store, campaign)
    if "sort_field" in call.query:
        column, way = call.sorting(("total_clicks", "unique_clicks"), default="total_clicks").split()
        links.sort(key=lambda link: link[column], reverse=way == "DESC")
    count, offset = call.page()
    return Answer(
        body={
            "urls_clicked": links[offset : offset + count],
            "campaign_id": campaign["id"],
            "total_items": len(links),
        }
    )


@router.on("GET", "/reports/{campaign_id}/click-details/{link_id}")
def one_link(store: MailchimpStore, call: Call) -> Answer:
    """Clicks on one link."""
    return Answer(body=_link(store, require_campaign(store, call.names["campaign_id"]), call))


def _link(store: MailchimpStore, campaign: sqlite3.Row, call: Call) -> Json:
    for link in _links(store, campaign):
        if link["id"] == call.names["link_id"]:
            return link
    raise not_found()


@router.on("GET", "/reports/{campaign_id}/click-details/{link_id}/members")
def link_members(store: MailchimpStore, call: Call) -> Answer:
    """Who clicked on a link and how often; without times."""
    campaign = require_campaign(store, call.names["campaign_id"])
    link = _link(store, campaign, call)
    count, offset = call.page()
    sends = store.rows(
        "select s.*, count(*) as clicks from activity a join sends s using (send) "
        "where a.campaign_id = ? and a.action = 'click' and a.url = ? group by s.send order by s.send limit ? offset ?",
        campaign["id"],
        link["url"],
        count,
        offset,
    )
    return Answer(
        body={
            "members": [
                _recipient(store, send)
                | {
                    "clicks": send["clicks"],
                    "campaign_id": campaign["id"],
                    "url_id": link["id"],
                    "list_id": campaign["list_id"],
                    "list_is_active": True,
                    "contact_status": _contact_status(store, send),
                }
                for send in sends
            ],
            "campaign_id": campaign["id"],
            "total_items": link["unique_clicks"],
        }
    )


# --- leaving and delivery


@router.on("GET", "/reports/{campaign_id}/unsubscribed")
def unsubscribed(store: MailchimpStore, call: Call) -> Answer:
    """Who left because of this campaign."""
    campaign = require_campaign(store, call.names["campaign_id"])
    count, offset = call.page()
    rows = store.rows(
        "select s.*, u.timestamp, u.reason from unsubscribes u join sends s using (send) "
        "where u.campaign_id = ? order by s.send limit ? offset ?",
        campaign["id"],
        count,
        offset,
    )
    return Answer(
        body={
            "unsubscribes": [
                _recipient(store, row)
                | {"timestamp": row["timestamp"], "reason": row["reason"]}
                | _campaign_facts(campaign)
                for row in rows
            ],
            "campaign_id": campaign["id"],
            "total_items": store.number("select count(*) from unsubscribes where campaign_id = ?", campaign["id"]),
        }
    )


@router.on("GET", "/reports/{campaign_id}/abuse-reports")
def campaign_abuse(store: MailchimpStore, call: Call) -> Answer:
    """Complaints about this campaign."""
    campaign = require_campaign(store, call.names["campaign_id"])
    count, offset = call.page()
    rows, total = _abuse(store, "a.campaign_id", campaign["id"], count, offset)
    return Answer(body={"abuse_reports": rows, "campaign_id": campaign["id"], "total_items": total})


@router.on("GET", "/lists/{list_id}/abuse-reports")
def list_abuse(store: MailchimpStore, call: Call) -> Answer:
    """Complaints about anything sent to this audience."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    count, offset = call.page()
    rows, total = _abuse(store, "s.list_id", list_id, count, offset)
    return Answer(body={"abuse_reports": rows, "list_id": list_id, "total_items": total})


def _abuse(store: MailchimpStore, column: str, value: str, count: int, offset: int) -> tuple[list[Json], int]:
    source = f"from abuse_reports a join sends s using (send) where {column} = ?"
    found = store.rows(
        f"select s.*, a.id, a.date {source} order by a.id limit ? offset ?",
        value,
        count,
        offset,
    )
    rows = [
        {"id": row["id"], "campaign_id": row["campaign_id"], "list_id": row["list_id"], "list_is_active": True}
        | _recipient(store, row)
        | {"date": row["date"]}
        for row in found
    ]
    return rows, store.number(f"select count(*) {source}", value)


@router.on("GET", "/reports/{campaign_id}/sent-to")
def sent_to(store: MailchimpStore, call: Call) -> Answer:
    """Everybody the campaign was sent to, and whether it bounced."""
    campaign = require_campaign(store, call.names["campaign_id"])
    count, offset = call.page()
    rows = store.rows(
        "select s.*, (select count(*) from activity a where a.send = s.send and a.action = 'open') as opens, "
        "(select max(timestamp) from activity a where a.send = s.send and a.action = 'open') as last_open "
        "from sends s where s.campaign_id = ? order by s.send limit ? offset ?",
        campaign["id"],
        count,
        offset,
    )
    return Answer(
        body={
            "sent_to": [
                _recipient(store, row)
                | {
                    "status": row["status"],
                    "open_count": row["opens"],
                    "last_open": row["last_open"] or "",
                    "absplit_group": "",
                    "gmt_offset": 0,
                }
                | _campaign_facts(campaign)
                for row in rows
            ],
            "campaign_id": campaign["id"],
            "total_items": store.number("select count(*) from sends where campaign_id = ?", campaign["id"]),
        }
    )
