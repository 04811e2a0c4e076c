"""The account itself, audiences, merge fields and interest groups."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import json
import sqlite3
import uuid
from typing import Any

from lettertrail.sandbox.esps.mailchimp.members import require_list
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, dump
from lettertrail.sandbox.esps.mailchimp.wire import (
    Answer,
    Call,
    Json,
    Router,
    bad_request,
    invalid_resource,
    not_found,
)

MERGE_TYPES = [
    "text",
    "number",
    "address",
    "phone",
    "date",
    "url",
    "imageurl",
    "radio",
    "dropdown",
    "birthday",
    "zip",
]  # as in the reference
CATEGORY_TYPES = ("checkboxes", "dropdown", "radio", "hidden")
MAX_TAG = 10

router = Router()


@router.on("GET", "/ping")
def ping(store: MailchimpStore, call: Call) -> Answer:
    """Is the service there and the key good?"""
    return Answer(body={"health_status": "Everything's Chimpy!"})


@router.on("GET", "/")
def root(store: MailchimpStore, call: Call) -> Answer:
    """Whose account this is."""
    return Answer(
        body={
            "account_id": "5a1d0b0c0d0e0f0a",
            "login_id": "1000001",
            "account_name": "LetterTrail sandbox",
            "email": "owner@sandbox.example",
            "first_name": "Sandbox",
            "last_name": "Owner",
            "username": "lettertrail-sandbox",
            "role": "owner",
            "member_since": "2020-01-01T00:00:00+00:00",
            "pricing_plan_type": "monthly",
            "account_timezone": "Europe/Moscow",
            "contact": {
                "company": "Sandbox Ltd",
                "addr1": "1 Sample St",
                "city": "Moscow",
                "zip": "101000",
                "country": "RU",
            },
            "total_subscribers": store.number("select count(*) from members where status = 'subscribed'"),
        }
    )


@router.on("GET", "/lists")
def list_lists(store: MailchimpStore, call: Call) -> Answer:
    """Audiences, by time of creation, last campaign or a member's address."""
    conditions, values = _list_filters(call)
    where = " and ".join(conditions)
    order = call.sorting(("date_created",), default="date_created")
    count, offset = call.page()
    rows = store.rows(
        f"select * from lists where {where} order by {order}, id limit ? offset ?",
        *values,
        count,
        offset,
    )
    total = store.number(f"select count(*) from lists where {where}", *values)
    return Answer(
        body={
            "lists": [list_json(store, row) for row in rows],
            "total_items": total,
            "constraints": {"may_create": False, "max_instances": 1, "current_total_instances": total},
        }
    )


def _list_filters(call: Call) -> tuple[list[str], list[Any]]:
    conditions, values = ["1 = 1"], []
    last_sent = "(select max(send_time) from campaigns c where c.list_id = lists.id)"
    for parameter, column in (("date_created", "date_created"), ("campaign_last_sent", last_sent)):
        for word, sign in (("since", ">="), ("before", "<")):
            if moment := call.moment(f"{word}_{parameter}"):
                conditions.append(f"{column} {sign} ?")
                values.append(moment)
    if email := call.query.get("email"):
        conditions.append("id in (select list_id from members where lower(email_address) = lower(?))")
        values.append(email)
    return conditions, values


@router.on("GET", "/lists/{list_id}")
def get_list(store: MailchimpStore, call: Call) -> Answer:
    """One audience."""
    return Answer(body=list_json(store, require_list(store, call.names["list_id"])))


def list_json(store: MailchimpStore, row: sqlite3.Row) -> Json:
    """An audience with statistics that are always fresh (the real ones may be minutes old)."""
    return {
        "id": row["id"],
        "web_id": row["web_id"],
        "name": row["name"],
        "contact": {
            "company": "Sandbox Ltd",
            "address1": "1 Sample St",
            "address2": "",
            "city": "Moscow",
            "state": "",
            "zip": "101000",
            "country": "RU",
            "phone": "",
        },
        "permission_reminder": "You signed up on our site.",
        "use_archive_bar": True,
        "campaign_defaults": {
            "from_name": "Sandbox Ltd",
            "from_email": "news@sandbox.example",
            "subject": "",
            "language": "ru",
        },
        "notify_on_subscribe": "",
        "notify_on_unsubscribe": "",
        "date_created": row["date_created"],
        "list_rating": 4,
        "email_type_option": False,
        "subscribe_url_short": "https://sandbox.example/s",
        "subscribe_url_long": "https://sandbox.example/subscribe",
        "beamer_address": "us1-sandbox@inbound.sandbox.example",
        "visibility": "prv",
        "double_optin": bool(row["double_optin"]),
        "has_welcome": False,
        "marketing_permissions": False,
        "modules": [],
        "stats": _list_stats(store, row["id"]),
    }


