"""Lists, fields and tags."""

from __future__ import annotations

import sqlite3

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.unisender.store import UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, invalid, missing

FIELD_TYPES = ("string", "text", "number", "date", "bool")
SYSTEM_NAMES = frozenset({"email", "phone", "tags", "delete"})

methods: Methods[Handler] = Methods()


def require_lists(store: UnisenderStore, numbers: list[int]) -> list[int]:
    """The same ids, all known.

    Raises:
        Refusal: `object_not_found`.
    """
    known = {row["id"] for row in store.rows("select id from lists")}
    for number in numbers:
        if number not in known:
            raise missing(f"List '{number}' is not found")
    return numbers


@methods.on("getLists")
def get_lists(store: UnisenderStore, call: Call) -> list[Json]:
    """All lists; there are no pages."""
    return [{"id": row["id"], "title": row["title"]} for row in store.rows("select * from lists order by id")]


@methods.on("createList")
def create_list(store: UnisenderStore, call: Call) -> Json:
    """Adds a list; a title that is taken is refused."""
    title = call.required("title")
    with store.transaction() as db:
        if store.row("select 1 from lists where title = ?", title):
            raise invalid(f"List with title '{title}' already exists")
        cursor = db.execute(
            "insert into lists (title, before_subscribe_url, after_subscribe_url) values (?, ?, ?)",
            (title, call.text("before_subscribe_url"), call.text("after_subscribe_url")),
        )
        return {"id": cursor.lastrowid}


@methods.on("updateList")
def update_list(store: UnisenderStore, call: Call) -> Json:
    """Changes the title."""
    number, title = call.whole("list_id"), call.required("title")
    require_lists(store, [number])
    with store.transaction() as db:
        db.execute("update lists set title = ? where id = ?", (title, number))
    return {}


@methods.on("deleteList")
def delete_list(store: UnisenderStore, call: Call) -> Json:
    """Removes a list; its contacts stay."""
    number = call.whole("list_id")
    require_lists(store, [number])
    with store.transaction() as db:
        db.execute("delete from lists where id = ?", (number,))
    return {}


@methods.on("getFields")
def get_fields(store: UnisenderStore, call: Call) -> list[Json]:
    """The account's own fields."""
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "type": row["type"],
            "is_visible": row["is_visible"],
            "view_pos": row["view_pos"],
            "public_name": row["public_name"],
        }
        for row in store.rows("select * from fields order by view_pos, id")
    ]


def field_names(store: UnisenderStore) -> list[str]:
    """The names of the account's own fields."""
    return [row["name"] for row in store.rows("select name from fields order by view_pos, id")]


@methods.on("createField")
def create_field(store: UnisenderStore, call: Call) -> Json:
    """Adds a field; a name that is taken, or that means something already, is refused."""
    name, kind = call.required("name"), call.required("type")
    if kind not in FIELD_TYPES:
        raise invalid(f"Argument 'type' must be one of {', '.join(FIELD_TYPES)}")
    if name.lower() in SYSTEM_NAMES or not name.replace("_", "").isalnum() or name[0].isdecimal():
        raise invalid(f"Field name '{name}' is not allowed")
    with store.transaction() as db:
        if store.row("select 1 from fields where lower(name) = lower(?)", name):
            raise invalid(f"Field with name '{name}' already exists")
        position = 1 + store.number("select max(view_pos) from fields")
        cursor = db.execute(
            "insert into fields (name, type, public_name, view_pos) values (?, ?, ?, ?)",
            (name, kind, call.text("public_name") or name, position),
        )
        return {"id": cursor.lastrowid}


@methods.on("updateField")
def update_field(store: UnisenderStore, call: Call) -> Json:
    """Changes name and public name; the type stays."""
    row = _field(store, call)
    with store.transaction() as db:
        db.execute(
            "update fields set name = ?, public_name = ? where id = ?",
            (call.text("name") or row["name"], call.text("public_name") or row["public_name"], row["id"]),
        )
    return {"id": row["id"]}


@methods.on("deleteField")
def delete_field(store: UnisenderStore, call: Call) -> Json:
    """Removes a field."""
    row = _field(store, call)
    with store.transaction() as db:
        db.execute("delete from fields where id = ?", (row["id"],))
    return {}


def _field(store: UnisenderStore, call: Call) -> sqlite3.Row:
    found = store.row("select * from fields where id = ?", call.whole("id"))
    if found is None:
        raise missing("Field is not found")
    return found


@methods.on("getTags")
def get_tags(store: UnisenderStore, call: Call) -> list[Json]:
    """All tags."""
    return [{"id": row["id"], "name": row["name"]} for row in store.rows("select * from tags order by id")]


@methods.on("deleteTag")
def delete_tag(store: UnisenderStore, call: Call) -> Json:
    """Removes a tag from everybody."""
    number = call.whole("id")
    with store.transaction() as db:
        if db.execute("delete from tags where id = ?", (number,)).rowcount == 0:
            raise missing("Tag is not found")
    return {}
