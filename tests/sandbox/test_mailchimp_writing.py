"""The Mailchimp sandbox takes writes under the real consent rules; tags, batches and webhooks with it."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any

import pytest
import requests
from tests.sandbox.services import Account, problem
from tests.sandbox.small import LIST

from lettertrail.sandbox.esps.mailchimp import subscriber_hash

# --- writing and consent


def put(account: Account, address: str, **fields: Any) -> requests.Response:
    """The upsert of one address."""
    path = f"/lists/{LIST}/members/{subscriber_hash(address)}"
    return account("PUT", path, json={"email_address": address} | fields)


def test_upsert_creates_changes_and_moves_last_changed(account: Account) -> None:
    """`status_if_new` counts for a new contact only; a repeat changes nothing, also not the time."""
    created = put(account, "new@example.com", status_if_new="subscribed", merge_fields={"FNAME": "Nina"}).json()
    assert (created["status"], created["last_changed"]) == ("subscribed", "2026-11-01T00:00:00+00:00")
    account.later(hours=1)
    same = put(account, "new@example.com", status_if_new="unsubscribed", merge_fields={"FNAME": "Nina"}).json()
    assert (same["status"], same["last_changed"]) == ("subscribed", created["last_changed"])
    changed = put(account, "new@example.com", merge_fields={"LNAME": "Novak"}).json()
    assert changed["merge_fields"]["FNAME"] == "Nina"
    assert changed["last_changed"] == "2026-11-01T01:00:00+00:00"
    assert problem(put(account, "other@example.com")) == (400, "Invalid Resource")


def test_creating_a_known_member_is_refused(account: Account) -> None:
    """POST does not update; an invalid address and a missing status are invalid resources."""
    path = f"/lists/{LIST}/members"
    known = account("POST", path, json={"email_address": "person1@example.com", "status": "subscribed"})
    assert problem(known) == (400, "Member Exists")
    assert problem(account("POST", path, json={"email_address": "nobody", "status": "subscribed"}))[0] == 400
    assert problem(account("POST", path, json={"email_address": "a@example.com"})) == (400, "Invalid Resource")


@pytest.mark.parametrize("person", [2, 4, 5])
def test_who_left_cannot_be_subscribed_again(account: Account, person: int) -> None:
    """A complaint, an own unsubscribe and a hard bounce all refuse; `pending` does not, and opens no back door."""
    address = f"person{person}@example.com"
    before = account.member(address)
    path = f"/lists/{LIST}/members/{before['id']}"
    for answer in (
        put(account, address, status="subscribed"),
        account("PATCH", path, json={"status": "subscribed"}),
    ):
        assert problem(answer) == (400, "Member In Compliance State")
    assert account.member(address) == before
    assert account("PATCH", path, json={"status": "pending"}).json()["status"] == "pending"
    assert problem(account("PATCH", path, json={"status": "subscribed"}))[1] == "Member In Compliance State"


def test_who_was_unsubscribed_by_the_api_can_be_subscribed_by_it(account: Account) -> None:
    """The trap of the real service: an API opt-out does not protect."""
    path = f"/lists/{LIST}/members/{subscriber_hash('person1@example.com')}"
    account.later(hours=2)
    gone = account("PATCH", path, json={"status": "unsubscribed"}).json()
    assert (gone["status"], gone["last_changed"]) == ("unsubscribed", "2026-11-01T02:00:00+00:00")
    back = account("PATCH", path, json={"status": "subscribed"}).json()
    assert back["status"] == "subscribed"


def test_archived_members_come_back_and_erased_ones_do_not(account: Account) -> None:
    """DELETE archives once; delete-permanent forgets for good."""
    path = f"/lists/{LIST}/members/{subscriber_hash('person1@example.com')}"
    assert account("DELETE", path).status_code == 204
    assert account.member("person1@example.com")["status"] == "archived"
    assert problem(account("DELETE", path))[0] == 405
    assert put(account, "person1@example.com", status="subscribed").json()["status"] == "subscribed"
    assert account("POST", f"{path}/actions/delete-permanent").status_code == 204
    assert account("GET", path).status_code == 404
    for status in ("subscribed", "pending"):
        refused = put(account, "person1@example.com", status=status)
        assert problem(refused) == (400, "Forgotten Email Not Subscribed")


def test_an_address_can_change(account: Account) -> None:
    """The hash follows the address, the contact id stays."""
    before = account.member("person1@example.com")
    path = f"/lists/{LIST}/members/{before['id']}"
    after = account("PATCH", path, json={"email_address": "moved@example.com"}).json()
    assert after["id"] == subscriber_hash("moved@example.com") != before["id"]
    assert after["contact_id"] == before["contact_id"]
    taken = account("PATCH", f"/lists/{LIST}/members/{after['id']}", json={"email_address": "person3@example.com"})
    assert problem(taken)[0] == 400


def test_merge_fields_are_checked(account: Account) -> None:
    """A required field and a birthday; the check can be skipped; unknown tags are ignored."""
    field = {"name": "City", "type": "text", "tag": "CITY", "required": True}
    assert account("POST", f"/lists/{LIST}/merge-fields", json=field).json()["merge_id"] == 4
    assert problem(account("POST", f"/lists/{LIST}/merge-fields", json=field))[0] == 400
    refused = put(account, "x@example.com", status="subscribed", merge_fields={"BIRTHDAY": "1990-05-17"})
    assert {error["field"] for error in refused.json()["errors"]} == {"BIRTHDAY", "CITY"}
    path = f"/lists/{LIST}/members/{subscriber_hash('x@example.com')}?skip_merge_validation=true"
    made = account(
        "PUT", path, json={"email_address": "x@example.com", "status": "subscribed", "merge_fields": {"Q": 1}}
    )
    assert "Q" not in made.json()["merge_fields"]


def test_bulk_answers_200_with_errors_per_row(account: Account) -> None:
    """New, changed, refused and repeated rows in one call, each in its place."""
    account("POST", f"/lists/{LIST}/members/{subscriber_hash('person3@example.com')}/actions/delete-permanent")
    members = [
        {"email_address": "fresh@example.com", "status": "subscribed"},
        {"email_address": "person1@example.com", "status": "unsubscribed"},
        {"email_address": "person4@example.com", "status": "subscribed"},
        {"email_address": "person3@example.com", "status": "subscribed"},
        {"email_address": "nonsense", "status": "subscribed"},
        {"email_address": "FRESH@example.com", "status": "subscribed"},
    ]
    answer = account("POST", f"/lists/{LIST}", json={"members": members, "update_existing": True})
    body = answer.json()
    assert answer.status_code == 200
    assert [m["email_address"] for m in body["new_members"]] == ["fresh@example.com"]
    assert [m["status"] for m in body["updated_members"]] == ["unsubscribed"]
    assert (body["total_created"], body["total_updated"], body["error_count"]) == (1, 1, 4)
    errors = {error["email_address"]: error for error in body["errors"]}
    assert "compliance state" in errors["person4@example.com"]["error"]
    assert "permanently deleted" in errors["person3@example.com"]["error"]
    assert errors["nonsense"]["error_code"] == "ERROR_GENERIC"


def test_a_refused_bulk_row_leaves_nothing_behind(account: Account) -> None:
    """A row that fails half-way is undone, the rows around it stay."""
    members: list[dict[str, Any]] = [
        {"email_address": f"row{number}@example.com", "status": "subscribed", "tags": tags}
        for number, tags in enumerate((["good"], "no list", ["good"]))
    ]
    body = account("POST", f"/lists/{LIST}", json={"members": members}).json()
    assert (body["total_created"], body["error_count"]) == (2, 1)
    assert account("GET", f"/lists/{LIST}/members/row1@example.com").status_code == 404
    assert account("GET", f"/lists/{LIST}/members/row2@example.com").status_code == 200


def test_bulk_leaves_known_members_alone_unless_told(account: Account) -> None:
    """Without `update_existing` a known address is an error of its own code."""
    members = [{"email_address": "person1@example.com", "status": "unsubscribed"}]
    body = account("POST", f"/lists/{LIST}", json={"members": members}).json()
    assert body["errors"][0]["error_code"] == "ERROR_CONTACT_EXISTS"
    assert account.member("person1@example.com")["status"] == "subscribed"


def test_bulk_takes_five_hundred(account: Account) -> None:
    """500 members pass, 501 are refused as a whole."""
    members = [{"email_address": f"bulk{n}@example.com", "status": "subscribed"} for n in range(501)]
    assert problem(account("POST", f"/lists/{LIST}", json={"members": members}))[0] == 400
    body = account("POST", f"/lists/{LIST}", json={"members": members[:500]}).json()
    assert (body["total_created"], body["error_count"]) == (500, 0)


def test_bulk_tags_add_or_replace(account: Account) -> None:
    """`sync_tags` replaces all tags, without it they are added."""

    def bulk(tags: list[str], **options: Any) -> set[str]:
        member = {"email_address": "person1@example.com", "tags": tags}
        body = {"members": [member], "update_existing": True} | options
        answer = account("POST", f"/lists/{LIST}", json=body)
        assert answer.json()["total_updated"] == 1
        return {tag["name"] for tag in account.member("person1@example.com")["tags"]}

    assert bulk(["a", "b"]) == {"a", "b"}
    assert bulk(["c"]) == {"a", "b", "c"}
    assert bulk(["c"], sync_tags=True) == {"c"}


# --- tags and segments


def test_tags_are_static_segments(account: Account) -> None:
    """A tag given to a member shows as a segment, and the other way round."""
    path = f"/lists/{LIST}/members/{subscriber_hash('person1@example.com')}/tags"
    assert account("POST", path, json={"tags": [{"name": "vip", "status": "active"}]}).status_code == 204
    segments = account.get(f"/lists/{LIST}/segments", type="static")["segments"]
    assert [(s["name"], s["member_count"]) for s in segments] == [("vip", 1)]
    assert [t["name"] for t in account.get(path.removeprefix(""))["tags"]] == ["vip"]
    assert account.get(f"/lists/{LIST}/tag-search", name="VI")["tags"][0]["name"] == "vip"
    account("POST", path, json={"tags": [{"name": "vip", "status": "inactive"}]})
    assert account.get(path)["tags"] == []


def test_segment_members_change_and_strangers_are_skipped(account: Account) -> None:
    """Added, removed and unknown addresses are told apart; a repeat is harmless; 500 is the limit."""
    made = account(
        "POST", f"/lists/{LIST}/segments", json={"name": "s", "static_segment": ["person1@example.com", "no@x.example"]}
    )
    segment = made.json()
    assert (segment["type"], segment["member_count"]) == ("static", 1)
    path = f"/lists/{LIST}/segments/{segment['id']}"
    account.later(minutes=5)
    change = {
        "members_to_add": ["person3@example.com", "stranger@example.com", "person8@example.com"],
        "members_to_remove": ["person1@example.com", "person5@example.com"],
    }
    body = account("POST", path, json=change).json()
    assert (body["total_added"], body["total_removed"]) == (2, 1)
    assert [error["email_addresses"] for error in body["errors"]] == [["stranger@example.com"], ["person5@example.com"]]
    members = account.get(f"{path}/members")
    assert {m["email_address"] for m in members["members"]} == {"person3@example.com", "person8@example.com"}
    assert account.member("person3@example.com")["last_changed"] == "2026-11-01T00:05:00+00:00"
    many = {"members_to_add": [f"m{n}@example.com" for n in range(501)]}
    assert problem(account("POST", path, json=many)) == (400, "Invalid Resource")
    assert account("DELETE", path).status_code == 204
    assert problem(account("GET", path))[0] == 404


def test_segments_hide_those_who_cannot_be_mailed(account: Account) -> None:
    """Unsubscribed members count only when asked for."""
    addresses = ["person1@example.com", "person4@example.com"]
    segment = account("POST", f"/lists/{LIST}/segments", json={"name": "s", "static_segment": addresses}).json()
    path = f"/lists/{LIST}/segments/{segment['id']}/members"
    assert account.get(path)["total_items"] == 1
    assert account.get(path, include_unsubscribed="true")["total_items"] == 2


def test_interests_are_set_and_filtered(account: Account) -> None:
    """A group, an interest, a member who has it; the count is a text."""
    category = account(
        "POST", f"/lists/{LIST}/interest-categories", json={"title": "Topics", "type": "checkboxes"}
    ).json()
    path = f"/lists/{LIST}/interest-categories/{category['id']}/interests"
    interest = account("POST", path, json={"name": "Shoes"}).json()["id"]
    put(account, "person1@example.com", interests={interest: True})
    assert account.get(path)["interests"][0]["subscriber_count"] == "1"
    options = {"interest_category_id": category["id"], "interest_ids": interest}
    assert account.get(f"/lists/{LIST}/members", **options)["total_items"] == 1
    assert account.get(f"/lists/{LIST}/members", interest_match="none", **options)["total_items"] == 5
    assert problem(put(account, "person1@example.com", interests={"nope": True}))[0] == 400


# --- batches and webhooks


def finished(account: Account, number: str) -> tuple[set[str], Any]:
    """Polls a batch to its end; gives the states seen and the batch."""
    seen = set()
    for _ in range(200):
        batch = account.get(f"/batches/{number}")
        seen.add(batch["status"])
        if batch["status"] == "finished":
            return seen, batch
        time.sleep(0.02)
    raise AssertionError(seen)


def responses(url: str) -> dict[str, list[tuple[int, Any]]]:
    """The answers of a batch by operation id; fetched without a key."""
    content = requests.get(url, timeout=10).content
    found: dict[str, list[tuple[int, Any]]] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        for entry in tar.getmembers():
            file = tar.extractfile(entry)
            for answer in json.load(file) if file else []:
                body = json.loads(answer["response"]) if answer["response"] else None
                found.setdefault(answer["operation_id"], []).append((answer["status_code"], body))
    return found


def test_a_batch_runs_in_the_background(account: Account) -> None:
    """States in passing, JSON inside a string inside a tar, errors counted, GETs paged."""
    unsubscribe = json.dumps({"status": "unsubscribed"})
    members = f"/lists/{LIST}/members"
    operations: list[dict[str, Any]] = [
        {"method": "PATCH", "path": f"{members}/{key}", "operation_id": name, "body": unsubscribe}
        for name, key in (("a", subscriber_hash("person1@example.com")), ("b", "0" * 32))
    ]
    pages = {"count": 4, "fields": "members.id,total_items"}
    operations.append({"method": "GET", "path": members, "operation_id": "c", "params": pages})
    submitted = account("POST", "/batches", json={"operations": operations}).json()
    assert (submitted["status"], submitted["total_operations"]) == ("pending", 3)
    seen, batch = finished(account, submitted["id"])
    assert {"pending", "finished"} <= seen
    assert (batch["finished_operations"], batch["errored_operations"]) == (3, 1)
    found = responses(batch["response_body_url"])
    assert found["a"][0][0] == 200
    assert found["a"][0][1]["status"] == "unsubscribed"
    assert found["b"][0][0] == 404
    assert found["b"][0][1]["title"] == "Resource Not Found"
    assert sorted(len(body["members"]) for _, body in found["c"]) == [2, 4]


def test_the_link_to_the_answers_grows_old(account: Account) -> None:
    """Ten minutes later the old link is refused, a fresh one works."""
    operations = [{"method": "GET", "path": "/ping", "operation_id": "p"}]
    number = account("POST", "/batches", json={"operations": operations}).json()["id"]
    _, batch = finished(account, number)
    account.later(minutes=11)
    assert requests.get(batch["response_body_url"], timeout=10).status_code == 403
    assert responses(account.get(f"/batches/{number}")["response_body_url"])["p"][0][0] == 200
    assert account("DELETE", f"/batches/{number}").status_code == 204
    assert account("GET", f"/batches/{number}").status_code == 404


def test_a_webhook_tells_its_secret_once(account: Account) -> None:
    """The create answer has it, later ones do not; the same URL is refused."""
    path, hook = f"/lists/{LIST}/webhooks", {"url": "https://hooks.example/x", "events": {"unsubscribe": True}}
    made = account("POST", path, json=hook).json()
    assert made["signing_enabled"] is True
    assert len(made["signing_secret"]) == 64
    assert made["events"]["unsubscribe"] is True
    assert made["events"]["subscribe"] is False
    assert problem(account("POST", path, json=hook))[0] == 400
    assert "signing_secret" not in account.get(f"{path}/{made['id']}")
    changed = account("PATCH", f"{path}/{made['id']}", json={"sources": {"api": False, "user": True}}).json()
    assert changed["sources"] == {"user": True, "admin": False, "api": False}
    assert account("DELETE", f"{path}/{made['id']}").status_code == 204
    assert account.get(path)["total_items"] == 0
