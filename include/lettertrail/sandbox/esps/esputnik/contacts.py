"""Contacts: reading, searching, writing one, deleting, preference categories, the list of those who left."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from lettertrail.sandbox.esps.esputnik.changes import (
    add_to_groups,
    check_contact,
    find_same,
    write_contact,
)
from lettertrail.sandbox.esps.esputnik.importing import go_on
from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import EMAIL_STATUS, EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import bad, fields_of, missing, page, results, texts
from lettertrail.sandbox.esps.shell import Answer, Call, Json, is_address, key_of

router = EsputnikRouter()

ADDRESS_BOOK = 77
SEARCHED = {
    "email": "email",
    "sms": "sms",
    "firstname": "first_name",
    "lastname": "last_name",
    "externalCustomerId": "external_id",
}
MAX_UNSUBSCRIBED = 3000
"""Addresses in one call (U)."""


@router.on("GET", "/v1/contacts")
def search_contacts(store: EsputnikStore, call: Call) -> Answer:
    """By pages; every given text may stand anywhere in the field, so that more may come than was asked for."""
    go_on(store)
    limit, offset = page(call)
    asked = {column: call.query[name] for name, column in SEARCHED.items() if call.query.get(name)}
    where = " and ".join(["is_deleted = 0", *(f"instr(lower({column}), lower(?)) > 0" for column in asked)])
    values = tuple(asked.values())
    rows = store.rows(f"select * from contacts where {where} order by id limit ? offset ?", *values, limit, offset)  # noqa: S608
    # Without a filter the real service counts wrong: here the rows of the page.
    total = store.number(f"select count(*) from contacts where {where}", *values) if asked else len(rows)  # noqa: S608
    return Answer([shown(store, row) for row in rows], headers={"TotalCount": str(total)})


@router.on("GET", "/v1/contacts/email")
def list_addresses(store: EsputnikStore, call: Call) -> Answer:
    """Addresses by contact ids."""
    go_on(store)
    ids = [text for text in call.query.get("ids", "").split(",") if text.isdigit()]
    rows = [store.row("select id, email from contacts where id = ? and is_deleted = 0", number) for number in ids]
    return Answer(results([{"contactId": row["id"], "email": row["email"]} for row in rows if row is not None]))


@router.on("GET", "/v1/contact/{contact_id}")
def get_contact(store: EsputnikStore, call: Call) -> Answer:
    """One contact."""
    go_on(store)
    return Answer(shown(store, require_contact(store, call)))


@router.on("POST", "/v1/contact")
def save_contact(store: EsputnikStore, call: Call) -> Answer:
    """Adds or updates one; who left stays on the list of those who left."""
    given = fields_of(call)
    check_contact(given)
    with store.transaction():
        number = write_contact(store, given, find_same(store, given))
        add_to_groups(store, number, given.get("groups"))
    return Answer({"id": number})


@router.on("PUT", "/v1/contact/{contact_id}")
def change_contact(store: EsputnikStore, call: Call) -> Answer:
    """Changes what is given; the answer has no body."""
    given = fields_of(call)
    check_contact(given, needs_locator=False)
    with store.transaction():
        row = require_contact(store, call)
        write_contact(store, given, row)
        add_to_groups(store, row["id"], given.get("groups"))
    return Answer()


@router.on("POST", "/v1/contact/subscribe")
def subscribe_contact(store: EsputnikStore, call: Call) -> Answer:
    """Double opt-in: a new contact is unconfirmed until the letter's link is followed."""
    fields = fields_of(call)
    given = fields.get("contact")
    if not isinstance(given, dict):
        raise bad("contact must not be empty")
    check_contact(given)
    with store.transaction() as db:
        current = find_same(store, given)
        number = write_contact(store, given, current)
        if current is None:
            db.execute("update contacts set is_confirmed = 0 where id = ?", (number,))
        add_to_groups(store, number, [{"name": name} for name in texts(fields, "groups") or []])
        names = texts(fields, "subscriptions")
        if names is not None:
            _save_subscriptions(store, number, names)
        word = "subscribeFromApi" if current is None else "subscribeUpdateFromApi"
        db.execute("insert into events (type, value, at) values (?, ?, ?)", (word, str(number), store.now()))
    return Answer({"id": number})


@router.on("DELETE", "/v1/contact/{contact_id}")
def delete_contact(store: EsputnikStore, call: Call) -> Answer:
    """Hides a contact; an import with `restoreDeleted` brings it back."""
    with store.transaction() as db:
        db.execute("update contacts set is_deleted = 1 where id = ?", (require_contact(store, call)["id"],))
    return Answer()


