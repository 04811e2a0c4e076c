"""Writing a contact: who is the same person, which fields are touched, which are cleared."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from lettertrail.sandbox.esps.esputnik.wire import bad
from lettertrail.sandbox.esps.shell import Json, dump, is_address, key_of

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.esputnik.store import EsputnikStore

MAX_NAME = 40
COLUMNS = {
    "firstName": "first_name",
    "lastName": "last_name",
    "email": "email",
    "sms": "sms",
    "contactKey": "contact_key",
    "externalCustomerId": "external_id",
    "languageCode": "language",
    "timeZone": "time_zone",
}
ADDRESS_PARTS = ("region", "town", "address", "postcode", "countryCode")
DEDUPE = {"email": "key", "sms": "sms", "externalCustomerId": "external_id", "id": "id"}


def check_contact(given: Json, *, needs_locator: bool = True) -> None:
    """Whether a contact can be written at all.

    Raises:
        Refused: 400 with the reason.
    """
    problem = problem_of(given, needs_locator=needs_locator)
    if problem:
        raise bad(problem)


def problem_of(given: Any, *, needs_locator: bool = True) -> str | None:
    """Why a contact cannot be written; None when it can."""
    if not isinstance(given, dict):
        return "Contact must be an object"
    for name in ("firstName", "lastName"):
        if len(str(given.get(name) or "")) > MAX_NAME:
            return f"{name}: maximum length is {MAX_NAME}"
    email = standard_value(given, "email")
    if email is not None and not is_address(email):
        return "Invalid email"
    has_locator = any(standard_value(given, name) for name in ("email", "sms", "externalCustomerId")) or given.get("id")
    return None if has_locator or not needs_locator else "Contact must have at least one channel"


def standard_value(given: Json, name: str) -> Any:
    """The value of a standard field; None when the contact does not bring it."""
    if name in {"email", "sms"}:
        channels = given.get("channels")
        for channel in channels if isinstance(channels, list) else []:
            if isinstance(channel, dict) and channel.get("type") == name:
                return channel.get("value")
        return None
    if name in ADDRESS_PARTS:
        address = given.get("address")
        return address.get(name) if isinstance(address, dict) else None
    return given.get(name)


def find_same(
    store: EsputnikStore, given: Json, *, dedupe_on: str | None = None, field_id: Any = None
) -> sqlite3.Row | None:
    """The contact this is about, deleted ones included; by the usual order of marks unless one is named."""
    if dedupe_on == "fieldId":
        return _by_field(store, given, str(field_id))
    for name in (dedupe_on,) if dedupe_on else ("id", "externalCustomerId", "email", "sms"):
        value = standard_value(given, name)
        if not value or name not in DEDUPE:
            continue
        wanted = key_of(str(value)) if name == "email" else str(value)
        row = store.row(f"select * from contacts where {DEDUPE[name]} = ? order by is_deleted, id", wanted)  # noqa: S608
        if row is not None:
            return row
    return None


def write_contact(
    store: EsputnikStore,
    given: Json,
    current: sqlite3.Row | None,
    *,
    contact_fields: list[str] | None = None,
    field_ids: list[str] | None = None,
) -> int:
    """Creates or changes one contact and gives its id.

    A list of fields decides alone what is written: what it names and the contact does not bring is cleared, what the
    contact brings and it does not name is passed over. Without a list everything that is brought is written.
    """
    names = contact_fields if contact_fields is not None and current is not None else _brought(given)
    values: Json = {COLUMNS[name]: _text(standard_value(given, name)) for name in names if name in COLUMNS}
    if "email" in values:
        values["key"] = key_of(values["email"]) if values["email"] else None
    values["address"] = dump(_address(given, names, current))
    values["fields"] = dump(_custom(given, field_ids, current))
    values["is_deleted"] = 0
    with store.transaction() as db:
        if current is None:
            values["created_at"] = store.now()
            marks = ", ".join("?" * len(values))
            cursor = db.execute(
                f"insert into contacts ({', '.join(values)}) values ({marks})",  # noqa: S608
                tuple(values.values()),
            )
            return int(cursor.lastrowid or 0)
        pairs = ", ".join(f"{column} = ?" for column in values)
        db.execute(f"update contacts set {pairs} where id = ?", (*values.values(), current["id"]))  # noqa: S608
        return int(current["id"])


def add_to_groups(store: EsputnikStore, contact_id: int, groups: Any) -> None:
    """Puts a contact into groups by id or name; an unknown name makes a static group."""
    for group in groups if isinstance(groups, list) else []:
        if not isinstance(group, dict):
            raise bad("groups must hold objects with id or name")
        number = group.get("id") or group_named(store, str(group.get("name") or ""))
        row = store.row("select * from groups where id = ?", str(number))
        if row is None or row["type"] != "Static":
            raise bad("Group not found or not static")
        with store.transaction() as db:
            db.execute("insert or ignore into group_contacts values (?, ?)", (row["id"], contact_id))


def group_named(store: EsputnikStore, name: str) -> int:
    """The group of that name, made when missing."""
    if not name:
        raise bad("Group name must not be empty")
    found = store.row("select id from groups where name = ?", name)
    return int(found["id"]) if found is not None else store.add_group(name)


def _by_field(store: EsputnikStore, given: Json, field_id: str) -> sqlite3.Row | None:
    value = _given_fields(given).get(field_id)
    if value is None:
        return None
    return store.row(
        "select * from contacts where cast(json_extract(fields, ?) as text) = ? order by is_deleted, id",
        f'$."{field_id}"',
        str(value),
    )


def _brought(given: Json) -> list[str]:
    return [name for name in (*COLUMNS, *ADDRESS_PARTS) if standard_value(given, name) is not None]


def _address(given: Json, names: list[str], current: sqlite3.Row | None) -> Json:
    address: Json = {} if current is None else json.loads(current["address"])
    for name in ADDRESS_PARTS:
        if name in names:
            address[name] = _text(standard_value(given, name))
    return {name: value for name, value in address.items() if value}


def _custom(given: Json, field_ids: list[str] | None, current: sqlite3.Row | None) -> Json:
    values: Json = {} if current is None else json.loads(current["fields"])
    brought = _given_fields(given)
    if field_ids is None or current is None:
        return values | brought
    changed = values | {number: brought.get(number) for number in field_ids}
    return {number: value for number, value in changed.items() if value is not None}


def _given_fields(given: Json) -> Json:
    fields = given.get("fields")
    rows = fields if isinstance(fields, list) else []
    return {str(row["id"]): row.get("value") for row in rows if isinstance(row, dict) and "id" in row}


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
