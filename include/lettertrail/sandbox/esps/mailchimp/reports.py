"""Campaign reports: the totals. There is no `delivered`: it is emails_sent − hard − soft − syntax errors."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Json, Router, invalid_resource, not_found, utc_text

TYPES = ("regular", "plaintext", "absplit", "rss", "variate", "auto")

router = Router()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What happened to one campaign. `human_opens` are the opens that no mail proxy made."""

    emails_sent: int
    hard_bounces: int
    soft_bounces: int
    opens: int
    unique_opens: int
    human_opens: int
    unique_human_opens: int
    last_open: str
    clicks: int
    unique_clicks: int
    clickers: int
    last_click: str
    unsubscribed: int
    abuse_reports: int

    def rate(self, people: int) -> float:
        """A fraction 0–1 of the successful deliveries."""
        delivered = self.emails_sent - self.hard_bounces - self.soft_bounces
        return round(people / delivered, 9) if delivered else 0.0


def numbers_of(store: MailchimpStore, campaign_id: str) -> Numbers:
    """Counts of one campaign, taken from its events."""
    sent = store.row(
        "select count(*) as sent, coalesce(sum(status = 'hard'), 0) as hard, coalesce(sum(status = 'soft'), 0) as soft "
        "from sends where campaign_id = ?",
        campaign_id,
    )
    opens = store.row(
        "select count(*) as opens, count(distinct send) as people, coalesce(sum(is_proxy = 0), 0) as human, "
        "count(distinct case when is_proxy = 0 then send end) as human_people, coalesce(max(timestamp), '') as last "
        "from activity where campaign_id = ? and action = 'open'",
        campaign_id,
    )
    clicks = store.row(
        "select count(*) as clicks, count(distinct send || ' ' || url) as per_link, count(distinct send) as people, "
        "coalesce(max(timestamp), '') as last from activity where campaign_id = ? and action = 'click'",
        campaign_id,
    )
    assert sent is not None
    assert opens is not None
    assert clicks is not None
    return Numbers(
        emails_sent=sent["sent"],
        hard_bounces=sent["hard"],
        soft_bounces=sent["soft"],
        opens=opens["opens"],
        unique_opens=opens["people"],
        human_opens=opens["human"],
        unique_human_opens=opens["human_people"],
        last_open=opens["last"],
        clicks=clicks["clicks"],
        unique_clicks=clicks["per_link"],
        clickers=clicks["people"],
        last_click=clicks["last"],
        unsubscribed=store.number("select count(*) from unsubscribes where campaign_id = ?", campaign_id),
        abuse_reports=store.number("select count(*) from abuse_reports where campaign_id = ?", campaign_id),
    )


def require_campaign(store: MailchimpStore, campaign_id: str) -> sqlite3.Row:
    """A campaign that was sent: others have no report.

    Raises:
        Problem: 404.
    """
    found = store.row("select * from campaigns where id = ? and status = 'sent'", campaign_id)
    if found is None:
        raise not_found()
    return found


@router.on("GET", "/reports")
def list_reports(store: MailchimpStore, call: Call) -> Answer:
    """One page of reports, last sent first."""
    conditions, values = ["status = 'sent'"], list[Any]()
    if kind := call.query.get("type"):
        if kind not in TYPES:
            raise invalid_resource(("type", "Value did not match any of the allowed options"))
        conditions.append("type = ?")
        values.append(kind)
    for word, sign in (("since", ">="), ("before", "<")):
        if moment := call.moment(f"{word}_send_time"):
            conditions.append(f"send_time {sign} ?")
            values.append(moment)
    where = " and ".join(conditions)
    count, offset = call.page()
    rows = store.rows(
        f"select * from campaigns where {where} order by send_time desc, id limit ? offset ?",
        *values,
        count,
        offset,
    )
    total = store.number(f"select count(*) from campaigns where {where}", *values)
    return Answer(body={"reports": [report_json(store, row) for row in rows], "total_items": total})


