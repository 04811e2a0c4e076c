"""Tags and static segments: two views of the same thing. Saved segments are stored and counted as empty."""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from lettertrail.sandbox.esps.mailchimp.members import (
    find_member,
    member_json,
    require_list,
    require_member,
    tags_of,
)
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

MAX_CHANGE = 500
SKIPPED = "Email address does not exist on this list or is not subscribed"

router = Router()


def set_tags(store: MailchimpStore, row: sqlite3.Row, names: Any, *, replace: bool) -> None:
    """Gives a member tags by name; `replace` takes away the others. An unknown tag is created.

    Raises:
        Problem: 400 when `names` is no list of texts.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid_resource(("tags", "Schema describes array of strings"))
    before = {tag["name"] for tag in tags_of(store, row["member"])}
    change_tags(store, row, add=set(names) - before, remove=before - set(names) if replace else ())


def change_tags(store: MailchimpStore, row: sqlite3.Row, *, add: Iterable[str], remove: Iterable[str]) -> None:
    """Adds and removes tags by name and moves `last_changed` when anything changed."""
    changed = 0
    with store.transaction() as db:
        for name in sorted(add):
            segment_id = _tag_id(store, row["list_id"], name)
            changed += _join(store, segment_id, row["member"])
        for name in sorted(remove):
            changed += db.execute(
                "delete from segment_members where member = ? and segment_id in "
                "(select id from segments where list_id = ? and name = ?)",
                (row["member"], row["list_id"], name),
            ).rowcount
        if changed:
            db.execute("update members set last_changed = ? where member = ?", (store.now(), row["member"]))


def _join(store: MailchimpStore, segment_id: int, member: int) -> int:
    with store.transaction() as db:
        return db.execute(
            "insert or ignore into segment_members (segment_id, member, added_at) values (?, ?, ?)",
            (segment_id, member, store.now()),
        ).rowcount


def _tag_id(store: MailchimpStore, list_id: str, name: str) -> int:
    found = store.row("select id from segments where list_id = ? and name = ?", list_id, name)
    return int(found["id"]) if found else _create(store, list_id, name, kind="static", options=None)


def _create(store: MailchimpStore, list_id: str, name: str, *, kind: str, options: Json | None) -> int:
    now = store.now()
    with store.transaction() as db:
        cursor = db.execute(
            "insert into segments (list_id, name, type, options, created_at, updated_at) values (?, ?, ?, ?, ?, ?)",
            (list_id, name, kind, dump(options) if options is not None else None, now, now),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


# --- tags of a member


@router.on("GET", "/lists/{list_id}/members/{key}/tags")
def member_tags(store: MailchimpStore, call: Call) -> Answer:
    """All tags of a member, also those past the 50 of the member itself."""
    row = require_member(store, call.names["list_id"], call.names["key"])
    count, offset = call.page()
    found = store.rows(
        "select s.id, s.name, m.added_at from segment_members m join segments s on s.id = m.segment_id "
        "where m.member = ? and s.type = 'static' order by s.id",
        row["member"],
    )
    tags = [{"id": tag["id"], "name": tag["name"], "date_added": tag["added_at"]} for tag in found]
    return Answer(body={"tags": tags[offset : offset + count], "total_items": len(tags)})


@router.on("POST", "/lists/{list_id}/members/{key}/tags")
def change_member_tags(store: MailchimpStore, call: Call) -> Answer:
    """`tags[] {name, status}`: active adds, inactive removes."""
    tags = call.fields().get("tags")
    if not isinstance(tags, list) or not all(isinstance(t, dict) and t.get("name") for t in tags):
        raise invalid_resource(("tags", "This value should not be blank."))
    if any(tag.get("status") not in {"active", "inactive"} for tag in tags):
        raise invalid_resource(("tags.item:0.status", "Value did not match any of the allowed options"))
    with store.transaction():
        row = require_member(store, call.names["list_id"], call.names["key"])
        change_tags(
            store,
            row,
            add={str(tag["name"]) for tag in tags if tag["status"] == "active"},
            remove={str(tag["name"]) for tag in tags if tag["status"] == "inactive"},
        )
    return Answer(204)


@router.on("GET", "/lists/{list_id}/tag-search")
def search_tags(store: MailchimpStore, call: Call) -> Answer:
    """Tags whose name begins with `name`; all without it."""
    require_list(store, call.names["list_id"])
    found = store.rows(
        "select id, name from segments where list_id = ? and type = 'static' "
        "and instr(lower(name), lower(?)) = 1 order by id",
        call.names["list_id"],
        call.query.get("name", ""),
    )
    return Answer(body={"tags": [dict(row) for row in found], "total_items": len(found)})


# --- segments


def _require_segment(store: MailchimpStore, call: Call) -> sqlite3.Row:
    require_list(store, call.names["list_id"])
    segment_id = call.names["segment_id"]
    found = store.row(
        "select * from segments where list_id = ? and id = ?",
        call.names["list_id"],
        int(segment_id) if segment_id.isdigit() else -1,
    )
    if found is None:
        raise not_found()
    return found


# Counted and listed are those who can be mailed, unless asked otherwise.
def _visible(call: Call) -> str:
    statuses = ["subscribed"]
    for status in ("cleaned", "transactional", "unsubscribed"):
        if call.flag(f"include_{status}"):
            statuses.append(status)
    return ", ".join(f"'{status}'" for status in statuses)


def _segment_json(store: MailchimpStore, row: sqlite3.Row, call: Call) -> Json:
    return {
        "id": row["id"],
        "name": row["name"],
        "member_count": store.number(
            "select count(*) from segment_members s join members m using (member) "
            f"where s.segment_id = ? and m.status in ({_visible(call)})",
            row["id"],
        ),
        "type": row["type"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "options": json.loads(row["options"]) if row["options"] else {"match": "any", "conditions": []},
        "list_id": row["list_id"],
    }


@router.on("GET", "/lists/{list_id}/segments")
def list_segments(store: MailchimpStore, call: Call) -> Answer:
    """Segments by type and by time of creation or change."""
    list_id = call.names["list_id"]
    require_list(store, list_id)
    conditions, values = ["list_id = ?"], [list_id]
    if kind := call.query.get("type"):
        if kind not in {"saved", "static", "fuzzy"}:
            raise invalid_resource(("type", "Value did not match any of the allowed options"))
        conditions.append("type = ?")
        values.append(kind)
    for column in ("created_at", "updated_at"):
        for word, sign in (("since", ">="), ("before", "<")):
            if moment := call.moment(f"{word}_{column}"):
                conditions.append(f"{column} {sign} ?")
                values.append(moment)
    where = " and ".join(conditions)
    count, offset = call.page()
    rows = store.rows(
        f"select * from segments where {where} order by id limit ? offset ?",
        *values,
        count,
        offset,
    )
    return Answer(
        body={
            "segments": [_segment_json(store, row, call) for row in rows],
            "list_id": list_id,
            "total_items": store.number(f"select count(*) from segments where {where}", *values),
        }
    )


@router.on("POST", "/lists/{list_id}/segments")
def create_segment(store: MailchimpStore, call: Call) -> Answer:
    """`{name, static_segment[]}` or `{name, options}`. Unknown addresses in `static_segment` are left out."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    name = fields.get("name")
    if not isinstance(name, str) or not name.strip():
        raise invalid_resource(("name", "This value should not be blank."))
    options, addresses = fields.get("options"), fields.get("static_segment")
    if options is None and not isinstance(addresses, list):
        raise bad_request("A segment needs either static_segment or options.")
    if store.row("select 1 from segments where list_id = ? and name = ?", list_id, name):
        raise bad_request("Sorry, that tag already exists.")
    with store.transaction():
        kind = "saved" if options is not None else "static"
        segment_id = _create(store, list_id, name, kind=kind, options=options)
        for address in addresses or ():
            row = find_member(store, list_id, str(address))
            if row is not None and row["status"] != "archived":
                _join(store, segment_id, row["member"])
                _touch(store, row)
    created = store.row("select * from segments where id = ?", segment_id)
    assert created is not None
    return Answer(body=_segment_json(store, created, call))


