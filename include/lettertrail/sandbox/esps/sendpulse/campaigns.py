"""Campaigns, their counts, and the last state of one recipient: there is no list of what recipients did."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.sendpulse.books import MAILABLE_SQL, SHOWN_CONTACTS
from lettertrail.sandbox.esps.sendpulse.store import STATISTICS, SendPulseStore
from lettertrail.sandbox.esps.sendpulse.wire import SendPulseRouter, direction, fields_of, is_set, page, words
from lettertrail.sandbox.esps.sendpulse.words import (
    ADDRESS_NOT_FOUND,
    BAD_DATE,
    BOOK_NOT_FOUND,
    CAMPAIGN_CANCELLED,
    CAMPAIGN_CREATING,
    CAMPAIGN_DRAFT,
    CAMPAIGN_NEW,
    CAMPAIGN_NOT_FOUND,
    CAMPAIGN_SENDING,
    CAMPAIGN_SENT,
    DELIVERY_CODE,
    NO_BODY,
    NO_EMAILS,
    NO_SUBJECT,
    SENDER_MISSING,
    TOO_MANY_CAMPAIGNS,
    error_inside,
    refused,
)
from lettertrail.sandbox.esps.shell import Answer, Call, Json, key_of
from lettertrail.sandbox.esps.zoned import stored

router = SendPulseRouter()

CAMPAIGNS_PER_HOUR = 4
DELIVERED_CODES = (2, 3, 4, 5, 11)
FAILED_CODES = (6, 7, 8, 9, 10, 12, 16, 17, 18, 20)
GLOBAL_DELIVERED, GLOBAL_FAILED = 2, 12
NEXT_STATUS = {CAMPAIGN_CREATING: CAMPAIGN_SENDING, CAMPAIGN_SENDING: CAMPAIGN_SENT}


@router.on("GET", "/campaigns")
def list_campaigns(store: SendPulseStore, call: Call) -> Answer:
    """By pages, newest first."""
    _advance(store)
    limit, offset = page(call)
    statuses = [value for value in call.all("status") if value.isdigit()]
    where = f"status in ({', '.join(statuses)})" if statuses else "1"
    if is_set(call.query.get("planned", "")):
        where += f" and status = {CAMPAIGN_NEW}"
    rows = store.rows(
        f"select * from campaigns where {where} order by id {direction(call, 'desc')} limit ? offset ?",  # noqa: S608
        limit,
        offset,
    )
    return Answer([_shown(store, row) | {"statistics": _summary(store, row["id"])} for row in rows])


@router.on("POST", "/campaigns")
def create_campaign(store: SendPulseStore, call: Call) -> Answer:
    """Sends to the mailable contacts of a book, at once or later; four an hour."""
    fields = fields_of(call)
    is_draft = fields.get("type") == "draft"
    _check_letter(fields)
    send_date = _send_date(store, fields)
    with store.transaction() as db:
        book = _book(store, fields)
        hour_ago = stored(store.moment - timedelta(hours=1))
        made = store.number("select count(*) from campaigns where made_by_api = 1 and created_at > ?", hour_ago)
        if made >= CAMPAIGNS_PER_HOUR:
            raise error_inside(TOO_MANY_CAMPAIGNS, "You can create no more than 4 campaigns per hour")
        readers = store.rows(f"select * from ({SHOWN_CONTACTS} where book_id = ?) where {MAILABLE_SQL}", book)  # noqa: S608
        if not readers and not is_draft:
            raise error_inside(NO_EMAILS, "There are no active emails in the address book")
        status = CAMPAIGN_DRAFT if is_draft else (CAMPAIGN_NEW if fields.get("send_date") else CAMPAIGN_CREATING)
        number = _insert(store, fields, book=book, status=status, send_date=send_date)
        if not is_draft:
            db.executemany(
                "insert into recipients (campaign_id, key, email, sent_at, code) values (?, ?, ?, ?, 0)",
                [(number, reader["key"], reader["email"], send_date) for reader in readers],
            )
    return Answer(
        {
            "id": number,
            "status": status,
            "count": len(readers),
            "tariff_email_qty": len(readers),
            "overdraft_price": "0",
            "ovedraft_currency": "RUR",
        }
    )


@router.on("GET", "/campaigns/{campaign_id}")
def get_campaign(store: SendPulseStore, call: Call) -> Answer:
    """One campaign with its body; the statistics have one of two shapes."""
    _advance(store)
    row = _require(store, call)
    shown = _shown(store, row)
    shown["message"]["body"] = row["body"]
    general = _general(store, row["id"])
    shown |= {
        "permalink": f"https://sandbox.example/view/{row['id']}",
        "external_stat": {"check_open_email": True, "check_redirect_link": True},
        "statistics": general
        if store.setting(STATISTICS) == "list"
        else {"general": general, "clicks": [{"url": url, "count": count} for url, count in _links(store, row["id"])]},
    }
    return Answer(shown)


@router.on("PATCH", "/campaigns/{campaign_id}")
def change_campaign(store: SendPulseStore, call: Call) -> Answer:
    """Name, subject or body of one that has not been sent."""
    fields = fields_of(call)
    with store.transaction() as db:
        row = _require(store, call)
        if row["status"] not in {CAMPAIGN_NEW, CAMPAIGN_DRAFT}:
            raise error_inside(CAMPAIGN_NOT_FOUND, "The campaign cannot be changed any more")
        db.execute(
            "update campaigns set name = coalesce(?, name), subject = coalesce(?, subject), body = coalesce(?, body) "
            "where id = ?",
            (words(fields, "name"), words(fields, "subject"), _body(fields), row["id"]),
        )
    return Answer({"result": True, "id": row["id"]})


@router.on("DELETE", "/campaigns/{campaign_id}")
def cancel_campaign(store: SendPulseStore, call: Call) -> Answer:
    """Cancels one that has not been sent."""
    with store.transaction() as db:
        row = _require(store, call)
        if row["status"] == CAMPAIGN_SENT:
            return Answer({"result": False})
        db.execute("update campaigns set status = ? where id = ?", (CAMPAIGN_CANCELLED, row["id"]))
        db.execute("delete from recipients where campaign_id = ?", (row["id"],))
    return Answer({"result": True})


@router.on("GET", "/campaigns/{campaign_id}/countries")
def list_countries(store: SendPulseStore, call: Call) -> Answer:
    """Openings by country; the twin's people all live in one."""
    row = _require(store, call)
    opened = store.number("select count(*) from happenings where campaign_id = ? and word = 'open'", row["id"])
    return Answer({"RU": opened} if opened else [])