@router.on("GET", "/reports/{campaign_id}")
def get_report(store: MailchimpStore, call: Call) -> Answer:
    """One report."""
    return Answer(body=report_json(store, require_campaign(store, call.names["campaign_id"])))


def report_json(store: MailchimpStore, row: sqlite3.Row) -> Json:
    """A report; its rates are fractions, but those in `list_stats` are percents."""
    numbers = numbers_of(store, row["id"])
    audience = store.row("select name from lists where id = ?", row["list_id"])
    return {
        "id": row["id"],
        "campaign_title": row["title"],
        "type": row["type"],
        "list_id": row["list_id"],
        "list_is_active": audience is not None,
        "list_name": audience["name"] if audience else "",
        "subject_line": row["subject_line"],
        "preview_text": "",
        "emails_sent": numbers.emails_sent,
        "abuse_reports": numbers.abuse_reports,
        "unsubscribed": numbers.unsubscribed,
        "send_time": row["send_time"],
        "bounces": {
            "hard_bounces": numbers.hard_bounces,
            "soft_bounces": numbers.soft_bounces,
            "syntax_errors": 0,
        },
        "forwards": {"forwards_count": 0, "forwards_opens": 0},
        "opens": {
            "opens_total": numbers.opens,
            "unique_opens": numbers.unique_opens,
            "open_rate": numbers.rate(numbers.unique_opens),
            "proxy_excluded_opens": numbers.human_opens,
            "proxy_excluded_unique_opens": numbers.unique_human_opens,
            "proxy_excluded_open_rate": numbers.rate(numbers.unique_human_opens),
            "last_open": numbers.last_open,
        },
        "clicks": {
            "clicks_total": numbers.clicks,
            "unique_clicks": numbers.unique_clicks,
            "unique_subscriber_clicks": numbers.clickers,
            "click_rate": numbers.rate(numbers.clickers),
            "last_click": numbers.last_click,
        },
        "facebook_likes": {"recipient_likes": 0, "unique_likes": 0, "facebook_likes": 0},
        "list_stats": {
            "sub_rate": 0,
            "unsub_rate": 0,
            "open_rate": round(100 * numbers.rate(numbers.unique_opens), 4),
            "click_rate": round(100 * numbers.rate(numbers.clickers), 4),
            "proxy_excluded_open_rate": round(100 * numbers.rate(numbers.unique_human_opens), 4),
        },
        "timeseries": _first_day(store, row),
        "ecommerce": {"total_orders": 0, "total_spent": 0, "total_revenue": 0, "currency_code": "RUB"},
        "delivery_status": {"enabled": False},
    }


def _first_day(store: MailchimpStore, row: sqlite3.Row) -> list[Json]:
    """The first 24 hours by the hour."""
    start = datetime.fromisoformat(row["send_time"]).replace(minute=0, second=0)
    hours = [utc_text(start + timedelta(hours=hour)) for hour in range(25)]
    firsts = store.rows(
        "select substr(first, 1, 13) as hour, action, is_proxy, count(*) as people from ("
        "select action, is_proxy, min(timestamp) as first from activity "
        "where campaign_id = ? and action in ('open', 'click') group by send, action, is_proxy) "
        "where first < ? group by 1, 2, 3",
        row["id"],
        hours[-1],
    )
    people = {(found["hour"], found["action"], found["is_proxy"]): found["people"] for found in firsts}
    sent = {
        found["hour"]: found["number"]
        for found in store.rows(
            "select substr(sent_at, 1, 13) as hour, count(*) as number from sends where campaign_id = ? group by 1",
            row["id"],
        )
    }
    return [
        {
            "timestamp": hour,
            "emails_sent": sent.get(hour[:13], 0),
            "unique_opens": people.get((hour[:13], "open", 0), 0) + people.get((hour[:13], "open", 1), 0),
            "proxy_excluded_unique_opens": people.get((hour[:13], "open", 0), 0),
            "recipients_clicks": people.get((hour[:13], "click", 0), 0),
        }
        for hour in hours[:24]
    ]
