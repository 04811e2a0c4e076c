"""Exports: asked for now, complete later, fetched as a zip with one CSV file."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import uuid
import zipfile
from collections.abc import Iterable, Sequence

from lettertrail.sandbox.esps.mandrill.store import MandrillStore, shown
from lettertrail.sandbox.esps.mandrill.wire import Call, Handler, Json, Refusal, fine_text, invalid, utc_text
from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump

FILES = "/files/export/"
NEXT = {"waiting": "working", "working": "complete", "complete": "complete"}
STATES = ("sent", "rejected", "bounced", "soft-bounced", "spam", "unsub")
LAST_WORDS = {"spam": "spam", "unsub": "unsub", "hard_bounce": "bounced", "soft_bounce": "soft-bounced"}
"""The state in the file by the strongest event, strongest first."""
ACTIVITY = (
    "Date",
    "Email Address",
    "Sender",
    "Subject",
    "Status",
    "Tags",
    "Subaccount",
    "Opens",
    "Clicks",
    "Bounce Detail",
)

methods: Methods[Handler] = Methods()


@methods.on("exports/activity")
def activity(store: MandrillStore, call: Call) -> Json:
    """Asks for all messages, or those of a window, some tags, senders or states."""
    states = call.texts("states")
    if not set(states) <= set(STATES):
        raise invalid('{"states":"Please enter known states"}')
    wanted = {
        "begin": call.seconds("date_from"),
        "end": call.seconds("date_to", is_end=True),
        "tags": call.texts("tags"),
        "senders": call.texts("senders"),
        "states": states,
    }
    return _begin(store, call, "activity", wanted)


@methods.on("exports/rejects")
def rejects(store: MandrillStore, call: Call) -> Json:
    """Asks for everybody who is rejected."""
    return _begin(store, call, "reject", {})


@methods.on("exports/allowlist", "exports/whitelist")
def allowlist(store: MandrillStore, call: Call) -> Json:
    """Asks for everybody who is always allowed."""
    return _begin(store, call, "allowlist", {})


def _begin(store: MandrillStore, call: Call, kind: str, wanted: Json) -> Json:
    number = str(uuid.uuid4())
    with store.transaction() as db:
        db.execute(
            "insert into exports (id, type, state, params, created_at) values (?, ?, 'waiting', ?, ?)",
            (number, kind, dump(wanted), store.seconds()),
        )
        return _shown(_export(store, number), call.base_url)


@methods.on("exports/info")
def info(store: MandrillStore, call: Call) -> Json:
    """The state of an export, which goes one state on with every question; the link is there when it is complete."""
    with store.transaction() as db:
        row = _export(store, call.required("id"))
        state = NEXT[row["state"]]
        if state == "complete" and row["state"] != "complete":
            db.execute(
                "update exports set content = ?, finished_at = ? where id = ?",
                (_content(store, row), store.seconds(), row["id"]),
            )
        db.execute("update exports set state = ? where id = ?", (state, row["id"]))
        return _shown(_export(store, row["id"]), call.base_url)


@methods.on("exports/list")
def list_exports(store: MandrillStore, call: Call) -> list[Json]:
    """All exports; looking at them does not help them on."""
    return [_shown(row, call.base_url) for row in store.rows("select * from exports order by created_at desc, id")]


def file(store: MandrillStore, path: str) -> bytes | None:
    """The zip of a complete export; None when there is none."""
    number = path.removeprefix(FILES).removesuffix(".zip")
    found = store.row("select content from exports where id = ? and content is not null", number)
    return None if found is None else bytes(found["content"])


def _export(store: MandrillStore, number: str) -> sqlite3.Row:
    found = store.row("select * from exports where id = ?", number)
    if found is None:
        raise Refusal("Unknown_Export", "No export exists with the id given")
    return found


def _shown(row: sqlite3.Row, base_url: str) -> Json:
    return {
        "id": row["id"],
        "created_at": fine_text(row["created_at"]),
        "type": row["type"],
        "finished_at": None if row["finished_at"] is None else utc_text(row["finished_at"]),
        "state": row["state"],
        "result_url": f"{base_url}{FILES}{row['id']}.zip" if row["state"] == "complete" else None,
    }


def _content(store: MandrillStore, export: sqlite3.Row) -> bytes:
    if export["type"] == "activity":
        name, text = "activity.csv", _csv(ACTIVITY, _activity(store, json.loads(export["params"])))
    elif export["type"] == "reject":
        rows = store.rows("select * from rejects order by number")
        cells = ([r["email"], r["reason"], r["detail"], utc_text(r["created_at"]), r["subaccount"]] for r in rows)
        name, text = "rejects.csv", _csv(("Email Address", "Reason", "Detail", "Created", "Subaccount"), cells)
    else:
        rows = store.rows("select * from allowed order by created_at")
        cells = ([row["email"], row["detail"], utc_text(row["created_at"])] for row in rows)
        name, text = "allowlist.csv", _csv(("Email Address", "Detail", "Created"), cells)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return packed.getvalue()


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _activity(store: MandrillStore, wanted: Json) -> Iterable[list[object]]:
    rows = store.rows(
        "select * from messages where ts >= ? and ts <= ? order by ts, number",
        wanted["begin"] or 0,
        store.seconds() if wanted["end"] is None else wanted["end"],
    )
    for row in rows:
        message = shown(store, row)
        state = _state(store, row)
        if wanted["states"] and state not in wanted["states"]:
            continue
        if wanted["senders"] and row["sender"] not in wanted["senders"]:
            continue
        if wanted["tags"] and not set(wanted["tags"]) & set(message["tags"]):
            continue
        yield [
            utc_text(row["ts"]),
            row["email"],
            row["sender"],
            row["subject"],
            state,
            ",".join(message["tags"]),
            row["subaccount"] or "",
            message["opens"],
            message["clicks"],
            message["diag"] or "",
        ]


def _state(store: MandrillStore, row: sqlite3.Row) -> str:
    words = {found["event"] for found in store.rows("select event from events where message_id = ?", row["id"])}
    return next((state for word, state in LAST_WORDS.items() if word in words), str(row["state"]))
