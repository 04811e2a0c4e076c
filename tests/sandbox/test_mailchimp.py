"""The Mailchimp sandbox behaves as the reference says, also for Mailchimp's own client."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mailchimp_marketing
import pytest
import requests
from mailchimp_marketing.api_client import ApiClientError
from tests.sandbox.small import FIRST, KEY, LIST, SECOND, small_world

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.mailchimp import MailchimpStore, create_app, seed_mailchimp, subscriber_hash
from lettertrail.sandbox.server import served
from lettertrail.sandbox.world import generate

START = datetime(2026, 11, 1, tzinfo=UTC)


class Account:
    """A running service, its clock, and a short way to call it."""

    def __init__(self, base: str, store: MailchimpStore, clock: SimpleNamespace) -> None:
        self.base = f"{base}/3.0"
        self.store = store
        self.clock = clock
        self.session = requests.Session()
        self.session.auth = ("anybody", KEY)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.base}{path}", timeout=10, **options)

    def get(self, path: str, **params: Any) -> Any:
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def member(self, address: str) -> Any:
        return self.get(f"/lists/{LIST}/members/{subscriber_hash(address)}")

    def later(self, **delta: float) -> None:
        self.clock.now += timedelta(**delta)


@pytest.fixture
def account() -> Iterator[Account]:
    """The small world behind a real socket."""
    clock = SimpleNamespace(now=START)
    store = MailchimpStore(":memory:", clock=lambda: clock.now)
    seed_mailchimp(small_world(), store)
    app = create_app(store, api_key=KEY, batch_step_seconds=0.05)
    with served(app) as base:
        yield Account(base, store, clock)
    app.close()
    store.close()


@pytest.fixture
def official(account: Account) -> mailchimp_marketing.Client:
    """Mailchimp's own client with its host pointed here."""
    client = mailchimp_marketing.Client({"api_key": KEY, "server": "us1"})
    client.api_client.host = account.base
    return client