def _list_stats(store: MailchimpStore, list_id: str) -> Json:
    by_status = {
        row["status"]: row["number"]
        for row in store.rows(
            "select status, count(*) as number from members where list_id = ? group by status", list_id
        )
    }
    last = store.row(
        "select coalesce(max(send_time), '') as sent from campaigns where list_id = ? and status = 'sent'", list_id
    )
    last_sent = last["sent"] if last else ""
    since = store.row(
        "select coalesce(sum(status = 'subscribed' and timestamp_opt >= ?), 0) as joined, "
        "coalesce(sum(status = 'unsubscribed' and unsubscribed_at >= ?), 0) as parted, "
        "coalesce(sum(status = 'cleaned' and last_changed >= ?), 0) as cleaned, "
        "coalesce(max(timestamp_opt), '') as last_sub, coalesce(max(unsubscribed_at), '') as last_unsub "
        "from members where list_id = ?",
        last_sent,
        last_sent,
        last_sent,
        list_id,
    )
    rates = _list_rates(store, list_id)
    assert since is not None
    return {
        "member_count": by_status.get("subscribed", 0),
        "total_contacts": sum(by_status.values()),
        "unsubscribe_count": by_status.get("unsubscribed", 0),
        "cleaned_count": by_status.get("cleaned", 0),
        "member_count_since_send": since["joined"],
        "unsubscribe_count_since_send": since["parted"],
        "cleaned_count_since_send": since["cleaned"],
        "campaign_count": store.number("select count(*) from campaigns where list_id = ?", list_id),
        "campaign_last_sent": last_sent,
        "merge_field_count": store.number("select count(*) from merge_fields where list_id = ?", list_id),
        "avg_sub_rate": 0,
        "avg_unsub_rate": 0,
        "target_sub_rate": 0,
        "open_rate": rates["open_rate"],
        "click_rate": rates["click_rate"],
        "last_sub_date": since["last_sub"],
        "last_unsub_date": since["last_unsub"],
    }


def _list_rates(store: MailchimpStore, list_id: str) -> Json:
    """Percent 0–100, unlike the fractions in reports."""
    delivered = store.number("select count(*) from sends where list_id = ? and status = 'sent'", list_id)
    rates: Json = {}
    for action in ("open", "click"):
        people = store.number(
            "select count(distinct a.send) from activity a join sends s using (send) "
            "where s.list_id = ? and a.action = ?",
            list_id,
            action,
        )
        rates[f"{action}_rate"] = round(100 * people / delivered, 4) if delivered else 0
    return rates


# --- merge fields


@router.on("GET", "/lists/{list_id}/merge-fields")
def list_merge_fields(store: MailchimpStore, call: Call) -> Answer:
    """The audience's own fields."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    rows = store.rows("select payload from merge_fields where list_id = ? order by merge_id", list_id)
    count, offset = call.page()
    fields = [json.loads(row["payload"]) for row in rows]
    return Answer(
        body={"merge_fields": fields[offset : offset + count], "list_id": list_id, "total_items": len(fields)}
    )


@router.on("POST", "/lists/{list_id}/merge-fields")
def create_merge_field(store: MailchimpStore, call: Call) -> Answer:
    """Adds a field; a tag that is taken is refused."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    for name in ("name", "type"):
        if not fields.get(name):
            raise invalid_resource((name, "This value should not be blank."))
    if fields["type"] not in MERGE_TYPES:
        raise invalid_resource(("type", "Value did not match any of the allowed options"))
    with store.transaction():
        number = 1 + store.number("select max(merge_id) from merge_fields where list_id = ?", list_id)
        tag = str(fields.get("tag") or f"MMERGE{number}").upper()
        if len(tag) > MAX_TAG:
            raise invalid_resource(("tag", f"This value is too long. It should have {MAX_TAG} characters or less."))
        if store.row("select 1 from merge_fields where list_id = ? and tag = ?", list_id, tag):
            raise bad_request(f'A Merge Field with the tag "{tag}" already exists for this list.')
        payload = save_merge_field(store, list_id, number, fields | {"tag": tag})
    return Answer(body=payload)


