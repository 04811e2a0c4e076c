"""Members of an audience: finding, listing and showing them."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, subscriber_hash, unique_email_id, web_id
from lettertrail.sandbox.esps.mailchimp.wire import (
    Answer,
    Call,
    Json,
    Router,
    bad_request,
    invalid_resource,
    not_found,
)

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived")
NO_LOCATION: Json = {
    "latitude": 0,
    "longitude": 0,
    "gmtoff": 0,
    "dstoff": 0,
    "country_code": "",
    "timezone": "",
    "region": "",
}

router = Router()


def require_list(store: MailchimpStore, list_id: str) -> sqlite3.Row:
    """The audience.

    Raises:
        Problem: 404.
    """
    found = store.row("select * from lists where id = ?", list_id)
    if found is None:
        raise not_found()
    return found


def find_member(store: MailchimpStore, list_id: str, key: str) -> sqlite3.Row | None:
    """By MD5 hash, plain address or contact id."""
    if "@" in key:
        key = subscriber_hash(key)
    found = store.row("select * from members where list_id = ? and id = ?", list_id, key.lower())
    if found is not None or not re.fullmatch(r"[0-9a-f]{32}", key):
        return found
    number = _member_of_contact_id(key)
    return store.row("select * from members where list_id = ? and member = ?", list_id, number)


def require_member(store: MailchimpStore, list_id: str, key: str) -> sqlite3.Row:
    """As `find_member`.

    Raises:
        Problem: 404 for an unknown audience or member.
    """
    require_list(store, list_id)
    found = find_member(store, list_id, key)
    if found is None:
        raise not_found()
    return found


def contact_id(member: int) -> str:
    """Survives an address change. Reversible, so that no index is needed."""
    return f"{member ^ 0x5EED:08x}" + "c0ffee" * 4


def _member_of_contact_id(text: str) -> int:
    return int(text[:8], 16) ^ 0x5EED if text[8:] == "c0ffee" * 4 else -1


def member_json(store: MailchimpStore, row: sqlite3.Row) -> Json:
    """One member as every endpoint shows it."""
    merge_fields = {field["tag"]: "" for field in store.rows(
        "select tag from merge_fields where list_id = ? order by merge_id", row["list_id"]
    )} | json.loads(row["merge_fields"])  # fmt: skip
    tags = tags_of(store, row["member"])
    chosen = json.loads(row["interests"])
    interests = {
        found["id"]: chosen.get(found["id"], False)
        for found in store.rows("select id from interests where list_id = ? order by id", row["list_id"])
    }
    names = (str(merge_fields.get("FNAME", "")), str(merge_fields.get("LNAME", "")))
    body: Json = {
        "id": row["id"],
        "email_address": row["email_address"],
        "unique_email_id": unique_email_id(row["member"]),
        "contact_id": contact_id(row["member"]),
        "full_name": " ".join(name for name in names if name),
        "web_id": web_id(row["member"]),
        "email_type": row["email_type"],
        "status": row["status"],
        "consents_to_one_to_one_messaging": True,
        "sms_phone_number": "",
        "sms_subscription_status": "",
        "sms_subscription_last_updated": "",
        "merge_fields": merge_fields,
        "stats": _rates(store, row["id"]),
        "ip_signup": row["ip_signup"],
        "timestamp_signup": row["timestamp_signup"],
        "ip_opt": row["ip_opt"],
        "timestamp_opt": row["timestamp_opt"],
        "member_rating": 2,
        "last_changed": row["last_changed"],
        "language": row["language"],
        "vip": bool(row["vip"]),
        "email_client": "",
        "location": NO_LOCATION | json.loads(row["location"]),
        "source": row["source"],
        "tags_count": len(tags),
        "tags": tags[:50],
        "list_id": row["list_id"],
    }
    if interests:
        body["interests"] = interests
    if row["status"] == "unsubscribed":
        body["unsubscribe_reason"] = row["unsubscribe_reason"]
    return body


def _rates(store: MailchimpStore, member_id: str) -> Json:
    """Fractions 0–1 of the letters delivered to this member that were opened and clicked."""
    found = store.row(
        "select count(*) as letters, "
        "sum(exists (select 1 from activity a where a.send = s.send and a.action = 'open')) as opened, "
        "sum(exists (select 1 from activity a where a.send = s.send and a.action = 'click')) as clicked "
        "from sends s where s.email_id = ? and s.status = 'sent'",
        member_id,
    )
    if found is None or not found["letters"]:
        return {"avg_open_rate": 0, "avg_click_rate": 0}
    return {
        "avg_open_rate": round(found["opened"] / found["letters"], 4),
        "avg_click_rate": round(found["clicked"] / found["letters"], 4),
    }


def tags_of(store: MailchimpStore, member: int) -> list[Json]:
    """Id and name of each tag; a tag is a static segment."""
    found = store.rows(
        "select s.id, s.name from segment_members m join segments s on s.id = m.segment_id "
        "where m.member = ? and s.type = 'static' order by s.id",
        member,
    )
    return [{"id": row["id"], "name": row["name"]} for row in found]


@router.on("GET", "/lists/{list_id}/members")
def list_members(store: MailchimpStore, call: Call) -> Answer:
    """One page of members. Rows that change while somebody pages shift the pages, as in the real service."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    where, values = _filters(store, call, list_id)
    order = call.sorting(("timestamp_opt", "timestamp_signup", "last_changed"), default="member")
    count, offset = call.page()
    rows = store.rows(
        f"select * from members where {where} order by {order}, member limit ? offset ?",
        *values,
        count,
        offset,
    )
    total = store.number(f"select count(*) from members where {where}", *values)
    members = [member_json(store, row) for row in rows]
    return Answer(body={"members": members, "list_id": list_id, "total_items": total})


