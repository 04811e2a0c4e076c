"""Contacts: looking at one, counting, and leaving lists."""

from __future__ import annotations

import json
import sqlite3

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import key_of
from lettertrail.sandbox.esps.unisender.lists import require_lists
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, invalid, missing

methods: Methods[Handler] = Methods()


def require_contact(store: UnisenderStore, email: str) -> sqlite3.Row:
    """By address.

    Raises:
        Refusal: `object_not_found`.
    """
    found = store.contact(email)
    if found is None:
        raise missing("Contact is not found")
    return found


@methods.on("getContact")
def get_contact(store: UnisenderStore, call: Call) -> Json:
    """One contact; lists, fields and details when they are asked for."""
    row = require_contact(store, call.required("email"))
    email: Json = {"email": row["email_address"]}
    if call.flag("include_details"):
        email |= {
            "added_at": row["added_at"],
            "status": row["status"],
            "availability": row["availability"],
            "last_send_datetime": row["last_send"],
            "last_delivery_datetime": row["last_delivery"],
            "last_read_datetime": row["last_read"],
            "last_click_datetime": row["last_click"],
            "rating": row["rating"],
        }
    if call.flag("include_lists"):
        email["lists"] = [
            {"id": found["id"], "title": found["title"], "added_at": found["added_at"]}
            for found in store.rows(
                "select l.id, l.title, m.added_at from memberships m join lists l on l.id = m.list_id "
                "where m.contact = ? and m.state = 'subscribed' order by l.id",
                row["contact"],
            )
        ]
    if call.flag("include_fields"):
        email["fields"] = json.loads(row["fields"])
    return {"email": email}


@methods.on("isContactInLists")
def is_contact_in_lists(store: UnisenderStore, call: Call) -> bool:
    """Whether the contact is in any (`or`, the default) or all (`and`) of the lists."""
    wanted = require_lists(store, call.numbers("list_ids"))
    condition = call.text("condition", "or")
    if condition not in {"or", "and"}:
        raise invalid("Argument 'condition' must be 'or' or 'and'")
    row = store.contact(call.required("email"))
    states = list_states(store, row) if row is not None else {}
    found = [states.get(number) == "subscribed" for number in wanted]
    return all(found) if condition == "and" else any(found)


def list_states(store: UnisenderStore, contact: sqlite3.Row) -> dict[int, str]:
    """What the contact is in each list it was ever in."""
    rows = store.rows("select list_id, state from memberships where contact = ? order by list_id", contact["contact"])
    return {row["list_id"]: row["state"] for row in rows}


@methods.on("getContactCount")
def get_contact_count(store: UnisenderStore, call: Call) -> Json:
    """How many are in a list, with a tag or a text in the address when asked."""
    number = call.whole("list_id")
    require_lists(store, [number])
    search = call.object("params")
    count = store.number(
        "select count(*) from memberships m join contacts c on c.contact = m.contact "
        "where m.list_id = ? and m.state = 'subscribed' and instr(c.email, lower(?)) > 0 "
        "and (? = '' or c.contact in (select contact from contact_tags where tag = ?))",
        number,
        search.get("search", ""),
        search.get("tagId", ""),
        search.get("tagId", ""),
    )
    return {"listId": number, "searchParams": search, "count": count}


@methods.on("exclude")
def exclude(store: UnisenderStore, call: Call) -> Json:
    """The sender takes the contact out of lists, or of all; it may be put back, and its status stays."""
    row, numbers = _leaving(store, call)
    with store.transaction() as db:
        db.executemany(
            "update memberships set state = 'excluded' where contact = ? and list_id = ? and state = 'subscribed'",
            [(row["contact"], number) for number in numbers],
        )
    return {}


@methods.on("unsubscribe")
def unsubscribe(store: UnisenderStore, call: Call) -> Json:
    """The person's wish to leave lists, or all; nothing in the interface takes it back."""
    row, numbers = _leaving(store, call)
    with store.transaction():
        store.depart(row["email"], lists=numbers if call.text("list_ids") else None)
        store.note_hook("unsubscribe", store.now(), {"email": key_of(row["email"]), "list_ids": numbers})
    return {}


def _leaving(store: UnisenderStore, call: Call) -> tuple[sqlite3.Row, list[int]]:
    if call.required("contact_type") != "email":
        raise invalid("Argument 'contact_type' must be 'email': there are no phones here")
    row = require_contact(store, call.required("contact"))
    states = list_states(store, row)
    wanted = require_lists(store, call.numbers("list_ids")) or list(states)
    for number in wanted:
        if number not in states:
            raise missing(f"Contact is not in the list '{number}'")
    return row, wanted
