"""A person over all books, the blacklist and the tags."""

from __future__ import annotations

import sqlite3
import uuid

from lettertrail.sandbox.esps.sendpulse.books import SHOWN_CONTACTS, variable_list
from lettertrail.sandbox.esps.sendpulse.store import SendPulseStore
from lettertrail.sandbox.esps.sendpulse.wire import (
    SendPulseRouter,
    addresses,
    decoded_addresses,
    fields_of,
    listed,
    page,
    words,
)
from lettertrail.sandbox.esps.sendpulse.words import (
    ADDRESS_NOT_FOUND,
    ALREADY_BLACKLISTED,
    CONTACT_STATUS,
    NAME_IN_USE,
    error_inside,
    invalid,
    not_here,
    refused,
)
from lettertrail.sandbox.esps.shell import Answer, Call, Json, is_address, key_of

router = SendPulseRouter()

OPENED, CLICKED = 3, 4


@router.on("GET", "/emails/{email}")
def get_person(store: SendPulseStore, call: Call) -> Answer:
    """The books an address is in."""
    return Answer(_books_of(store, _require(store, call)))


@router.on("GET", "/emails/{email}/details")
def get_details(store: SendPulseStore, call: Call) -> Answer:
    """How an address came into its books."""
    key = _require(store, call)
    rows = store.rows(
        "select b.name, c.book_id, c.added_at, c.source from contacts c join books b on b.id = c.book_id "
        "where c.key = ? order by c.contact",
        key,
    )
    return Answer(
        [
            {
                "list_name": row["name"],
                "list_id": row["book_id"],
                "add_date": store.local(row["added_at"]),
                "source": row["source"],
            }
            for row in rows
        ]
    )


@router.on("POST", "/emails")
def get_people(store: SendPulseStore, call: Call) -> Answer:
    """The books of many addresses; unknown ones are left out."""
    found = {email: _books_of(store, key_of(email)) for email in addresses(call, maximum=None)}
    return Answer({email: books for email, books in found.items() if books})


@router.on("DELETE", "/emails/{email}")
def delete_person(store: SendPulseStore, call: Call) -> Answer:
    """Deletes from every book, opt-outs included (U): added again, the address counts as new."""
    key = _require(store, call)
    with store.transaction() as db:
        for row in store.rows("select email, book_id from contacts where key = ?", key):
            store.tell(db, row["email"], "delete", book_id=row["book_id"])
        for table in ("contacts", "opt_outs", "tag_pins"):
            db.execute(f"delete from {table} where key = ?", (key,))  # noqa: S608
    return Answer({"result": True})


@router.on("GET", "/emails/{email}/campaigns")
def get_statistic(store: SendPulseStore, call: Call) -> Answer:
    """What one address got and did, over all campaigns."""
    key = _require(store, call)
    rows = store.rows(
        "select b.id, b.name from contacts c join books b on b.id = c.book_id where c.key = ? order by c.contact", key
    )
    return Answer(
        {
            "statistic": _counts(store, key),
            "blacklist": store.is_blacklisted(key),
            "addressbooks": [{"id": row["id"], "address_book_name": row["name"]} for row in rows],
        }
    )


@router.on("POST", "/emails/campaigns")
def get_statistics(store: SendPulseStore, call: Call) -> Answer:
    """The same for many addresses; the books' key is misspelt as in the real service."""
    shown: Json = {}
    for email in addresses(call, maximum=None):
        rows = store.rows("select book_id from contacts where key = ? order by contact", key_of(email))
        if rows:
            shown[email] = _counts(store, key_of(email)) | {"adressbooks": [row["book_id"] for row in rows]}
    return Answer(shown)


@router.on("GET", "/blacklist")
def list_blacklist(store: SendPulseStore, call: Call) -> Answer:
    """Addresses by pages."""
    limit, offset = page(call)
    rows = store.rows("select email from blacklist order by rowid limit ? offset ?", limit, offset)
    return Answer([row["email"] for row in rows])


@router.on("POST", "/blacklist")
def add_to_blacklist(store: SendPulseStore, call: Call) -> Answer:
    """Adds; 904 when every one of them is there already (U: when only some are)."""
    emails = [email for email in decoded_addresses(call) if is_address(email)]
    comment = str(fields_of(call).get("comment") or "")
    with store.transaction() as db:
        before = db.total_changes
        db.executemany(
            "insert or ignore into blacklist (key, email, comment) values (?, ?, ?)",
            [(key_of(email), email, comment) for email in emails],
        )
        added = db.total_changes - before
    if emails and not added:
        raise error_inside(ALREADY_BLACKLISTED, "Email already in blacklist")
    return Answer({"result": bool(added)})