@router.on("GET", "/lists/{list_id}/segments/{segment_id}")
def get_segment(store: MailchimpStore, call: Call) -> Answer:
    """One segment."""
    return Answer(body=_segment_json(store, _require_segment(store, call), call))


@router.on("PATCH", "/lists/{list_id}/segments/{segment_id}")
def rename_segment(store: MailchimpStore, call: Call) -> Answer:
    """Renames; `static_segment` replaces the members."""
    with store.transaction() as db:
        segment, fields = _require_segment(store, call), call.fields()
        db.execute(
            "update segments set name = ?, updated_at = ? where id = ?",
            (fields.get("name", segment["name"]), store.now(), segment["id"]),
        )
        if isinstance(addresses := fields.get("static_segment"), list):
            db.execute("delete from segment_members where segment_id = ?", (segment["id"],))
            _add(store, segment, [str(address) for address in addresses])
    return Answer(body=_segment_json(store, _require_segment(store, call), call))


@router.on("DELETE", "/lists/{list_id}/segments/{segment_id}")
def delete_segment(store: MailchimpStore, call: Call) -> Answer:
    """Deletes the segment, not its members."""
    with store.transaction() as db:
        db.execute("delete from segments where id = ?", (_require_segment(store, call)["id"],))
    return Answer(204)