def save_merge_field(store: MailchimpStore, list_id: str, merge_id: int, fields: Json) -> Json:
    """Stores a field with everything that was left out filled in; gives it as it is shown."""
    payload: Json = {
        "merge_id": merge_id,
        "tag": fields["tag"],
        "name": fields["name"],
        "type": fields["type"],
        "required": bool(fields.get("required", False)),
        "default_value": str(fields.get("default_value", "")),
        "public": bool(fields.get("public", False)),
        "display_order": int(fields.get("display_order", merge_id + 1)),
        "options": fields.get("options", {}),
        "help_text": str(fields.get("help_text", "")),
        "list_id": list_id,
    }
    with store.transaction() as db:
        db.execute(
            "insert or replace into merge_fields (list_id, merge_id, tag, payload) values (?, ?, ?, ?)",
            (list_id, merge_id, payload["tag"], dump(payload)),
        )
    return payload


@router.on("GET", "/lists/{list_id}/merge-fields/{merge_id}")
def get_merge_field(store: MailchimpStore, call: Call) -> Answer:
    """One field."""
    return Answer(body=_merge_field(store, call))


@router.on("PATCH", "/lists/{list_id}/merge-fields/{merge_id}")
def change_merge_field(store: MailchimpStore, call: Call) -> Answer:
    """Changes a field; type and list stay."""
    with store.transaction():
        before = _merge_field(store, call)
        fields = {name: value for name, value in call.fields().items() if name not in {"type", "list_id", "merge_id"}}
        return Answer(body=save_merge_field(store, before["list_id"], before["merge_id"], before | fields))


@router.on("DELETE", "/lists/{list_id}/merge-fields/{merge_id}")
def delete_merge_field(store: MailchimpStore, call: Call) -> Answer:
    """Removes a field."""
    with store.transaction() as db:
        before = _merge_field(store, call)
        db.execute(
            "delete from merge_fields where list_id = ? and merge_id = ?", (before["list_id"], before["merge_id"])
        )
    return Answer(204)


def _merge_field(store: MailchimpStore, call: Call) -> Json:
    require_list(store, call.names["list_id"])
    found = store.row(
        "select payload from merge_fields where list_id = ? and merge_id = ?",
        call.names["list_id"],
        call.names["merge_id"],
    )
    if found is None:
        raise not_found()
    payload: Json = json.loads(found["payload"])
    return payload


# --- interest groups


@router.on("GET", "/lists/{list_id}/interest-categories")
def list_categories(store: MailchimpStore, call: Call) -> Answer:
    """Groups of interests."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    rows = store.rows("select payload from interest_categories where list_id = ? order by rowid", list_id)
    count, offset = call.page()
    return Answer(
        body={
            "list_id": list_id,
            "categories": [json.loads(row["payload"]) for row in rows[offset : offset + count]],
            "total_items": len(rows),
        }
    )


@router.on("POST", "/lists/{list_id}/interest-categories")
def create_category(store: MailchimpStore, call: Call) -> Answer:
    """Adds a group of interests."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    if not fields.get("title"):
        raise invalid_resource(("title", "This value should not be blank."))
    if fields.get("type") not in CATEGORY_TYPES:
        raise invalid_resource(("type", "Value did not match any of the allowed options"))
    payload = {
        "list_id": list_id,
        "id": uuid.uuid4().hex[:10],
        "title": fields["title"],
        "display_order": int(fields.get("display_order", 0)),
        "type": fields["type"],
    }
    with store.transaction() as db:
        db.execute(
            "insert into interest_categories (id, list_id, payload) values (?, ?, ?)",
            (payload["id"], list_id, dump(payload)),
        )
    return Answer(body=payload)


@router.on("GET", "/lists/{list_id}/interest-categories/{category_id}")
def get_category(store: MailchimpStore, call: Call) -> Answer:
    """One group."""
    return Answer(body=json.loads(_category(store, call)["payload"]))


@router.on("PATCH", "/lists/{list_id}/interest-categories/{category_id}")
def change_category(store: MailchimpStore, call: Call) -> Answer:
    """Changes title, type or place."""
    with store.transaction() as db:
        row = _category(store, call)
        payload = json.loads(row["payload"]) | _only(call.fields(), ("title", "type", "display_order"))
        if payload["type"] not in CATEGORY_TYPES:
            raise invalid_resource(("type", "Value did not match any of the allowed options"))
        db.execute("update interest_categories set payload = ? where id = ?", (dump(payload), row["id"]))
        return Answer(body=payload)


