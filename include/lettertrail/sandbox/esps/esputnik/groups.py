"""Groups: static ones can be changed from here, dynamic and combined ones only be read."""

from __future__ import annotations

import sqlite3

from lettertrail.sandbox.esps.esputnik.contacts import shown
from lettertrail.sandbox.esps.esputnik.importing import go_on
from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import bad, fields_of, missing, page, texts
from lettertrail.sandbox.esps.shell import Answer, Call

router = EsputnikRouter()

MAX_CONTACTS = 3000
"""Contacts in one call (U)."""


@router.on("GET", "/v1/groups")
def list_groups(store: EsputnikStore, call: Call) -> Answer:
    """By pages; `name` may stand anywhere in a group's name."""
    go_on(store)
    limit, offset = page(call)
    wanted = call.query.get("name", "")
    where = "instr(lower(name), lower(?)) > 0"
    rows = store.rows(f"select * from groups where {where} order by id limit ? offset ?", wanted, limit, offset)  # noqa: S608
    total = store.number(f"select count(*) from groups where {where}", wanted)  # noqa: S608
    return Answer(
        [{"id": row["id"], "name": row["name"], "type": row["type"]} for row in rows],
        headers={"TotalCount": str(total)},
    )


@router.on("GET", "/v1/group/{group_id}/contacts")
def list_contacts(store: EsputnikStore, call: Call) -> Answer:
    """The contacts of a group by pages."""
    go_on(store)
    group = _require(store, call)
    limit, offset = page(call)
    # The index of the group gives the order: large groups are read page by page.
    found = (
        "from group_contacts g cross join contacts c on c.id = g.contact_id where g.group_id = ? and c.is_deleted = 0"
    )
    rows = store.rows(f"select c.* {found} order by g.contact_id limit ? offset ?", group["id"], limit, offset)
    total = store.number(f"select count(*) {found}", group["id"])
    return Answer([shown(store, row) for row in rows], headers={"TotalCount": str(total)})


@router.on("POST", "/v1/group/{group_id}/contacts/attach")
def attach(store: EsputnikStore, call: Call) -> Answer:
    """Puts contacts into a static group; the answer is a sentence."""
    numbers = _contacts(store, call)
    with store.transaction() as db:
        group = _require(store, call, is_static=True)
        db.executemany("insert or ignore into group_contacts values (?, ?)", [(group["id"], n) for n in numbers])
    return Answer("Contacts have been attached to the group")


@router.on("POST", "/v1/group/{group_id}/contacts/detach")
def detach(store: EsputnikStore, call: Call) -> Answer:
    """Takes contacts out of a static group."""
    numbers = _contacts(store, call)
    with store.transaction() as db:
        group = _require(store, call, is_static=True)
        db.executemany(
            "delete from group_contacts where group_id = ? and contact_id = ?", [(group["id"], n) for n in numbers]
        )
    return Answer("Contacts have been detached from the group")


def _require(store: EsputnikStore, call: Call, *, is_static: bool = False) -> sqlite3.Row:
    row = store.row("select * from groups where id = ?", call.names["group_id"])
    if row is None:
        raise missing("Group")
    if is_static and row["type"] != "Static":
        raise bad("Group must be static")
    return row


def _contacts(store: EsputnikStore, call: Call) -> list[int]:
    """The contacts that exist, by either kind of id; unknown ids are passed over without a word (U)."""
    fields = fields_of(call)
    ids, externals = texts(fields, "contactIds") or [], texts(fields, "externalCustomerIds") or []
    if not ids and not externals:
        raise bad("contactIds must not be empty")
    if len(ids) + len(externals) > MAX_CONTACTS:
        raise bad(f"contactIds: maximum {MAX_CONTACTS} items")
    found = [store.row("select id from contacts where id = ? and is_deleted = 0", number) for number in ids]
    found += [store.row("select id from contacts where external_id = ? and is_deleted = 0", text) for text in externals]
    return [int(row["id"]) for row in found if row is not None]