@router.on("DELETE", "/blacklist")
def remove_from_blacklist(store: SendPulseStore, call: Call) -> Answer:
    """Removes; the contacts' own statuses count again."""
    with store.transaction() as db:
        before = db.total_changes
        db.executemany("delete from blacklist where key = ?", [(key_of(email),) for email in decoded_addresses(call)])
        if db.total_changes == before:
            raise not_here()
    return Answer({"result": True})


@router.on("GET", "/tags")
def list_tags(store: SendPulseStore, call: Call) -> Answer:
    """All tags with the number of addresses that carry them."""
    store.finish_jobs()
    rows = store.rows(
        "select t.*, (select count(*) from tag_pins p where p.tag_id = t.id) as pins from tags t order by t.id"
    )
    return Answer(
        [{"id": row["id"], "name": row["name"], "color": row["color"], "emails_count": row["pins"]} for row in rows]
    )


@router.on("POST", "/tags")
def create_tag(store: SendPulseStore, call: Call) -> Answer:
    """A new tag; the name must be free."""
    fields = fields_of(call)
    name, color = str(fields.get("name") or "").strip(), str(fields.get("color") or "#cccccc")
    if not name:
        raise invalid("The name field is required.")
    try:
        with store.transaction() as db:
            cursor = db.execute("insert into tags (name, color) values (?, ?)", (name, color))
    except sqlite3.IntegrityError:
        raise refused(NAME_IN_USE, "Tag name already in use") from None
    return Answer({"id": cursor.lastrowid, "name": name, "color": color})


@router.on("PUT", "/tags/{tag_id}")
def change_tag(store: SendPulseStore, call: Call) -> Answer:
    """Another name or colour."""
    fields = fields_of(call)
    name = words(fields, "name")
    with store.transaction() as db:
        if store.row("select 1 from tags where name = ? and id <> ?", name, call.names["tag_id"]):
            raise refused(NAME_IN_USE, "Tag name already in use")
        changed = db.execute(
            "update tags set name = coalesce(?, name), color = coalesce(?, color) where id = ?",
            (name, words(fields, "color"), call.names["tag_id"]),
        ).rowcount
        if not changed:
            raise not_here()
    return Answer({"result": True})


@router.on("DELETE", "/tags/{tag_id}")
def delete_tag(store: SendPulseStore, call: Call) -> Answer:
    """Removes a tag from everybody."""
    with store.transaction() as db:
        if not db.execute("delete from tags where id = ?", (call.names["tag_id"],)).rowcount:
            raise not_here()
    return Answer({"result": True})


@router.on("POST", "/tags/pin/email")
def pin_tags(store: SendPulseStore, call: Call) -> Answer:
    """Queues tags for an address; they are there some time after the answer."""
    return _queue(store, call, pin=True)


@router.on("POST", "/tags/unpin/email")
def unpin_tags(store: SendPulseStore, call: Call) -> Answer:
    """Queues their removal."""
    return _queue(store, call, pin=False)


def _queue(store: SendPulseStore, call: Call, *, pin: bool) -> Answer:
    fields = fields_of(call)
    key, tags = key_of(str(fields.get("email", ""))), listed(fields, "tags")
    if not _books_of(store, key):
        raise refused(ADDRESS_NOT_FOUND, "Address not found", status=404)
    with store.transaction() as db:
        db.executemany(
            "insert into tag_queue (tag_id, key, pin) select id, ?, ? from tags where id = ?",
            [(key, int(pin), str(tag)) for tag in tags],
        )
    return Answer({"queue_id": str(uuid.uuid4()), "success": True})


def _require(store: SendPulseStore, call: Call) -> str:
    key = key_of(call.names["email"])
    if not store.row("select 1 from contacts where key = ?", key):
        raise refused(ADDRESS_NOT_FOUND, "Address not found", status=404)
    return key


def _books_of(store: SendPulseStore, key: str) -> list[Json]:
    return [
        {
            # One of the numbers that come as text.
            "book_id": str(row["book_id"]),
            "email": row["email"],
            "status": row["status"],
            "status_explain": CONTACT_STATUS.get(row["status"], "Unknown"),
            "variables": variable_list(store, row),
        }
        for row in store.rows(f"{SHOWN_CONTACTS} where key = ? order by contact", key)
    ]


def _counts(store: SendPulseStore, key: str) -> Json:
    codes = [int(row["code"]) for row in store.rows("select code from recipients where key = ?", key)]
    return {
        "sent": len(codes),
        "open": sum(code in {OPENED, CLICKED} for code in codes),
        "link": sum(code == CLICKED for code in codes),
    }