@router.on("GET", "/campaigns/{campaign_id}/referrals")
def list_referrals(store: SendPulseStore, call: Call) -> Answer:
    """Links with the number of clicks."""
    row = _require(store, call)
    return Answer([{"link": url, "count": count} for url, count in _links(store, row["id"])])


@router.on("GET", "/campaigns/{campaign_id}/email/{email}")
def get_recipient(store: SendPulseStore, call: Call) -> Answer:
    """The last state of one recipient, without the time it was reached."""
    row = _require(store, call)
    found = store.row(
        "select * from recipients where campaign_id = ? and key = ?", row["id"], key_of(call.names["email"])
    )
    if found is None:
        raise refused(ADDRESS_NOT_FOUND, "Address not found", status=404)
    code = int(found["code"])
    # U: that the global status tells delivered letters from failed ones, and the detail is the code of the counts.
    broad = GLOBAL_FAILED if code in FAILED_CODES else min(code, GLOBAL_DELIVERED)
    return Answer(
        {
            # Both names of the time are seen.
            "sent_date" if row["id"] % 2 else "send_date": store.local(found["sent_at"]),
            "global_status": broad,
            "global_status_explain": DELIVERY_CODE[broad],
            "detail_status": code,
            "detail_status_explain": DELIVERY_CODE.get(code, "Unknown"),
        }
    )


def _require(store: SendPulseStore, call: Call) -> sqlite3.Row:
    found = store.row("select * from campaigns where id = ?", call.names["campaign_id"])
    if found is None:
        raise refused(CAMPAIGN_NOT_FOUND, "Campaign not found", status=404)
    return found


def _shown(store: SendPulseStore, row: sqlite3.Row) -> Json:
    recipients = store.number("select count(*) from recipients where campaign_id = ?", row["id"])
    return {
        "id": row["id"],
        "name": row["name"],
        "message": {
            "sender_name": row["sender_name"],
            "sender_email": row["sender_email"],
            "subject": row["subject"],
            "attachments": "",
            # Now a number, now text.
            "list_id": row["book_id"] if row["id"] % 2 else str(row["book_id"]),
        },
        "status": row["status"],
        "all_email_qty": recipients,
        "tariff_email_qty": recipients,
        "paid_email_qty": 0,
        "overdraft_price": 0,
        "overdraft_currency": "RUR",
        "company_price": 0,
        "send_date": store.local(row["send_date"]),
        "is_sms": False,
        "is_viber": False,
    }