def problem(answer: requests.Response) -> tuple[int, str]:
    """Status and title of an error answer of the right form."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == answer.status_code
    return answer.status_code, body["title"]


# --- transport


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", (401, "API Key Missing")),
        ("Bearer nonsense-us1", (401, "API Key Invalid")),
        ("Basic " + base64.b64encode(b"x:wrong").decode(), (401, "API Key Invalid")),
        (f"Bearer {KEY.replace('us1', 'us6')}", (403, "Wrong Datacenter")),
    ],
)
def test_a_wrong_key_is_refused(account: Account, header: str, expected: tuple[int, str]) -> None:
    """Every way of having no key has its own title."""
    answer = requests.get(f"{account.base}/ping", headers={"Authorization": header}, timeout=10)
    assert problem(answer) == expected


@pytest.mark.parametrize("header", [f"Bearer {KEY}", "Basic " + base64.b64encode(f"any:{KEY}".encode()).decode()])
def test_the_key_opens_in_both_ways(account: Account, header: str) -> None:
    """Bearer and Basic with any user name are the same."""
    answer = requests.get(f"{account.base}/ping", headers={"Authorization": header}, timeout=10)
    assert answer.json() == {"health_status": "Everything's Chimpy!"}


def test_unknown_paths_ids_methods_and_bodies_have_their_titles(account: Account) -> None:
    """404, 405, 400 for what is not there, not possible, not JSON, not an object."""
    assert problem(account("GET", "/nothing")) == (404, "Resource Not Found")
    assert problem(account("GET", "/lists/0000000000")) == (404, "Resource Not Found")
    assert problem(account("GET", f"/lists/{LIST}/members/{'0' * 32}")) == (404, "Resource Not Found")
    assert problem(account("PUT", "/ping")) == (405, "Method Not Allowed")
    assert problem(account("POST", f"/lists/{LIST}", data="{not json")) == (400, "JSONParseError")
    assert problem(account("POST", f"/lists/{LIST}", json=[1])) == (400, "Invalid Resource")


def test_pages_are_ten_rows_and_at_most_a_thousand(account: Account) -> None:
    """`count` defaults to 10, 1000 is allowed, 1001 is refused; `offset` goes on; `total_items` is the whole."""
    members = [{"email_address": f"many{n}@example.com", "status": "subscribed"} for n in range(20)]
    account("POST", f"/lists/{LIST}", json={"members": members})
    first = account.get(f"/lists/{LIST}/members")
    assert (len(first["members"]), first["total_items"]) == (10, 26)
    ids = [
        member["id"]
        for offset in (0, 10, 20)
        for member in account.get(f"/lists/{LIST}/members", offset=offset)["members"]
    ]
    assert len(set(ids)) == len(ids) == 26
    assert len(account.get(f"/lists/{LIST}/members", count=1000)["members"]) == 26
    refused = account("GET", f"/lists/{LIST}/members", params={"count": 1001})
    assert problem(refused) == (400, "Invalid Resource")
    assert refused.json()["errors"][0]["field"] == "count"


def test_fields_can_be_chosen_and_left_out(account: Account) -> None:
    """`fields` and `exclude_fields` reach through arrays by dots."""
    chosen = account.get(f"/lists/{LIST}/members", fields="members.email_address,members.merge_fields.FNAME", count=1)
    assert chosen == {"members": [{"email_address": "Person1@Example.com", "merge_fields": {"FNAME": "Анна"}}]}
    less = account.get(f"/lists/{LIST}/members", exclude_fields="members.merge_fields,total_items", count=1)
    assert "total_items" not in less
    assert "merge_fields" not in less["members"][0]
    assert less["members"][0]["status"] == "subscribed"


def test_the_eleventh_connection_is_refused_without_a_body(account: Account) -> None:
    """Ten may be open at once; the next gets a bare 429."""
    answers: list[requests.Response] = []

    def ask() -> None:
        answers.append(requests.get(f"{account.base}/lists", auth=("x", KEY), timeout=20))

    with account.store.transaction():
        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        refused = requests.get(f"{account.base}/ping", auth=("x", KEY), timeout=20)
    for thread in threads:
        thread.join()
    assert (refused.status_code, refused.content) == (429, b"")
    assert [answer.status_code for answer in answers] == [200] * 10
    assert account.get("/ping")


def test_post_may_stand_for_another_method(account: Account) -> None:
    """`X-HTTP-Method-Override` turns a POST into a PATCH."""
    path = f"/lists/{LIST}/members/{subscriber_hash('person2@example.com')}"
    answer = account("POST", path, json={"vip": True}, headers={"X-HTTP-Method-Override": "PATCH"})
    assert answer.json()["vip"] is True


# --- reading


def test_members_look_as_the_reference_says(account: Account) -> None:
    """Ids, merge fields, empty times and addresses as typed."""
    member = account.member("person1@example.com")
    assert member["id"] == hashlib.md5(b"person1@example.com").hexdigest()
    assert member["email_address"] == "Person1@Example.com"
    assert member["merge_fields"] == {"FNAME": "Анна", "LNAME": "Last1", "BIRTHDAY": "05/17"}
    assert member["full_name"] == "Анна Last1"
    assert member["timestamp_opt"] == "2026-01-01T10:00:00+00:00"
    assert member["stats"] == {"avg_open_rate": 0.5, "avg_click_rate": 0.5}
    assert "unsubscribe_reason" not in member
    assert account.member("person4@example.com")["unsubscribe_reason"]


def test_a_member_is_found_by_hash_address_and_contact_id(account: Account) -> None:
    """All three keys lead to the same member."""
    member = account.member("person3@example.com")
    for key in ("person3@example.com", "Person3@Example.com", member["contact_id"]):
        assert account.get(f"/lists/{LIST}/members/{key}")["id"] == member["id"]


@pytest.mark.parametrize(
    ("filters", "people"),
    [
        ({"status": "subscribed"}, [1, 3, 8]),
        ({"status": "unsubscribed"}, [2, 4]),
        ({"status": "cleaned"}, [5]),
        ({"status": "archived"}, []),
        ({"since_last_changed": "2026-03-01T09:10:00+00:00"}, [2, 4, 5]),
        ({"since_last_changed": "2026-03-01T15:00:00+03:00"}, [2, 4]),
        ({"before_last_changed": "2026-01-03T00:00:00Z"}, [1]),
        ({"since_timestamp_opt": "2026-01-04T10:00:00+00:00"}, [4, 5, 8]),
        ({"before_timestamp_opt": "2026-01-02T10:00:00+00:00"}, [1]),
        ({"status": "unsubscribed", "unsubscribed_since": "2026-05-01T00:00:00+00:00"}, [2]),
        ({"since_last_campaign": "true"}, [2]),
        ({"vip_only": "true"}, []),
    ],
)
def test_members_are_filtered(account: Account, filters: dict[str, str], people: list[int]) -> None:
    """Each filter leaves exactly the members it should."""
    found = account.get(f"/lists/{LIST}/members", **filters)
    expected = {subscriber_hash(f"person{number}@example.com") for number in people}
    assert {member["id"] for member in found["members"]} == expected
    assert found["total_items"] == len(people)


def test_filters_that_make_no_sense_are_refused(account: Account) -> None:
    """An unknown status, a bad time, `unsubscribed_since` without its status, an unknown sort field."""
    path = f"/lists/{LIST}/members"
    assert problem(account("GET", path, params={"status": "gone"}))[0] == 400
    assert problem(account("GET", path, params={"since_last_changed": "yesterday"}))[0] == 400
    assert problem(account("GET", path, params={"unsubscribed_since": "2026-01-01T00:00:00Z"}))[0] == 400
    assert problem(account("GET", path, params={"sort_field": "email"}))[0] == 400


def test_members_are_sorted(account: Account) -> None:
    """By the time of the last change, both ways."""
    rows = account.get(f"/lists/{LIST}/members", sort_field="last_changed", sort_dir="DESC")["members"]
    changed = [row["last_changed"] for row in rows]
    assert changed == sorted(changed, reverse=True)
    assert changed[0] > changed[-1]


def test_list_statistics_are_counted(account: Account) -> None:
    """Counts by status, and rates in percent."""
    stats = account.get("/lists")["lists"][0]["stats"]
    assert stats["member_count"] == 3
    assert stats["unsubscribe_count"] == 2
    assert stats["cleaned_count"] == 1
    assert stats["campaign_count"] == 2
    assert stats["campaign_last_sent"] == "2026-06-01T09:00:00+00:00"
    assert stats["open_rate"] == 50.0


def test_campaigns_are_filtered_and_paged(account: Account) -> None:
    """Newest first; by send time, status and list."""
    assert [c["id"] for c in account.get("/campaigns")["campaigns"]] == [SECOND, FIRST]
    since = account.get("/campaigns", since_send_time="2026-05-01T00:00:00+00:00", status="sent")
    assert [c["id"] for c in since["campaigns"]] == [SECOND]
    assert account.get("/campaigns", list_id="ffffffffff")["total_items"] == 0
    assert account.get("/campaigns", count=1, offset=1)["campaigns"][0]["id"] == FIRST
    first = account.get(f"/campaigns/{FIRST}")
    assert first["tracking"]["google_analytics"] == "spring"
    assert first["settings"]["subject_line"] == "Spring is here"
    assert first["report_summary"]["proxy_excluded_unique_opens"] == 2


def test_a_report_counts_people_proxies_and_bounces(account: Account) -> None:
    """The totals of a letter whose every event is known; no delivered field."""
    report = account.get(f"/reports/{FIRST}")
    assert report["emails_sent"] == 6
    assert report["bounces"] == {"hard_bounces": 1, "soft_bounces": 1, "syntax_errors": 0}
    assert report["opens"]["opens_total"] == 4
    assert report["opens"]["unique_opens"] == 3
    assert report["opens"]["proxy_excluded_opens"] == 2
    assert report["opens"]["proxy_excluded_unique_opens"] == 2
    assert report["opens"]["open_rate"] == 0.75
    assert report["clicks"]["clicks_total"] == 4
    assert report["clicks"]["unique_clicks"] == 3
    assert report["clicks"]["unique_subscriber_clicks"] == 2
    assert report["unsubscribed"] == 1
    assert "delivered" not in json.dumps(report)
    assert sum(hour["recipients_clicks"] for hour in report["timeseries"]) == 2
    assert [row["id"] for row in account.get("/reports")["reports"]] == [SECOND, FIRST]


def test_email_activity_has_opens_clicks_and_bounces(account: Account) -> None:
    """Everybody it was sent to without `since`; only the active ones with it; no proxy flag."""
    rows = account.get(f"/reports/{FIRST}/email-activity")
    assert rows["total_items"] == 6
    by_address = {row["email_address"]: row["activity"] for row in rows["emails"]}
    assert by_address["person4@example.com"] == []
    assert [(a["action"], a.get("type")) for a in by_address["person5@example.com"]] == [("bounce", "hard")]
    assert [a["action"] for a in by_address["old8@example.com"]] == ["open", "click", "click"]
    assert "is_proxy_open" not in json.dumps(rows)
    since = account.get(f"/reports/{FIRST}/email-activity", since="2026-03-01T12:00:00+00:00")
    assert since["total_items"] == 1
    assert [a["action"] for a in since["emails"][0]["activity"]] == ["open", "click", "click"]


def test_open_details_tell_proxies_apart(account: Account) -> None:
    """Each open says whether a proxy made it."""
    details = account.get(f"/reports/{FIRST}/open-details")
    assert (details["total_opens"], details["total_proxy_excluded_opens"], details["total_items"]) == (4, 2, 3)
    first = details["members"][0]
    assert [opened["is_proxy_open"] for opened in first["opens"]] == [True, False]
    assert (first["opens_count"], first["proxy_excluded_opens_count"]) == (2, 1)


def test_click_details_lead_to_the_clickers(account: Account) -> None:
    """Per link, and who clicked how often."""
    links = account.get(f"/reports/{FIRST}/click-details", sort_field="total_clicks", sort_dir="DESC")
    first = links["urls_clicked"][0]
    assert (first["url"], first["total_clicks"], first["unique_clicks"]) == ("https://shop.example/a", 3, 2)
    members = account.get(f"/reports/{FIRST}/click-details/{first['id']}/members")
    assert {m["email_address"]: m["clicks"] for m in members["members"]} == {
        "person1@example.com": 2,
        "old8@example.com": 1,
    }


def test_leaving_and_delivery_have_endpoints_of_their_own(account: Account) -> None:
    """Unsubscribes, complaints and the list of recipients."""
    left = account.get(f"/reports/{FIRST}/unsubscribed")["unsubscribes"]
    assert [row["email_address"] for row in left] == ["person4@example.com"]
    complaints = account.get(f"/reports/{SECOND}/abuse-reports")
    assert complaints["abuse_reports"][0]["date"] == "2026-06-01T15:00:00+00:00"
    assert account.get(f"/lists/{LIST}/abuse-reports")["total_items"] == 1
    sent = account.get(f"/reports/{FIRST}/sent-to")["sent_to"]
    assert [row["status"] for row in sent] == ["sent", "sent", "soft", "sent", "hard", "sent"]
    assert problem(account("GET", "/reports/ffffffffff")) == (404, "Resource Not Found")


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


# --- the official client


def test_the_official_client_reads(official: mailchimp_marketing.Client) -> None:
    """Ping, lists, members, campaigns and every report we offer."""
    assert official.ping.get() == {"health_status": "Everything's Chimpy!"}
    assert official.lists.get_all_lists()["lists"][0]["id"] == LIST
    members = official.lists.get_list_members_info(LIST, status="subscribed", count=1000)
    assert members["total_items"] == 3
    assert official.campaigns.list(count=5)["total_items"] == 2
    assert official.reports.get_campaign_report(FIRST)["emails_sent"] == 6
    assert (
        official.reports.get_email_activity_for_campaign(FIRST, since="2026-03-01T12:00:00+00:00")["total_items"] == 1
    )
    assert official.reports.get_campaign_open_details(FIRST)["total_opens"] == 4
    link = official.reports.get_campaign_click_details(FIRST)["urls_clicked"][0]["id"]
    assert official.reports.get_subscribers_info(FIRST, link)["total_items"] == 2
    assert official.reports.get_unsubscribed_list_for_campaign(FIRST)["total_items"] == 1
    assert official.reports.get_campaign_abuse_reports(SECOND)["total_items"] == 1
    assert official.reports.get_campaign_recipients(FIRST, count=2)["total_items"] == 6


def test_the_official_client_writes(official: mailchimp_marketing.Client) -> None:
    """Upsert, tags, bulk, segments, archive, erase, batch."""
    key = subscriber_hash("via.client@example.com")
    member = {"email_address": "via.client@example.com", "status_if_new": "subscribed"}
    assert official.lists.set_list_member(LIST, key, member)["status"] == "subscribed"
    official.lists.update_list_member_tags(LIST, key, {"tags": [{"name": "t", "status": "active"}]})
    assert official.lists.get_list_member_tags(LIST, key)["total_items"] == 1
    rows = [{"email_address": "person4@example.com", "status": "subscribed"}]
    bulk = official.lists.batch_list_members(LIST, {"members": rows, "update_existing": True})
    assert bulk["error_count"] == 1
    segment = official.lists.create_segment(LIST, {"name": "seg", "static_segment": []})
    change = {"members_to_add": ["person1@example.com"], "members_to_remove": []}
    assert official.lists.batch_segment_members(change, LIST, segment["id"])["total_added"] == 1
    assert official.lists.delete_list_member(LIST, key).status_code == 204
    assert official.lists.delete_list_member_permanent(LIST, key).status_code == 204
    batch = official.batches.start({"operations": [{"method": "GET", "path": "/ping"}]})
    assert official.batches.status(batch["id"])["total_operations"] == 1


def test_the_official_client_sees_refusals(official: mailchimp_marketing.Client) -> None:
    """A compliance refusal arrives as its ApiClientError."""
    with pytest.raises(ApiClientError) as caught:
        official.lists.update_list_member(LIST, subscriber_hash("person4@example.com"), {"status": "subscribed"})
    assert caught.value.status_code == 400
    assert json.loads(caught.value.text)["title"] == "Member In Compliance State"


# --- state


def test_state_survives_a_restart_and_seeding_is_done_once(tmp_path: Path) -> None:
    """What was written is there again; the same world is not written twice, another one is refused."""
    world = small_world()
    store = MailchimpStore(tmp_path / "state.sqlite3")
    assert seed_mailchimp(world, store) is True
    with store.transaction() as db:
        db.execute("update members set status = 'unsubscribed' where id = ?", (subscriber_hash("person1@example.com"),))
    store.close()
    again = MailchimpStore(tmp_path / "state.sqlite3")
    assert seed_mailchimp(world, again) is False
    assert again.number("select count(*) from members where status = 'unsubscribed'") == 3
    world.seed = 8
    with pytest.raises(ConfigurationError, match=r"not seed=8"):
        seed_mailchimp(world, again)
    again.close()


def test_the_generated_world_arrives_whole() -> None:
    """Members, sends and events of the real simulation agree with its frames."""
    world = generate(seed=7, scale=0.02, as_of=date(2026, 11, 1))
    store = MailchimpStore(":memory:")
    seed_mailchimp(world, store)
    letters = world.letters[world.letters["channel"] == "mailchimp"]["letter"]
    sends = world.sends[world.sends["letter"].isin(letters)]
    events = world.events[world.events["send"].isin(sends["send"])]
    assert store.number("select count(*) from members") == int(world.people["on_mailchimp"].sum()) > 0
    assert store.number("select count(*) from sends") == len(sends) > 0
    assert store.number("select count(*) from sends where status <> 'sent'") == int(
        (sends["outcome"] != "delivered").sum()
    )
    for action in ("open", "click"):
        expected = int((events["kind"] == action).sum())
        assert store.number("select count(*) from activity where action = ?", action) == expected > 0
    proxied = int((events["actor"] == "apple_proxy").sum())
    assert store.number("select count(*) from activity where is_proxy = 1") == proxied > 0
    store.close()
