"""The bulk import: taken now, done later, its state to be asked for."""

from __future__ import annotations

import uuid

from lettertrail.sandbox.esps.esputnik.changes import problem_of
from lettertrail.sandbox.esps.esputnik.importing import ERROR, QUEUED, move
from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import bad, fields_of, missing, rows_of
from lettertrail.sandbox.esps.shell import Answer, Call, Json, dump

router = EsputnikRouter()

MAX_CONTACTS = 3000
DEDUPE_ON = ("email", "sms", "externalCustomerId", "fieldId", "id", "email_or_sms")


@router.on("POST", "/v1/contacts")
def import_contacts(store: EsputnikStore, call: Call) -> Answer:
    """Takes up to 3000 contacts. Those that cannot be written come back at once, the rest is written later."""
    fields = fields_of(call)
    rows = rows_of(fields, "contacts", MAX_CONTACTS)
    dedupe_on = fields.get("dedupeOn") or "email"
    if dedupe_on not in DEDUPE_ON:
        raise bad("Unknown value of dedupeOn")
    if dedupe_on == "fieldId" and not fields.get("fieldId"):
        raise bad("fieldId must be given when dedupeOn is fieldId")
    failed: list[Json] = []
    good: list[Json] = []
    for row in rows:
        problem = problem_of(row, needs_locator=dedupe_on != "fieldId")
        if problem is None:
            good.append(row)
        else:
            # U: the rows as they came, with the reason beside.
            failed.append({**(row if isinstance(row, dict) else {}), "message": problem})
    session = str(uuid.uuid4())
    with store.transaction() as db:
        request = dump({**fields, "contacts": good})
        db.execute("insert into imports values (?, ?, ?, ?)", (session, QUEUED, request, store.now()))
    return Answer({"asyncSessionId": session, "failedContacts": failed})


@router.on("GET", "/v1/importstatus/{session}")
def get_status(store: EsputnikStore, call: Call) -> Answer:
    """Where an import has got to; every question moves it on by one state."""
    session = call.names["session"]
    if store.row("select 1 from imports where session = ?", session) is None:
        raise missing("Import session")
    move(store, session)
    row = store.row("select state from imports where session = ?", session)
    return Answer({"id": session, "status": row["state"] if row else ERROR})
