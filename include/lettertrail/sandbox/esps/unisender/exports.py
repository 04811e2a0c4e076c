"""What is asked for now and fetched later: contacts and delivery states as CSV files."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from lettertrail.sandbox.esps.methods import Methods
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.unisender.campaigns import delivery_stats, require_campaign
from lettertrail.sandbox.esps.unisender.importing import SYSTEM_COLUMNS
from lettertrail.sandbox.esps.unisender.lists import field_names, require_lists
from lettertrail.sandbox.esps.unisender.store import STATUSES, UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Call, Handler, Json, invalid, missing

FILES = "/files/export/"
NEXT = {"new": "processing", "processing": "completed", "completed": "completed"}

methods: Methods[Handler] = Methods()


@methods.on("async/exportContacts")
def export_contacts(store: UnisenderStore, call: Call) -> Json:
    """Asks for contacts, all or those of a list, a tag, a status or an address."""
    columns = [str(name) for name in call.array("field_names")]
    unknown = sorted(set(columns) - set(SYSTEM_COLUMNS) - set(field_names(store)))
    if unknown:
        raise invalid(f"Field '{unknown[0]}' is unknown")
    status = call.text("email_status")
    if status and status not in STATUSES:
        raise invalid(f"Argument 'email_status' must be one of {', '.join(STATUSES)}")
    if call.text("list_id"):
        require_lists(store, [call.whole("list_id")])
    wanted: Json = {name: call.text(name) for name in ("list_id", "email", "tag", "email_status")}
    return _begin(store, call, "exportContacts", wanted | {"field_names": columns})


@methods.on("async/getCampaignDeliveryStats")
def export_delivery_stats(store: UnisenderStore, call: Call) -> Json:
    """Asks for the states of all recipients of a campaign."""
    campaign = require_campaign(store, call.whole("campaign_id"))
    wanted: Json = {
        "campaign_id": campaign["id"],
        "changed_since": call.moment("changed_since"),
        "field_ids": call.id_array("field_ids"),
    }
    return _begin(store, call, "getCampaignDeliveryStats", wanted)


def _begin(store: UnisenderStore, call: Call, kind: str, wanted: Json) -> Json:
    number = str(uuid.uuid4())
    with store.transaction() as db:
        db.execute(
            "insert into tasks (task_uuid, task_type, status, params, notify_url) values (?, ?, 'new', ?, ?)",
            (number, kind, dump(wanted), call.text("notify_url")),
        )
    return {"task_uuid": number, "status": "new"}


@methods.on("async/getTaskResult")
def get_task_result(store: UnisenderStore, call: Call) -> Json:
    """The state of a task, which goes one state on with every question; the file is there when it is completed."""
    with store.transaction() as db:
        row = store.row("select * from tasks where task_uuid = ?", call.required("task_uuid"))
        if row is None:
            raise missing("Task is not found")
        status = NEXT[row["status"]]
        if row["status"] != "completed":
            content = _content(store, row) if status == "completed" else None
            db.execute(
                "update tasks set status = ?, content = ? where task_uuid = ?", (status, content, row["task_uuid"])
            )
        answer = {"task_uuid": row["task_uuid"], "task_type": row["task_type"], "status": status}
        if status == "completed":
            answer["file_to_download"] = f"{call.base_url}{FILES}{row['task_uuid']}.csv"
        return answer


def file(store: UnisenderStore, path: str) -> bytes | None:
    """The CSV of a completed task; None when there is none."""
    found = store.row("select content from tasks where task_uuid = ?", path.removeprefix(FILES).removesuffix(".csv"))
    return None if found is None or found["content"] is None else str(found["content"]).encode()


def _content(store: UnisenderStore, task: sqlite3.Row) -> str:
    wanted: Json = json.loads(task["params"])
    if task["task_type"] == "exportContacts":
        columns = wanted["field_names"] or [*SYSTEM_COLUMNS, *field_names(store)]
        return _csv(columns, (_cells(store, row, columns) for row in _contacts(store, wanted)))
    table = delivery_stats(store, wanted["campaign_id"], wanted["changed_since"], wanted["field_ids"])
    return _csv(table["fields"], table["data"])


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _contacts(store: UnisenderStore, wanted: Json) -> list[sqlite3.Row]:
    return store.rows(
        "select * from contacts c where (? = '' or email = ?) and (? = '' or status = ?) "
        "and (? = '' or exists (select 1 from memberships m where m.contact = c.contact and m.list_id = ?)) "
        "and (? = '' or exists (select 1 from contact_tags x join tags t on t.id = x.tag "
        "where x.contact = c.contact and t.name = ?)) order by contact",
        *(key_of(wanted["email"]),) * 2,
        *(wanted["email_status"],) * 2,
        *(wanted["list_id"],) * 2,
        *(wanted["tag"],) * 2,
    )


def _cells(store: UnisenderStore, contact: sqlite3.Row, columns: Sequence[str]) -> list[str]:
    lists = store.rows("select * from memberships where contact = ? order by list_id", contact["contact"])
    by_state = {
        state: ",".join(str(row["list_id"]) for row in lists if row["state"] == state)
        for state in ("subscribed", "unsubscribed", "excluded")
    }
    tags = store.rows(
        "select t.name from contact_tags x join tags t on t.id = x.tag where x.contact = ? order by t.id",
        contact["contact"],
    )
    cells = {
        "email": contact["email_address"],
        "phone": contact["phone"],
        "delete": "0",
        "tags": ",".join(row["name"] for row in tags),
        "email_status": contact["status"],
        "email_availability": contact["availability"],
        "email_list_ids": by_state["subscribed"],
        "email_subscribe_times": ",".join(row["added_at"] for row in lists if row["state"] == "subscribed"),
        "email_unsubscribed_list_ids": by_state["unsubscribed"],
        "email_excluded_list_ids": by_state["excluded"],
    }
    own: dict[str, str] = json.loads(contact["fields"])
    return [str(cells.get(name, own.get(name, ""))) for name in columns]
