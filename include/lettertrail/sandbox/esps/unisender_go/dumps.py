"""Event dumps: asked for now, ready later, fetched as CSV files of up to 100 000 events each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
import uuid
from collections.abc import Sequence

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump
from lettertrail.sandbox.esps.unisender_go.store import KEPT, PROJECT_ID, UnisenderGoStore
from lettertrail.sandbox.esps.unisender_go.wire import Call, Handler, Json, Refusal, invalid, utc_text

FILES = "/files/event-dump/"
NEXT = {"queued": "in_process", "in_process": "ready", "ready": "ready"}
MAX_DUMPS = 10
MAX_EVENTS = 100_000_000
COLUMNS = (
    "project_id",
    "event_time",
    "job_id",
    "from_email",
    "email",
    "status",
    "delivery_status",
    "metadata",
    "destination_response",
    "user_agent",
    "url",
    "ip",
    "tags",
    "subject",
)
FILTERS = ("job_id", "status", "delivery_status", "email", "email_from", "domain", "campaign_id")

methods: Methods[Handler] = Methods()


@methods.on("event-dump/create")
def create(store: UnisenderGoStore, call: Call) -> Json:
    """Asks for the events from `start_time` to `end_time`."""
    asked = call.object("filter")
    if not set(asked) <= set(FILTERS):
        raise invalid(f"Field 'filter' may hold {', '.join(FILTERS)}")
    columns = call.body.get("dump_fields") or list(COLUMNS)
    if not isinstance(columns, list) or not set(map(str, columns)) <= set(COLUMNS):
        raise invalid(f"Field 'dump_fields' may hold {', '.join(COLUMNS)}")
    delimiter, form = call.text("delimiter", ","), call.text("format", "csv")
    if len(delimiter) != 1:
        raise invalid("Field 'delimiter' must be one character")
    if form not in {"csv", "csv_gzip"}:
        raise invalid("Field 'format' must be csv or csv_gzip")
    if call.text("aggregate") not in {"", "day_status"}:
        raise invalid("Field 'aggregate' must be day_status")
    wanted = {
        "start_time": call.moment("start_time") or _must("start_time"),
        "end_time": call.moment("end_time") or "9",
        "limit": call.whole("limit", MAX_EVENTS, maximum=MAX_EVENTS),
        "filter": asked,
        "columns": columns,
        "delimiter": delimiter,
        "format": form,
        "aggregate": call.text("aggregate"),
    }
    dump_id = str(uuid.uuid4())
    with store.transaction() as db:
        if store.number("select count(*) from dumps") >= MAX_DUMPS:
            raise Refusal(3309, f"No more than {MAX_DUMPS} dumps may exist at once")
        db.execute(
            "insert into dumps (dump_id, dump_status, params, created) values (?, 'queued', ?, ?)",
            (dump_id, dump(wanted), store.now()),
        )
    return {"status": "success", "dump_id": dump_id}


def _must(name: str) -> str:
    raise invalid(f"Field '{name}' is required")


@methods.on("event-dump/get")
def get(store: UnisenderGoStore, call: Call) -> Json:
    """The state of a dump, which goes one state on with every question; the files are there when it is ready."""
    with store.transaction() as db:
        row = _dump(store, call)
        status = NEXT[row["dump_status"]]
        if status == "ready" and row["dump_status"] != "ready":
            for part, content in enumerate(_parts(store, json.loads(row["params"])), start=1):
                db.execute(
                    "insert into dump_files (dump_id, part, content) values (?, ?, ?)", (row["dump_id"], part, content)
                )
        db.execute("update dumps set dump_status = ? where dump_id = ?", (status, row["dump_id"]))
        return {"status": "success", "event_dump": _shown(store, _dump(store, call), call.base_url)}


@methods.on("event-dump/list")
def list_dumps(store: UnisenderGoStore, call: Call) -> Json:
    """All dumps; looking at them does not help them on."""
    rows = store.rows("select * from dumps order by created, rowid")
    return {"status": "success", "event_dumps": [_shown(store, row, call.base_url) for row in rows]}


@methods.on("event-dump/delete")
def delete(store: UnisenderGoStore, call: Call) -> Json:
    """Removes a dump and its files."""
    with store.transaction() as db:
        db.execute("delete from dumps where dump_id = ?", (_dump(store, call)["dump_id"],))
    return {"status": "success"}


def file(store: UnisenderGoStore, path: str) -> tuple[bytes, str] | None:
    """A file of a dump and its media type; None when there is none."""
    dump_id, _, name = path.removeprefix(FILES).partition("/")
    part = name.partition(".")[0]
    found = store.row("select content from dump_files where dump_id = ? and part = ?", dump_id, part)
    if found is None:
        return None
    return bytes(found["content"]), "application/gzip" if name.endswith(".gz") else "text/csv"


def _dump(store: UnisenderGoStore, call: Call) -> sqlite3.Row:
    found = store.row("select * from dumps where dump_id = ?", call.required("dump_id"))
    if found is None:
        raise Refusal(3301, "The dump is not found", status=404)
    return found


def _shown(store: UnisenderGoStore, row: sqlite3.Row, base_url: str) -> Json:
    ending = "csv.gz" if json.loads(row["params"])["format"] == "csv_gzip" else "csv"
    files = store.rows(
        "select part, length(content) as size from dump_files where dump_id = ? order by part", row["dump_id"]
    )
    return {
        "dump_id": row["dump_id"],
        "dump_status": row["dump_status"],
        "files": [
            {"url": f"{base_url}{FILES}{row['dump_id']}/{found['part']}.{ending}", "size": found["size"]}
            for found in files
        ],
    }


def _parts(store: UnisenderGoStore, wanted: Json) -> list[bytes]:
    if wanted["aggregate"]:
        columns, rows = ("date", "status", "count"), _by_day(store, wanted)
    else:
        columns, rows = tuple(wanted["columns"]), [_cells(row, wanted["columns"]) for row in _events(store, wanted)]
    size = store.rows_per_file
    parts = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
    return [_csv(columns, part, wanted) for part in parts]


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]], wanted: Json) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=wanted["delimiter"], lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    raw = text.getvalue().encode()
    return gzip.compress(raw, mtime=0) if wanted["format"] == "csv_gzip" else raw


def _events(store: UnisenderGoStore, wanted: Json) -> list[sqlite3.Row]:
    asked = {name: str(wanted["filter"].get(name, "")) for name in FILTERS}
    return store.rows(
        "select e.*, j.from_email, j.subject, j.tags, coalesce(l.metadata, '{}') as metadata "
        "from events e join jobs j on j.job_id = e.job_id "
        "left join letters l on l.job_id = e.job_id and l.email = e.email "
        "where e.event_time >= ? and e.event_time >= ? and e.event_time < ? "
        "and (? = '' or e.job_id = ?) and (? = '' or e.status = ?) and (? = '' or e.delivery_status = ?) "
        "and (? = '' or e.email = lower(?)) and (? = '' or j.from_email = ?) "
        "and (? = '' or e.email like '%@' || ?) "
        "and (? = '' or json_extract(l.metadata, '$.campaign_id') = ?) "
        "order by e.event_time, e.number limit ?",
        utc_text(store.moment - KEPT),
        wanted["start_time"],
        wanted["end_time"],
        *(value for name in FILTERS for value in (asked[name],) * 2),
        wanted["limit"],
    )


def _cells(row: sqlite3.Row, columns: Sequence[str]) -> list[str]:
    cells = dict(row) | {"project_id": PROJECT_ID, "tags": ",".join(json.loads(row["tags"]))}
    return [str(cells[name]) for name in columns]


def _by_day(store: UnisenderGoStore, wanted: Json) -> list[list[str]]:
    counts: dict[tuple[str, str], int] = {}
    for row in _events(store, wanted):
        group = (row["event_time"][:10], row["status"])
        counts[group] = counts.get(group, 0) + 1
    return [[day, status, str(count)] for (day, status), count in sorted(counts.items())]
