"""The Mailchimp sandbox answers as the reference says: transport, reading, state, and Mailchimp's own client."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from datetime import date
from pathlib import Path

import mailchimp_marketing
import pytest
import requests
from mailchimp_marketing.api_client import ApiClientError
from tests.sandbox.services import Account, problem
from tests.sandbox.small import FIRST, KEY, LIST, SECOND, small_world

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.mailchimp import MailchimpStore, seed_mailchimp, subscriber_hash
from lettertrail.sandbox.world import generate


@pytest.fixture
def official(account: Account) -> mailchimp_marketing.Client:
    """Mailchimp's own client with its host pointed here."""
    client = mailchimp_marketing.Client({"api_key": KEY, "server": "us1"})
    client.api_client.host = account.base
    return client


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
    assert requests.get(account.base.replace("/3.0", "/_sandbox/limits"), timeout=10).json()["violations"] == 1


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


def test_an_unescaped_plus_in_a_time_is_understood(account: Account) -> None:
    """Many clients leave the offset's plus as it is, and it arrives as a blank."""
    raw = account("GET", f"/lists/{LIST}/members?since_last_changed=2026-03-01T15:00:00+03:00")
    assert raw.json()["total_items"] == 2


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