@router.on("POST", "/lists/{list_id}/segments/{segment_id}")
def change_segment_members(store: MailchimpStore, call: Call) -> Answer:
    """Adds and removes up to 500 addresses each. Addresses that are not on the audience are skipped and listed."""
    segment, fields = _require_segment(store, call), call.fields()
    if segment["type"] != "static":
        raise bad_request("Only static segments can be changed by address.")
    add, remove = fields.get("members_to_add") or [], fields.get("members_to_remove") or []
    for name, addresses in (("members_to_add", add), ("members_to_remove", remove)):
        if not isinstance(addresses, list):
            raise invalid_resource((name, "Schema describes array, found something else instead"))
        if len(addresses) > MAX_CHANGE:
            raise invalid_resource((name, f"This collection should contain {MAX_CHANGE} elements or less."))
    with store.transaction() as db:
        added, unknown = _add(store, segment, add)
        removed, not_there = _remove(store, segment, remove)
        if added or removed:
            db.execute("update segments set updated_at = ? where id = ?", (store.now(), segment["id"]))
    errors = [
        {"email_addresses": addresses, "error": text}
        for addresses, text in ((unknown, SKIPPED), (not_there, "Email address is not a member of this segment"))
        if addresses
    ]
    return Answer(
        body={
            "members_added": [member_json(store, row) for row in added],
            "members_removed": [member_json(store, row) for row in removed],
            "errors": errors,
            "total_added": len(added),
            "total_removed": len(removed),
            "error_count": len(errors),
        }
    )


def _add(store: MailchimpStore, segment: sqlite3.Row, addresses: Sequence[str]) -> tuple[list[sqlite3.Row], list[str]]:
    added, unknown = [], []
    for address in addresses:
        row = find_member(store, segment["list_id"], str(address))
        if row is None or row["status"] == "archived":
            unknown.append(str(address))
            continue
        # Adding somebody who is in already is no error, it is simply so.
        if _join(store, segment["id"], row["member"]):
            _touch(store, row)
        added.append(row)
    return added, unknown


def _remove(
    store: MailchimpStore, segment: sqlite3.Row, addresses: Sequence[str]
) -> tuple[list[sqlite3.Row], list[str]]:
    removed, not_there = [], []
    with store.transaction() as db:
        for address in addresses:
            row = find_member(store, segment["list_id"], str(address))
            gone = row is not None and db.execute(
                "delete from segment_members where segment_id = ? and member = ?", (segment["id"], row["member"])
            )
            if row is None or not gone or not gone.rowcount:
                not_there.append(str(address))
                continue
            _touch(store, row)
            removed.append(row)
    return removed, not_there


def _touch(store: MailchimpStore, row: sqlite3.Row) -> None:
    with store.transaction() as db:
        db.execute("update members set last_changed = ? where member = ?", (store.now(), row["member"]))


@router.on("GET", "/lists/{list_id}/segments/{segment_id}/members")
def segment_members(store: MailchimpStore, call: Call) -> Answer:
    """One page of the segment's members; the subscribed ones unless `include_*` asks for more."""
    segment = _require_segment(store, call)
    count, offset = call.page()
    source = (
        "from segment_members s join members m using (member) "
        f"where s.segment_id = ? and m.status in ({_visible(call)})"
    )
    rows = store.rows(f"select m.* {source} order by m.member limit ? offset ?", segment["id"], count, offset)
    return Answer(
        body={
            "members": [member_json(store, row) for row in rows],
            "total_items": store.number(f"select count(*) {source}", segment["id"]),
        }
    )


@router.on("POST", "/lists/{list_id}/segments/{segment_id}/members")
def add_segment_member(store: MailchimpStore, call: Call) -> Answer:
    """Adds one address; unlike the call for many, an unknown one is an error."""
    segment, fields = _require_segment(store, call), call.fields()
    with store.transaction():
        added, unknown = _add(store, segment, [str(fields.get("email_address", ""))])
    if unknown:
        raise bad_request(SKIPPED)
    return Answer(body=member_json(store, require_member(store, call.names["list_id"], added[0]["id"])))


@router.on("DELETE", "/lists/{list_id}/segments/{segment_id}/members/{key}")
def remove_segment_member(store: MailchimpStore, call: Call) -> Answer:
    """Takes one member out of the segment."""
    segment = _require_segment(store, call)
    row = require_member(store, call.names["list_id"], call.names["key"])
    with store.transaction():
        _, not_there = _remove(store, segment, [row["email_address"]])
    if not_there:
        raise not_found()
    return Answer(204)
