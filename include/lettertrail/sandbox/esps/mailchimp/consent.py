"""The rules for writing a member.

Consent (esp_apis.md 1.3): who left by an own unsubscribe, a bounce clean-up or a complaint cannot be made `subscribed`
here (`Member In Compliance State`), who was erased cannot return at all (`Forgotten Email Not Subscribed`), and who was
unsubscribed by an API call can be made `subscribed` by another one.
"""

# ruff: noqa: S608  only column names and clauses written here are interpolated; values are always bound

from __future__ import annotations

import json
import re
import sqlite3

from lettertrail.sandbox.esps.mailchimp.members import find_member
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, dump, subscriber_hash, unique_email_id
from lettertrail.sandbox.esps.mailchimp.wire import Json, Problem, invalid_resource, to_utc_text

WRITABLE_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
TIMES = ("timestamp_signup", "timestamp_opt")
PLAIN = ("email_type", "language", "ip_signup", "ip_opt")


def upsert(
    store: MailchimpStore,
    list_id: str,
    fields: Json,
    *,
    current: sqlite3.Row | None,
    skip_merge_validation: bool = False,
) -> sqlite3.Row:
    """Creates or changes a member under the consent rules; gives the row as it is afterwards.

    `last_changed` moves only when something is different afterwards.

    Raises:
        Problem: 400 for invalid fields and for the compliance refusals.
    """
    address = member_address(fields, current)
    hashed = subscriber_hash(address)
    if current is None or current["id"] != hashed:
        if store.row("select 1 from forgotten where list_id = ? and id = ?", list_id, hashed):
            raise Problem(
                400,
                "Forgotten Email Not Subscribed",
                f"{address} was permanently deleted and cannot be re-imported. "
                "The contact must re-subscribe to get back on the list.",
            )
        if current is not None and find_member(store, list_id, hashed):
            raise invalid_resource(("email_address", "This email address is already on the list."))
    status = _new_status(fields, current, address)
    now = store.now()
    values: Json = {"email_address": address, "id": hashed, "status": status}
    values |= _status_side_effects(status, current, now)
    for name in PLAIN:
        if isinstance(fields.get(name), str):
            values[name] = fields[name]
    for name in TIMES:
        if fields.get(name):
            values[name] = to_utc_text(str(fields[name]), where=name)
    if "vip" in fields:
        values["vip"] = int(bool(fields["vip"]))
    known: Json = json.loads(current["merge_fields"]) if current is not None else {}
    given = _object(fields, "merge_fields")
    if not skip_merge_validation:
        check_merge_fields(store, list_id, known | given)
    values["merge_fields"] = dump(known | _known_tags(store, list_id, given))
    values["interests"] = dump(_interests(store, list_id, current, _object(fields, "interests")))
    if "location" in fields:
        values["location"] = dump(_object(fields, "location"))
    with store.transaction() as db:
        if current is None:
            # The address is signed up now unless the caller brings older evidence.
            values = {"timestamp_opt": now if status != "pending" else "", "timestamp_signup": now} | values
            return _insert(store, db, list_id, values, now)
        changed = {name: value for name, value in values.items() if current[name] != value}
        if changed:
            columns = ", ".join(f"{name} = ?" for name in (*changed, "last_changed"))
            db.execute(
                f"update members set {columns} where member = ?",
                (*changed.values(), now, current["member"]),
            )
        found = store.row("select * from members where member = ?", current["member"])
        assert found is not None
        _tell(store, current, found)
    return found


def _tell(store: MailchimpStore, before: sqlite3.Row | None, after: sqlite3.Row) -> None:
    """Has webhooks hear of a change that came by the API."""
    status = after["status"]
    if before is not None and before["email_address"] != after["email_address"]:
        facts = {"new_email": after["email_address"], "old_email": before["email_address"]}
        store.note_hook(after, "upemail", source="api", new_id=unique_email_id(after["member"]), **facts)
    if before is None or before["status"] != status:
        if status == "subscribed":
            store.note_hook(after, "subscribe", source="api")
        elif status == "unsubscribed":
            store.note_hook(after, "unsubscribe", source="api", action="unsub", reason="manual", campaign_id="")
        elif status == "cleaned":
            email = after["email_address"]
            store.note_hook(after, "cleaned", source="api", reason="hard", campaign_id="", email=email)
    elif any(before[name] != after[name] for name in ("merge_fields", "interests", "email_type")):
        store.note_hook(after, "profile", source="api")


