"""Writing contacts: `subscribe` for one, `importContacts` for up to 500.

Consent (esp_apis.md 4.3): who unsubscribed stays unsubscribed whatever is written, without a word about it in the
answer; only the link in an invitation brings that person back.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Literal

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump, is_address, key_of
from lettertrail.sandbox.esps.unisender.lists import field_names, require_lists
from lettertrail.sandbox.esps.unisender.store import FIXED, UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import (
    Call,
    Handler,
    Json,
    Refusal,
    as_time,
    ids,
    invalid,
    words,
)

MAX_ROWS = 500
MAX_FIELDS = 50
MAX_TAGS = 10
SYSTEM_COLUMNS = (
    "email",
    "phone",
    "delete",
    "tags",
    "email_status",
    "email_availability",
    "email_list_ids",
    "email_subscribe_times",
    "email_unsubscribed_list_ids",
    "email_excluded_list_ids",
)
STATUSES = ("new", "active", "inactive", "unsubscribed")
AVAILABILITIES = ("available", "unreachable", "temp_unreachable", "mailbox_full", "spam_rejected", "spam_folder")

methods: Methods[Handler] = Methods()


@methods.on("subscribe")
def subscribe(store: UnisenderStore, call: Call) -> Json:
    """Puts one contact into lists.

    `double_optin` 0 invites by mail, 3 takes consent as held, 4 invites unless the contact is known and active.
    `overwrite` 0 writes fields the contact lacks, 1 replaces all fields and tags, 2 replaces those given.
    """
    lists = require_lists(store, ids(call.required("list_ids"), where="list_ids"))
    given = call.object("fields")
    email = given.get("email", "")
    if not is_address(email):
        raise invalid("Argument 'fields[email]' is not a valid e-mail address")
    double_optin = call.whole("double_optin", 0)
    if double_optin not in {0, 3, 4}:
        raise invalid("Argument 'double_optin' must be 0, 3 or 4")
    overwrite = call.whole("overwrite", 0, maximum=2)
    own = _own_fields(store, call, {name: value for name, value in given.items() if name not in {"email", "phone"}})
    tags = words(call.text("tags"))
    if len(tags) > MAX_TAGS:
        raise invalid(f"No more than {MAX_TAGS} tags are allowed")
    with store.transaction() as db:
        row = store.contact(email) or _insert(store, db, email, "invited" if double_optin != 3 else "new")
        known: Json = json.loads(row["fields"])
        fields = {0: own | known, 1: own, 2: known | own}[overwrite]
        db.execute("update contacts set fields = ? where contact = ?", (dump(fields), row["contact"]))
        _tag(db, row, tags, replace=overwrite == 1)
        _join(store, db, row, lists)
        _invite(store, db, row, double_optin, call)
    return {"person_id": row["contact"]}


def _invite(store: UnisenderStore, db: sqlite3.Connection, row: sqlite3.Row, double_optin: int, call: Call) -> None:
    if double_optin == 3:
        if row["status"] in FIXED:
            call.warnings.append(f"Status of the contact stays {row['status']}")
        elif row["status"] in {"invited", "inactive"}:
            db.execute("update contacts set status = 'active' where contact = ?", (row["contact"],))
        return
    if double_optin == 0 or row["status"] != "active":
        db.execute("insert into invitations (email, at) values (?, ?)", (row["email"], store.now()))


@dataclass(slots=True)
class _Import:
    """The counts of one import."""

    total: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    new_emails: int = 0
    invalid: int = 0
    log: list[Json] = field(default_factory=list)

    def refuse(self, index: int, refusal: Refusal) -> None:
        self.invalid += 1
        self.log.append({"index": index, "code": refusal.code, "message": refusal.text})

    def shown(self) -> Json:
        return {
            "total": self.total,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "new_emails": self.new_emails,
            "invalid": self.invalid,
            "log": self.log,
        }


@methods.on("importContacts")
def import_contacts(store: UnisenderStore, call: Call) -> Json:
    """Up to 500 rows. Rows that cannot be used are named in `log` by their index; the others are written."""
    names = [str(name) for name in call.array("field_names")]
    rows = call.array("data")
    _check_columns(store, call, names)
    if not rows:
        raise invalid("Argument 'data' must not be empty")
    if len(rows) > MAX_ROWS:
        raise invalid(f"No more than {MAX_ROWS} rows are allowed in one call")
    done = _Import(total=len(rows))
    with store.transaction():
        for index, cells in enumerate(rows):
            try:
                with store.savepoint() as db:
                    what = _import_row(store, db, call, _row(names, cells))
            except Refusal as refusal:
                done.refuse(index, refusal)
                continue
            if what == "inserted":
                done.inserted += 1
                done.new_emails += 1
            elif what == "updated":
                done.updated += 1
            else:
                done.deleted += 1
    return done.shown()


def _check_columns(store: UnisenderStore, call: Call, names: list[str]) -> None:
    if not {"email", "phone"} & set(names):
        raise invalid("Argument 'field_names' must contain 'email' or 'phone'")
    own = [name for name in names if name not in SYSTEM_COLUMNS and not name.startswith("phone_")]
    if len(own) > MAX_FIELDS:
        raise invalid(f"No more than {MAX_FIELDS} user fields are allowed in one call")
    _own_fields(store, call, dict.fromkeys(own, ""))


def _own_fields(store: UnisenderStore, call: Call, given: dict[str, str]) -> dict[str, str]:
    """The given fields that the account has; a warning for every other one, which is left out."""
    known = {name.lower(): name for name in field_names(store)}
    for name in given:
        if name.lower() not in known:
            call.warnings.append(f"Field '{name}' does not exist and was ignored")
    return {known[name.lower()]: value for name, value in given.items() if name.lower() in known}


def _row(names: list[str], cells: object) -> dict[str, str]:
    """One row by column name; cells that are missing are left out."""
    if not isinstance(cells, dict) or not all(isinstance(value, str) for value in cells.values()):
        raise invalid("The row is not an array of values")
    return {name: cells[str(place)] for place, name in enumerate(names) if str(place) in cells}


def _import_row(
    store: UnisenderStore, db: sqlite3.Connection, call: Call, row: dict[str, str]
) -> Literal["inserted", "updated", "deleted"]:
    email = row.get("email", "")
    if not is_address(email):
        raise Refusal("invalid_email", "The e-mail address is not valid")
    contact = store.contact(email)
    if row.get("delete") == "1":
        if contact is not None:
            db.execute("delete from contacts where contact = ?", (contact["contact"],))
        return "deleted"
    is_new = contact is None
    if contact is None:
        contact = _insert(store, db, email, "new")
    _write_columns(store, db, contact, row)
    if "tags" in row:
        _tag(db, contact, words(row["tags"]), replace=call.flag("overwrite_tags"))
    _write_lists(store, db, contact, row, replace=call.flag("overwrite_lists"))
    _write_status(store, db, contact, row.get("email_status", ""))
    return "inserted" if is_new else "updated"


def _write_columns(store: UnisenderStore, db: sqlite3.Connection, contact: sqlite3.Row, row: dict[str, str]) -> None:
    """Own fields that are given replace what was there, empty ones too; the others stay."""
    known = {name.lower(): name for name in field_names(store)}
    given = {known[name.lower()]: value for name, value in row.items() if name.lower() in known}
    availability = row.get("email_availability") or contact["availability"]
    if availability not in AVAILABILITIES:
        raise invalid(f"Availability '{availability}' is not allowed")
    db.execute(
        "update contacts set fields = ?, phone = ?, availability = ? where contact = ?",
        (
            dump(json.loads(contact["fields"]) | given),
            row.get("phone", contact["phone"]),
            availability,
            contact["contact"],
        ),
    )


def _write_lists(
    store: UnisenderStore, db: sqlite3.Connection, contact: sqlite3.Row, row: dict[str, str], *, replace: bool
) -> None:
    lists = require_lists(store, ids(row.get("email_list_ids", ""), where="email_list_ids"))
    times = [as_time(text, where="email_subscribe_times") for text in words(row.get("email_subscribe_times", ""))]
    if replace and "email_list_ids" in row:
        # Who unsubscribed from a list stays known as that; everything else is as the row says.
        marks = ", ".join("?" * len(lists))
        db.execute(
            f"delete from memberships where contact = ? and state <> 'unsubscribed' and list_id not in ({marks})",  # noqa: S608
            (contact["contact"], *lists),
        )
    _join(store, db, contact, lists, times)
    for column, state in (("email_unsubscribed_list_ids", "unsubscribed"), ("email_excluded_list_ids", "excluded")):
        db.executemany(
            "insert into memberships (contact, list_id, state, added_at) values (?, ?, ?, ?) "
            "on conflict (contact, list_id) do update set state = case memberships.state "
            "when 'unsubscribed' then 'unsubscribed' else excluded.state end",
            [
                (contact["contact"], number, state, store.now())
                for number in require_lists(store, ids(row.get(column, ""), where=column))
            ],
        )


def _write_status(store: UnisenderStore, db: sqlite3.Connection, contact: sqlite3.Row, status: str) -> None:
    if not status:
        return
    if status not in STATUSES:
        raise invalid(f"Status '{status}' is not allowed")
    if status == "unsubscribed":
        store.depart(contact["email"])
        return
    db.execute(
        "update contacts set status = ? where contact = ? and status not in ('unsubscribed', 'blocked')",
        (status, contact["contact"]),
    )


def _insert(store: UnisenderStore, db: sqlite3.Connection, email: str, status: str) -> sqlite3.Row:
    """A new contact; somebody who left before comes back as unsubscribed."""
    db.execute(
        "insert into contacts (email, email_address, status, added_at) values (?, ?, ?, ?)",
        (key_of(email), email.strip(), "unsubscribed" if store.has_left(email) else status, store.now()),
    )
    found = store.contact(email)
    assert found is not None
    return found


def _join(
    store: UnisenderStore,
    db: sqlite3.Connection,
    contact: sqlite3.Row,
    lists: list[int],
    times: list[str] | None = None,
) -> None:
    """Puts the contact into lists it did not unsubscribe from."""
    stamps = dict(zip(lists, times or [], strict=False))
    db.executemany(
        "insert into memberships (contact, list_id, state, added_at) values (?, ?, 'subscribed', ?) "
        "on conflict (contact, list_id) do update set state = 'subscribed' where state = 'excluded'",
        [(contact["contact"], number, stamps.get(number, store.now())) for number in lists],
    )


def _tag(db: sqlite3.Connection, contact: sqlite3.Row, names: list[str], *, replace: bool) -> None:
    if replace:
        db.execute("delete from contact_tags where contact = ?", (contact["contact"],))
    db.executemany("insert or ignore into tags (name) values (?)", [(name,) for name in names])
    db.executemany(
        "insert or ignore into contact_tags (contact, tag) select ?, id from tags where name = ?",
        [(contact["contact"], name) for name in names],
    )