def _general(store: SendPulseStore, campaign_id: int) -> list[Json]:
    """People by their last state: one who clicked counts as clicked and no longer as opened (U)."""
    rows = store.rows(
        "select code, count(*) as people from recipients where campaign_id = ? group by code order by code", campaign_id
    )
    return [
        {
            "code": row["code"],
            # In the older shape the counts are text.
            "count": str(row["people"]) if store.setting(STATISTICS) == "list" else row["people"],
            "explain": DELIVERY_CODE.get(row["code"], "Unknown"),
        }
        for row in rows
    ]


def _summary(store: SendPulseStore, campaign_id: int) -> Json:
    codes = {
        int(row["code"]): int(row["people"])
        for row in store.rows(
            "select code, count(*) as people from recipients where campaign_id = ? group by code", campaign_id
        )
    }
    return {
        "sent": sum(codes.values()) - codes.get(0, 0),
        "delivered": sum(codes.get(code, 0) for code in DELIVERED_CODES),
        "opening": codes.get(3, 0),
        "link_redirected": codes.get(4, 0),
        "unsubscribe": codes.get(5, 0),
        "error": sum(codes.get(code, 0) for code in FAILED_CODES),
    }


def _links(store: SendPulseStore, campaign_id: int) -> list[tuple[str, int]]:
    rows = store.rows(
        "select json_extract(more, '$.link_url') as url, count(*) as clicks from happenings "
        "where campaign_id = ? and word = 'redirect' and url is not null group by url order by url",
        campaign_id,
    )
    return [(str(row["url"]), int(row["clicks"])) for row in rows]


def _advance(store: SendPulseStore) -> None:
    """Time goes on from one look to the next: created, sending, sent; a planned one leaves when its time has come."""
    with store.transaction() as db:
        due = f"status = {CAMPAIGN_NEW} and made_by_api = 1 and send_date <= ?"
        moving = store.rows(
            f"select id, status from campaigns where status in (?, ?) or ({due})",  # noqa: S608
            CAMPAIGN_CREATING,
            CAMPAIGN_SENDING,
            store.now(),
        )
        for row in moving:
            status = NEXT_STATUS.get(row["status"], CAMPAIGN_SENDING)
            db.execute("update campaigns set status = ? where id = ?", (status, row["id"]))
            if status == CAMPAIGN_SENT:
                db.execute("update recipients set code = 2 where campaign_id = ? and code < 2", (row["id"],))


def _check_letter(fields: Json) -> None:
    """U: which of 703 to 722 goes with which missing part."""
    if not fields.get("sender_name") or not fields.get("sender_email"):
        raise refused(SENDER_MISSING, "Sender is missing")
    if not fields.get("subject"):
        raise refused(NO_SUBJECT, "Subject is missing")
    if not fields.get("body") and not fields.get("template_id"):
        raise refused(NO_BODY, "Body is missing")


def _body(fields: Json) -> str | None:
    if not fields.get("body"):
        return None
    try:
        return base64.b64decode(str(fields["body"]), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise refused(NO_BODY, "Body must be base64") from None


def _send_date(store: SendPulseStore, fields: Json) -> str:
    text = fields.get("send_date")
    if not text:
        return store.now()
    try:
        moment = datetime.fromisoformat(str(text)).replace(tzinfo=store.timezone)
    except ValueError:
        raise refused(BAD_DATE, "Wrong send date") from None
    if moment < store.moment:
        raise refused(BAD_DATE, "Send date is in the past")
    return stored(moment)


def _book(store: SendPulseStore, fields: Json) -> int:
    given: Any = fields.get("list_id")
    first = given[0] if isinstance(given, list) and given else given
    found = store.row("select id from books where id = ?", str(first))
    if found is None:
        raise refused(BOOK_NOT_FOUND, "Book not found", status=404)
    return int(found["id"])


def _insert(store: SendPulseStore, fields: Json, *, book: int, status: int, send_date: str) -> int:
    with store.transaction() as db:
        cursor = db.execute(
            "insert into campaigns (name, book_id, status, sender_name, sender_email, subject, body, send_date, "
            "created_at, made_by_api) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (
                str(fields.get("name") or fields["subject"]),
                book,
                status,
                str(fields["sender_name"]),
                str(fields["sender_email"]),
                str(fields["subject"]),
                _body(fields) or "",
                send_date,
                store.now(),
            ),
        )
    return int(cursor.lastrowid or 0)