def _insert(store: MailchimpStore, db: sqlite3.Connection, list_id: str, values: Json, now: str) -> sqlite3.Row:
    values = values | {"list_id": list_id, "last_changed": now}
    marks = ", ".join("?" * len(values))
    cursor = db.execute(
        f"insert into members ({', '.join(values)}) values ({marks})",
        tuple(values.values()),
    )
    found = store.row("select * from members where member = ?", cursor.lastrowid)
    assert found is not None
    _tell(store, None, found)
    return found


def member_address(fields: Json, current: sqlite3.Row | None) -> str:
    given = fields.get("email_address")
    if given is None and current is not None:
        return str(current["email_address"])
    if not isinstance(given, str) or not given.strip():
        raise invalid_resource(("email_address", "This value should not be blank."))
    given = given.strip()
    if not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", given):
        raise Problem(400, "Invalid Resource", f"{given} looks fake or invalid, please enter a real email address.")
    return given


def _new_status(fields: Json, current: sqlite3.Row | None, address: str) -> str:
    wanted = fields.get("status")
    if wanted is None and current is None:
        wanted = fields.get("status_if_new")
        if wanted is None:
            raise invalid_resource(("status", "This value should not be blank."))
    if wanted is None:
        assert current is not None
        return str(current["status"])
    if wanted not in WRITABLE_STATUSES:
        raise invalid_resource(("status", "Value did not match any of the allowed options"))
    if wanted == "subscribed" and current is not None and current["compliance"]:
        raise Problem(
            400,
            "Member In Compliance State",
            f"{address} is in a compliance state due to unsubscribe, bounce, or compliance review "
            "and cannot be subscribed.",
        )
    return str(wanted)


def _status_side_effects(status: str, current: sqlite3.Row | None, now: str) -> Json:
    if current is not None and current["status"] == status:
        return {}
    effects: Json = {"former_status": None}
    if status == "unsubscribed":
        effects |= {"unsubscribed_at": now, "unsubscribe_reason": "N/A (Unsubscribed by API)"}
    elif status == "cleaned":
        effects["compliance"] = "bounce"
    elif status == "subscribed":
        effects |= {"timestamp_opt": now, "unsubscribed_at": "", "unsubscribe_reason": ""}
    return effects


def _object(fields: Json, name: str) -> Json:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_resource((name, "Schema describes object, found something else instead"))
    return value


def _known_tags(store: MailchimpStore, list_id: str, given: Json) -> Json:
    known = {row["tag"] for row in store.rows("select tag from merge_fields where list_id = ?", list_id)}
    return {tag: value for tag, value in given.items() if tag in known}


def _interests(store: MailchimpStore, list_id: str, current: sqlite3.Row | None, given: Json) -> Json:
    known = {row["id"] for row in store.rows("select id from interests where list_id = ?", list_id)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise invalid_resource((f"interests.{unknown[0]}", "The interest ID does not exist."))
    before: Json = json.loads(current["interests"]) if current is not None else {}
    return before | {name: bool(value) for name, value in given.items()}


def check_merge_fields(store: MailchimpStore, list_id: str, values: Json) -> None:
    """Required fields are filled and typed ones look right.

    Raises:
        Problem: 400 `Invalid Resource` with one entry per field.
    """
    errors: list[tuple[str, str]] = []
    for row in store.rows("select payload from merge_fields where list_id = ? order by merge_id", list_id):
        merge = json.loads(row["payload"])
        value = values.get(merge["tag"], "")
        if value == "":
            if merge.get("required"):
                errors.append((merge["tag"], "Please enter a value"))
        elif merge["type"] == "birthday" and not re.fullmatch(r"\d{1,2}/\d{1,2}", str(value)):
            errors.append((merge["tag"], "Please enter a date in the form MM/DD"))
        elif merge["type"] == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", str(value)):
            errors.append((merge["tag"], "Please enter a number"))
    if errors:
        problem = invalid_resource(*errors)
        problem.detail = "Your merge fields were invalid."
        raise problem