@router.on("DELETE", "/v1/contact")
def delete_by_external_id(store: EsputnikStore, call: Call) -> Answer:
    """The same by our id; with `erase=true` everything about the person goes.

    U: that the erased address is no longer on the list of those who left.
    """
    external = call.query.get("externalCustomerId", "")
    with store.transaction() as db:
        row = store.row("select * from contacts where external_id = ?", external)
        if not external or row is None:
            raise missing("Contact")
        if call.query.get("erase", "false").lower() != "true":
            db.execute("update contacts set is_deleted = 1 where id = ?", (row["id"],))
            return Answer()
        for table in ("unsubscribed", "bounced", "activity"):
            db.execute(f"delete from {table} where key = ?", (row["key"],))  # noqa: S608
        db.execute("delete from contacts where id = ?", (row["id"],))
    return Answer()


@router.on("GET", "/v1/contact/{contact_id}/subscriptions")
def get_subscriptions(store: EsputnikStore, call: Call) -> Answer:
    """The preference categories that the person chose (U: an array of names)."""
    return Answer(json.loads(require_contact(store, call)["subscriptions"]))


@router.on("PUT", "/v1/contact/{contact_id}/subscriptions")
def put_subscriptions(store: EsputnikStore, call: Call) -> Answer:
    """Replaces them all (U: the body, an array or `{subscriptions: []}`)."""
    given: Any = call.body.get("subscriptions") if isinstance(call.body, dict) else call.body
    if not isinstance(given, list):
        raise bad("subscriptions must be a list")
    with store.transaction():
        _save_subscriptions(store, require_contact(store, call)["id"], [str(name) for name in given])
    return Answer()


@router.on("POST", "/v1/emails/unsubscribed/add")
def add_unsubscribed(store: EsputnikStore, call: Call) -> Answer:
    """Puts addresses on the list of those who left, whether they are contacts or not."""
    emails = _emails(call)
    with store.transaction() as db:
        db.executemany(
            "insert or ignore into unsubscribed (key, email, at) values (?, ?, ?)",
            [(key_of(email), email, store.now()) for email in emails],
        )
    return Answer("Emails were added to unsubscribed list")


@router.on("POST", "/v1/emails/unsubscribed/delete")
def delete_unsubscribed(store: EsputnikStore, call: Call) -> Answer:
    """Takes addresses off that list. Nobody asks how they came onto it: this is the resubscribe."""
    emails = _emails(call)
    with store.transaction() as db:
        db.executemany("delete from unsubscribed where key = ?", [(key_of(email),) for email in emails])
    return Answer("Emails were deleted from unsubscribed list")


def require_contact(store: EsputnikStore, call: Call) -> sqlite3.Row:
    """The contact of the path.

    Raises:
        Refused: 404.
    """
    row = store.row("select * from contacts where id = ? and is_deleted = 0", call.names["contact_id"])
    if row is None:
        raise missing("Contact")
    return row


def shown(store: EsputnikStore, row: sqlite3.Row) -> Json:
    """A contact as the service writes it."""
    groups = store.rows(
        "select g.* from groups g join group_contacts c on c.group_id = g.id where c.contact_id = ? order by g.id",
        row["id"],
    )
    contact: Json = {
        "id": row["id"],
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "channels": [{"type": kind, "value": row[kind]} for kind in ("email", "sms") if row[kind]],
        "address": json.loads(row["address"]),
        "fields": [{"id": int(number), "value": value} for number, value in json.loads(row["fields"]).items()],
        "addressBookId": ADDRESS_BOOK,
        "contactKey": row["contact_key"],
        "externalCustomerId": row["external_id"],
        "languageCode": row["language"],
        "timeZone": row["time_zone"],
        "groups": [{"id": group["id"], "name": group["name"], "type": group["type"]} for group in groups],
    }
    if store.setting(EMAIL_STATUS) == "on":
        contact["emailStatus"] = store.email_status(row)
    return contact


def _save_subscriptions(store: EsputnikStore, contact_id: int, names: list[str]) -> None:
    known = {str(row["name"]) for row in store.rows("select name from categories")}
    unknown = sorted(set(names) - known)
    if unknown:
        raise bad(f"Unknown subscription: {unknown[0]}")
    with store.transaction() as db:
        chosen = json.dumps(sorted(set(names)), ensure_ascii=False)
        db.execute("update contacts set subscriptions = ? where id = ?", (chosen, contact_id))
        row = store.row("select email from contacts where id = ?", contact_id)
        if row is not None and row["email"]:
            # U: that a change by the interface shows in activity like one by the person.
            store.happen(row["email"], "SUBSCRIPTION_CHANGED", None, store.moment)


def _emails(call: Call) -> list[str]:
    emails = texts(fields_of(call), "emails")
    if not emails:
        raise bad("emails must not be empty")
    if len(emails) > MAX_UNSUBSCRIBED:
        raise bad(f"emails: maximum {MAX_UNSUBSCRIBED} items")
    return [email for email in emails if is_address(email)]