@router.on("DELETE", "/lists/{list_id}/interest-categories/{category_id}")
def delete_category(store: MailchimpStore, call: Call) -> Answer:
    """Removes a group with its interests."""
    with store.transaction() as db:
        db.execute("delete from interest_categories where id = ?", (_category(store, call)["id"],))
    return Answer(204)


@router.on("GET", "/lists/{list_id}/interest-categories/{category_id}/interests")
def list_interests(store: MailchimpStore, call: Call) -> Answer:
    """The interests of a group; `subscriber_count` is a text, as in the real service."""
    list_id, category_id = call.names["list_id"], _category(store, call)["id"]
    rows = store.rows("select * from interests where category_id = ? order by rowid", category_id)
    count, offset = call.page()
    interests = [_shown_interest(store, row) for row in rows[offset : offset + count]]
    return Answer(
        body={
            "interests": interests,
            "list_id": list_id,
            "category_id": category_id,
            "total_items": len(rows),
        }
    )


@router.on("POST", "/lists/{list_id}/interest-categories/{category_id}/interests")
def create_interest(store: MailchimpStore, call: Call) -> Answer:
    """Adds an interest to a group."""
    list_id, category_id = call.names["list_id"], _category(store, call)["id"]
    fields = call.fields()
    if not fields.get("name"):
        raise invalid_resource(("name", "This value should not be blank."))
    payload = {
        "category_id": category_id,
        "list_id": list_id,
        "id": uuid.uuid4().hex[:10],
        "name": fields["name"],
        "subscriber_count": "0",
        "display_order": int(fields.get("display_order", 0)),
    }
    with store.transaction() as db:
        db.execute(
            "insert into interests (id, category_id, list_id, payload) values (?, ?, ?, ?)",
            (payload["id"], category_id, list_id, dump(payload)),
        )
    return Answer(body=payload)


@router.on("GET", "/lists/{list_id}/interest-categories/{category_id}/interests/{interest_id}")
def get_interest(store: MailchimpStore, call: Call) -> Answer:
    """One interest."""
    return Answer(body=_shown_interest(store, _interest(store, call)))


@router.on("PATCH", "/lists/{list_id}/interest-categories/{category_id}/interests/{interest_id}")
def change_interest(store: MailchimpStore, call: Call) -> Answer:
    """Changes name or place."""
    with store.transaction() as db:
        row = _interest(store, call)
        payload = json.loads(row["payload"]) | _only(call.fields(), ("name", "display_order"))
        db.execute("update interests set payload = ? where id = ?", (dump(payload), row["id"]))
        return Answer(body=_shown_interest(store, _interest(store, call)))


@router.on("DELETE", "/lists/{list_id}/interest-categories/{category_id}/interests/{interest_id}")
def delete_interest(store: MailchimpStore, call: Call) -> Answer:
    """Removes an interest."""
    with store.transaction() as db:
        db.execute("delete from interests where id = ?", (_interest(store, call)["id"],))
    return Answer(204)


def _only(fields: Json, names: tuple[str, ...]) -> Json:
    return {name: value for name, value in fields.items() if name in names}


def _category(store: MailchimpStore, call: Call) -> sqlite3.Row:
    found = store.row(
        "select * from interest_categories where list_id = ? and id = ?",
        call.names["list_id"],
        call.names["category_id"],
    )
    if found is None:
        raise not_found()
    return found


def _interest(store: MailchimpStore, call: Call) -> sqlite3.Row:
    category = _category(store, call)
    found = store.row(
        "select * from interests where category_id = ? and id = ?", category["id"], call.names["interest_id"]
    )
    if found is None:
        raise not_found()
    return found


def _shown_interest(store: MailchimpStore, row: sqlite3.Row) -> Json:
    payload: Json = json.loads(row["payload"])
    return payload | {"subscriber_count": _subscribers(store, row["list_id"], row["id"])}


def _subscribers(store: MailchimpStore, list_id: str, interest_id: str) -> str:
    return str(
        store.number(
            "select count(*) from members where list_id = ? and status = 'subscribed' "
            "and json_extract(interests, '$.\"' || ? || '\"') = 1",
            list_id,
            interest_id,
        )
    )