def _filters(store: MailchimpStore, call: Call, list_id: str) -> tuple[str, list[Any]]:
    conditions, values = ["list_id = ?"], [list_id]

    def add(condition: str, value: Any) -> None:
        conditions.append(condition)
        values.append(value)

    status = call.query.get("status", "")
    if status:
        if status not in STATUSES:
            raise invalid_resource(("status", "Value did not match any of the allowed options"))
        add("status = ?", status)
    for column in ("timestamp_opt", "last_changed"):
        if since := call.moment(f"since_{column}"):
            add(f"{column} >= ?", since)
        if before := call.moment(f"before_{column}"):
            add(f"{column} <> '' and {column} < ?", before)
    if since := call.moment("unsubscribed_since"):
        if status != "unsubscribed":
            raise bad_request("unsubscribed_since can only be used with status=unsubscribed.")
        add("unsubscribed_at >= ?", since)
    if call.flag("since_last_campaign"):
        last = store.row("select max(send_time) as last from campaigns where list_id = ?", list_id)
        add("last_changed >= ?", (last["last"] if last else None) or "")
    if call.flag("vip_only"):
        add("vip = ?", 1)
    if email_type := call.query.get("email_type"):
        add("email_type = ?", email_type)
    if unique := call.query.get("unique_email_id"):
        ids = [r["member"] for r in store.rows("select member from members where list_id = ?", list_id)]
        add("member = ?", next((m for m in ids if unique_email_id(m) == unique), -1))
    if interest_ids := [word for word in call.query.get("interest_ids", "").split(",") if word]:
        _interest_filter(call, interest_ids, conditions, values)
    return " and ".join(conditions), values


def _interest_filter(call: Call, ids: Sequence[str], conditions: list[str], values: list[Any]) -> None:
    match = call.query.get("interest_match", "any")
    if match not in {"any", "all", "none"}:
        raise invalid_resource(("interest_match", "Value did not match any of the allowed options"))
    each = ["json_extract(interests, '$.\"' || ? || '\"') = 1"] * len(ids)
    joined = f"({(' and ' if match == 'all' else ' or ').join(each)})"
    conditions.append(f"coalesce({joined}, 0) = {0 if match == 'none' else 1}")
    values.extend(ids)


@router.on("GET", "/lists/{list_id}/members/{key}")
def get_member(store: MailchimpStore, call: Call) -> Answer:
    """One member by hash, address or contact id."""
    return Answer(body=member_json(store, require_member(store, call.names["list_id"], call.names["key"])))


@router.on("GET", "/search-members")
def search_members(store: MailchimpStore, call: Call) -> Answer:
    """Exact address matches, and members whose address or name contains the words."""
    query, list_id = call.query.get("query", ""), call.query.get("list_id")
    if not query:
        raise bad_request("A query is required.")
    inside, values = ("and list_id = ?", [list_id]) if list_id else ("", [])
    exact = store.rows(
        f"select * from members where id = ? {inside}",
        subscriber_hash(query),
        *values,
    )
    full = store.rows(
        "select * from members where instr(lower(email_address || merge_fields), lower(?)) > 0 "
        f"{inside} order by member limit 30",
        query,
        *values,
    )
    return Answer(
        body={
            name: {"members": [member_json(store, row) for row in rows], "total_items": len(rows)}
            for name, rows in (("exact_matches", exact), ("full_search", full))
        }
    )
