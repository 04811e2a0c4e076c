"""The work of an import, which goes on while other things are asked."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from lettertrail.sandbox.esps.esputnik.changes import find_same, group_named, write_contact
from lettertrail.sandbox.esps.esputnik.wire import texts
from lettertrail.sandbox.esps.shell import Json

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.esputnik.store import EsputnikStore

QUEUED, IMPORTING, FINISHED, ERROR = "QUEUED", "IMPORTING", "FINISHED", "ERROR"
"""U: the names, and that there is a state before IMPORTING, which is shown as IMPORTING too."""


def go_on(store: EsputnikStore) -> None:
    """Imports go on while other things are asked: one state further with each question about contacts."""
    for row in store.rows("select session from imports where state in (?, ?) order by rowid", QUEUED, IMPORTING):
        move(store, row["session"])


def finish(store: EsputnikStore) -> None:
    """All imports are done now."""
    while store.number("select count(*) from imports where state in (?, ?)", QUEUED, IMPORTING):
        go_on(store)


def move(store: EsputnikStore, session: str) -> None:
    """One import goes from one state to the next."""
    with store.transaction() as db:
        row = store.row("select * from imports where session = ?", session)
        if row is None or row["state"] in {FINISHED, ERROR}:
            return
        state = IMPORTING
        if row["state"] == IMPORTING:
            _run(store, row)
            state = FINISHED
        db.execute("update imports set state = ? where session = ?", (state, session))


def _run(store: EsputnikStore, row: sqlite3.Row) -> None:
    request: Json = json.loads(row["request"])
    with store.transaction() as db:
        joined = [group_named(store, name) for name in texts(request, "groupNames") or []]
        left = [group_named(store, name) for name in texts(request, "groupNamesExclude") or []]
        for given in request["contacts"]:
            number = _write(store, request, given)
            if number is None:
                continue
            db.executemany("insert or ignore into group_contacts values (?, ?)", [(group, number) for group in joined])
            db.executemany(
                "delete from group_contacts where group_id = ? and contact_id = ?", [(group, number) for group in left]
            )


def _write(store: EsputnikStore, request: Json, given: Json) -> int | None:
    """None for a contact that was deleted and is not to be restored: it is passed over without a word (U)."""
    dedupe_on = request.get("dedupeOn") or "email"
    current = (
        find_same(store, given, dedupe_on="email") or find_same(store, given, dedupe_on="sms")
        if dedupe_on == "email_or_sms"
        else find_same(store, given, dedupe_on=dedupe_on, field_id=request.get("fieldId"))
    )
    if current is not None and current["is_deleted"] and not request.get("restoreDeleted"):
        return None
    number = write_contact(
        store,
        given,
        current,
        contact_fields=texts(request, "contactFields"),
        field_ids=texts(request, "customFieldsIDs"),
    )
    if current is None and request.get("eventKeyForNewContacts"):
        with store.transaction() as db:
            row = (str(request["eventKeyForNewContacts"]), str(number), store.now())
            db.execute("insert into events (type, value, at) values (?, ?, ?)", row)
    return number
