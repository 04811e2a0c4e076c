"""Writing members: one by one and in bulk."""

from __future__ import annotations

from lettertrail.sandbox.esps.mailchimp.consent import member_address, upsert
from lettertrail.sandbox.esps.mailchimp.members import find_member, member_json, require_list, require_member
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, subscriber_hash
from lettertrail.sandbox.esps.mailchimp.tags import set_tags
from lettertrail.sandbox.esps.mailchimp.wire import Answer, Call, Json, Problem, Router, bad_request, invalid_resource

MAX_BULK = 500

router = Router()


@router.on("POST", "/lists/{list_id}/members")
def create_member(store: MailchimpStore, call: Call) -> Answer:
    """Creates; a known address is `Member Exists` unless it is archived."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    if fields.get("status") is None:
        raise invalid_resource(("status", "This value should not be blank."))
    with store.transaction():
        current = find_member(store, list_id, member_address(fields, None))
        if current is not None and current["status"] != "archived":
            raise Problem(
                400,
                "Member Exists",
                f"{fields['email_address']} is already a list member. Use PUT to insert or update list members.",
            )
        row = upsert(store, list_id, fields, current=current, skip_merge_validation=call.flag("skip_merge_validation"))
        if fields.get("tags"):
            set_tags(store, row, fields["tags"], replace=False)
        return Answer(body=member_json(store, row))


@router.on("PUT", "/lists/{list_id}/members/{key}")
def put_member(store: MailchimpStore, call: Call) -> Answer:
    """Creates or changes. `status_if_new` counts for a new contact only, `status` overwrites."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    with store.transaction():
        current = find_member(store, list_id, call.names["key"])
        if current is None and fields.get("email_address"):
            current = find_member(store, list_id, str(fields["email_address"]))
        if current is None and fields.get("status_if_new"):
            fields = fields | {"status": fields["status_if_new"]}
        row = upsert(store, list_id, fields, current=current, skip_merge_validation=call.flag("skip_merge_validation"))
        return Answer(body=member_json(store, row))


@router.on("PATCH", "/lists/{list_id}/members/{key}")
def patch_member(store: MailchimpStore, call: Call) -> Answer:
    """Changes what is given."""
    list_id = call.names["list_id"]
    with store.transaction():
        current = require_member(store, list_id, call.names["key"])
        skip = call.flag("skip_merge_validation")
        row = upsert(store, list_id, call.fields(), current=current, skip_merge_validation=skip)
        return Answer(body=member_json(store, row))


@router.on("DELETE", "/lists/{list_id}/members/{key}")
def archive_member(store: MailchimpStore, call: Call) -> Answer:
    """Archives; doing it twice is refused."""
    with store.transaction() as db:
        current = require_member(store, call.names["list_id"], call.names["key"])
        if current["status"] == "archived":
            raise Problem(405, "Method Not Allowed", "This list member cannot be removed. Please contact support.")
        db.execute(
            "update members set status = 'archived', former_status = ?, last_changed = ? where member = ?",
            (current["status"], store.now(), current["member"]),
        )
        store.note_hook(current, "unsubscribe", source="api", action="delete", reason="manual", campaign_id="")
    return Answer(204)


@router.on("POST", "/lists/{list_id}/members/{key}/actions/delete-permanent")
def erase_member(store: MailchimpStore, call: Call) -> Answer:
    """Erases for good; the address cannot be imported again."""
    list_id = call.names["list_id"]
    with store.transaction() as db:
        current = require_member(store, list_id, call.names["key"])
        db.execute("insert or ignore into forgotten (list_id, id) values (?, ?)", (list_id, current["id"]))
        store.note_hook(current, "unsubscribe", source="api", action="delete", reason="manual", campaign_id="")
        db.execute("delete from members where member = ?", (current["member"],))
    return Answer(204)


@router.on("POST", "/lists/{list_id}/members/{key}/events")
def add_event(store: MailchimpStore, call: Call) -> Answer:
    """Accepts an event; its name must be 2 to 30 characters long."""
    require_member(store, call.names["list_id"], call.names["key"])
    if not 2 <= len(str(call.fields().get("name", ""))) <= 30:
        raise invalid_resource(("name", "The name must be between 2 and 30 characters."))
    return Answer(204)


@router.on("POST", "/lists/{list_id}")
def bulk_upsert(store: MailchimpStore, call: Call) -> Answer:
    """Up to 500 members at once. Rows that cannot be written are listed in `errors`; the call itself answers 200."""
    list_id, fields = call.names["list_id"], call.fields()
    require_list(store, list_id)
    members = fields.get("members")
    if not isinstance(members, list):
        raise invalid_resource(("members", "This value should not be blank."))
    if len(members) > MAX_BULK:
        raise bad_request(f"You may only add or update {MAX_BULK} members at a time.")
    outcome = _BulkOutcome()
    seen: set[str] = set()
    with store.transaction():
        for member in members:
            if not isinstance(member, dict):
                outcome.refuse({}, "Schema describes object, found something else instead")
                continue
            hashed = subscriber_hash(str(member.get("email_address", "")).strip())
            if hashed in seen:
                if not call.flag("skip_duplicate_check"):
                    outcome.refuse(member, "Duplicate email addresses are not allowed in one request.")
                continue
            seen.add(hashed)
            _bulk_row(store, call, member, outcome)
    return Answer(body=outcome.body())


class _BulkOutcome:
    def __init__(self) -> None:
        self.created: list[Json] = []
        self.updated: list[Json] = []
        self.errors: list[Json] = []

    def refuse(
        self, member: Json, error: str, *, code: str = "ERROR_GENERIC", field: str = "", message: str = ""
    ) -> None:
        self.errors.append(
            {
                "email_address": str(member.get("email_address", "")),
                "error": error,
                "error_code": code,
                "field": field,
                "field_message": message,
            }
        )

    def body(self) -> Json:
        return {
            "new_members": self.created,
            "updated_members": self.updated,
            "errors": self.errors,
            "total_created": len(self.created),
            "total_updated": len(self.updated),
            "error_count": len(self.errors),
        }


def _bulk_row(store: MailchimpStore, call: Call, member: Json, outcome: _BulkOutcome) -> None:
    list_id, options = call.names["list_id"], call.fields()
    try:
        with store.savepoint():
            current = find_member(store, list_id, member_address(member, None))
            known = current is not None and current["status"] != "archived"
            if known and not options.get("update_existing"):
                outcome.refuse(
                    member,
                    f"{member['email_address']} is already a list member, do you want to update? "
                    "please provide update_existing:true in the request body",
                    code="ERROR_CONTACT_EXISTS",
                )
                return
            row = upsert(
                store, list_id, member, current=current, skip_merge_validation=call.flag("skip_merge_validation")
            )
            if "tags" in member:
                set_tags(store, row, member["tags"], replace=bool(options.get("sync_tags")))
    except Problem as problem:
        first = problem.errors[0] if problem.errors else {}
        outcome.refuse(member, problem.detail, field=first.get("field", ""), message=first.get("message", ""))
        return
    (outcome.updated if known else outcome.created).append(member_json(store, row))
