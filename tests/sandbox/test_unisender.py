"""The UniSender sandbox answers as the reference says (esp_apis.md section 4)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from tests.sandbox.small import small_world

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.unisender import (
    LIST_ID,
    UnisenderStore,
    asks_for_change,
    campaign_id,
    create_app,
    hook_requests,
    is_seeded,
    last_event,
    seed_unisender,
)
from lettertrail.sandbox.server import served
from lettertrail.sandbox.state import WorldMark

KEY = "unisenderkey0123"
SPRING, SUMMER = campaign_id(71), campaign_id(72)


class Account:
    """A running service, its clocks, and short ways to call it."""

    def __init__(self, base: str, store: UnisenderStore, clock: SimpleNamespace) -> None:
        self.base, self.store, self.clock = base, store, clock

    def post(self, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        form = {"format": "json", "api_key": KEY, **(params or {}), **more}
        answer = requests.post(f"{self.base}/ru/api/{method}", data=form, timeout=10)
        assert answer.status_code == 200
        return answer.json()

    def result(self, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        body = self.post(method, params, **more)
        assert "error" not in body, body
        return body["result"]

    def code(self, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> str:
        body = self.post(method, params, **more)
        assert set(body) == {"error", "code"}
        return str(body["code"])

    def add(self, names: Sequence[str], rows: Sequence[Sequence[str]], **more: Any) -> Any:
        form = {f"field_names[{place}]": name for place, name in enumerate(names)}
        form |= {f"data[{r}][{c}]": cell for r, row in enumerate(rows) for c, cell in enumerate(row)}
        return self.result("importContacts", form, **more)

    def export(self, **wanted: Any) -> dict[str, dict[str, str]]:
        number = self.result("async/exportContacts", wanted)["task_uuid"]
        self.store.finish_jobs()
        found = self.result("async/getTaskResult", task_uuid=number)
        text = requests.get(found["file_to_download"], timeout=10).text
        return {row["email"]: row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture
def account() -> Iterator[Account]:
    """The small world with its two Mailchimp letters, as if they had been sent from here."""
    clock = SimpleNamespace(now=datetime(2026, 11, 1, tzinfo=UTC), ticks=0.0)
    store = UnisenderStore(":memory:", clock=lambda: clock.now)
    seed_unisender(small_world(), store, letters=(71, 72))
    app = create_app(store, api_key=KEY, monotonic=lambda: clock.ticks)
    with served(app) as base:
        yield Account(base, store, clock)
    app.close()
    store.close()


# --- transport


def test_errors_come_with_status_200(account: Account) -> None:
    """A client that goes by the status would take each of these for success."""
    assert account.code("getLists", api_key="wrong") == "invalid_api_key"
    assert account.code("getNothing") == "unknown_method"
    assert account.code("getContact") == "invalid_arg"
    assert account.code("getContact", email="nobody@example.com") == "object_not_found"
    assert requests.get(f"{account.base}/xx/api/getLists", timeout=10).status_code == 404


def test_a_get_is_as_good_and_every_language_is_served(account: Account) -> None:
    """Parameters may stand in the query."""
    for language in ("ru", "en", "it"):
        answer = requests.get(f"{account.base}/{language}/api/getLists", params={"api_key": KEY}, timeout=10).json()
        assert answer == {"result": [{"id": LIST_ID, "title": "Newsletter"}]}


def test_more_calls_than_allowed_are_refused_counted_and_forgiven(account: Account) -> None:
    """The 1201st call in 60 s, the 21st export; both with status 200, both violations."""
    for _ in range(20):
        account.result("async/exportContacts")
    assert account.code("async/exportContacts") == "api_call_limit_exceeded_for_api_key"
    shown = requests.get(f"{account.base}/_sandbox/limits", timeout=10).json()
    assert (shown["violations"], shown["limits"]["exportContacts"]["violations"]) == (1, 1)
    assert account.result("getLists")
    account.clock.ticks += 60
    assert account.result("async/exportContacts")


def test_the_key_has_1200_calls_a_minute() -> None:
    """Counted without a network."""
    app = create_app(UnisenderStore(":memory:"), api_key=KEY, monotonic=lambda: 0.0)
    assert [app.limits["calls"].take() for _ in range(1201)].count(True) == 1200


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("importContacts", True),
        ("subscribe", True),
        ("sendEmail", True),
        ("setHook", True),
        ("async/exportContacts", False),
        ("async/getTaskResult", False),
        ("getLists", False),
        ("listHooks", False),
        ("isContactInLists", False),
    ],
)
def test_writing_is_told_from_reading(method: str, expected: bool) -> None:
    """Everything is a POST here, so the name decides what the journal counts as a change."""
    assert asks_for_change("POST", f"/en/api/{method}", None) is expected


# --- contacts


def test_an_import_counts_its_rows_and_names_the_bad_ones(account: Account) -> None:
    """Good rows are written beside bad ones; the answer is a success."""
    done = account.add(
        ["email", "Name", "email_list_ids", "delete"],
        [
            ["new@example.com", "Nina", str(LIST_ID), "0"],
            ["PERSON1@example.com", "Anna", str(LIST_ID), "0"],
            ["no address", "", "", "0"],
            ["other@example.com", "", "999", "0"],
            ["person8@example.com", "", "", "1"],
        ],
    )
    assert {name: done[name] for name in ("total", "inserted", "updated", "deleted", "new_emails", "invalid")} == {
        "total": 5,
        "inserted": 1,
        "updated": 1,
        "deleted": 1,
        "new_emails": 1,
        "invalid": 2,
    }
    assert [(line["index"], line["code"]) for line in done["log"]] == [(2, "invalid_email"), (3, "object_not_found")]
    assert account.store.status_of("new@example.com") == "new"
    assert account.store.status_of("other@example.com") is None
    assert account.store.status_of("person8@example.com") is None
    assert account.export()["Person1@Example.com"]["Name"] == "Anna"


def test_an_import_takes_500_rows(account: Account) -> None:
    """501 are refused as a whole and nothing is written."""
    before = account.store.people()
    rows = [[f"many{n}@example.com"] for n in range(501)]
    form = {"field_names[]": "email"} | {f"data[{n}][0]": row[0] for n, row in enumerate(rows)}
    assert account.code("importContacts", form) == "invalid_arg"
    assert account.store.people() == before
    assert account.add(["email"], rows[:500])["inserted"] == 500


def test_an_unknown_field_is_a_warning(account: Account) -> None:
    """The call succeeds and the value is gone: only the warning tells."""
    body = account.post("importContacts", {"field_names[0]": "email", "field_names[1]": "Shoe", "data[0][0]": "a@b.cc"})
    assert body["result"]["inserted"] == 1
    assert [list(item) for item in body["warnings"]] == [["warning"]]


def test_who_unsubscribed_stays_unsubscribed(account: Account) -> None:
    """Neither import nor subscribe nor deletion in between brings anybody back, and nothing is said about it."""
    email = "person4@example.com"
    done = account.add(
        ["email", "email_status", "email_list_ids"], [[email, "active", str(LIST_ID)]], overwrite_lists=1
    )
    assert (done["updated"], done["invalid"], done["log"]) == (1, 0, [])
    for double_optin in (0, 3, 4):
        account.result("subscribe", {"fields[email]": email}, list_ids=LIST_ID, double_optin=double_optin, overwrite=1)
    assert account.store.status_of(email) == "unsubscribed"
    account.add(["email", "delete"], [[email, "1"]])
    account.add(["email", "email_status"], [[email, "active"]])
    assert account.store.status_of(email) == "unsubscribed"


def test_an_import_can_unsubscribe(account: Account) -> None:
    """500 at a time, and for good."""
    account.add(["email", "email_status"], [["person1@example.com", "unsubscribed"]])
    assert account.store.status_of("person1@example.com") == "unsubscribed"
    account.add(["email", "email_status"], [["person1@example.com", "active"]])
    assert account.store.status_of("person1@example.com") == "unsubscribed"


def test_subscribe_invites_or_not(account: Account) -> None:
    """0 mails everybody, 3 nobody, 4 all but the known and active."""
    for email in ("person1@example.com", "fresh@example.com"):
        for double_optin in (3, 4, 0):
            account.result("subscribe", {"fields[email]": email}, list_ids=LIST_ID, double_optin=double_optin)
    assert account.store.invitations() == ["person1@example.com", *["fresh@example.com"] * 2]
    assert account.store.status_of("fresh@example.com") == "new"
    assert account.code("subscribe", {"fields[email]": "a@b.cc"}, list_ids=LIST_ID, double_optin=1) == "invalid_arg"


def test_a_contact_can_be_put_back_after_exclude_but_not_after_unsubscribe(account: Account) -> None:
    """The first is the sender's wish, the second the person's."""
    other = account.result("createList", title="Other")["id"]
    account.add(["email", "email_list_ids"], [["person1@example.com", str(other)]])
    who = {"contact_type": "email", "contact": "person1@example.com"}

    def is_in(number: int) -> bool:
        return bool(account.result("isContactInLists", email="person1@example.com", list_ids=number))

    account.result("exclude", who, list_ids=other)
    assert (is_in(other), account.store.status_of("person1@example.com")) == (False, "active")
    account.add(["email", "email_list_ids"], [["person1@example.com", str(other)]])
    assert is_in(other)
    account.result("unsubscribe", who, list_ids=other)
    account.add(["email", "email_list_ids"], [["person1@example.com", str(other)]])
    assert (is_in(other), account.store.status_of("person1@example.com")) == (False, "active")
    account.result("unsubscribe", who, list_ids=LIST_ID)
    assert account.store.status_of("person1@example.com") == "unsubscribed"
    assert account.code("unsubscribe", who | {"contact": "person2@example.com"}, list_ids=other) == "object_not_found"


def test_overwriting_replaces_tags_and_lists(account: Account) -> None:
    """Without the switches they are added to; with them what is not named is gone."""
    other = account.result("createList", title="Other")["id"]
    names = ["email", "tags", "email_list_ids"]
    email = "Person1@Example.com"
    account.add(names, [[email, "a,b", str(other)]])
    account.add(names, [[email, "c", ""]])
    row = account.export()[email]
    assert (row["tags"], row["email_list_ids"]) == ("a,b,c", f"{LIST_ID},{other}")
    account.add(names, [[email, "d", str(other)]], overwrite_tags=1, overwrite_lists=1)
    row = account.export()[email]
    assert (row["tags"], row["email_list_ids"]) == ("d", str(other))


def test_subscribe_overwrites_fields_in_three_ways(account: Account) -> None:
    """0 adds what is missing, 2 replaces what is given, 1 replaces all."""

    def fields(overwrite: int, **given: str) -> Any:
        form = {"fields[email]": "person1@example.com", **{f"fields[{name}]": value for name, value in given.items()}}
        account.result("subscribe", form, list_ids=LIST_ID, double_optin=3, overwrite=overwrite)
        return account.result("getContact", email="person1@example.com", include_fields=1)["email"]["fields"]

    assert fields(0, Name="New") == {"Name": "Анна", "LastName": "Last1"}
    assert fields(2, Name="New") == {"Name": "New", "LastName": "Last1"}
    assert fields(1, Name="Newer") == {"Name": "Newer"}


# --- exports


def test_an_export_passes_through_its_states(account: Account) -> None:
    """A client that looks once, or takes the file's address before it is there, would fail here."""
    task = account.result("async/exportContacts", {"email_status": "unsubscribed", "field_names[]": "email"})
    assert task["status"] == "new"
    polled = [account.result("async/getTaskResult", task_uuid=task["task_uuid"]) for _ in range(3)]
    assert [found["status"] for found in polled] == ["processing", "completed", "completed"]
    assert "file_to_download" not in polled[0]
    text = requests.get(polled[1]["file_to_download"], timeout=10).text
    assert text.splitlines() == ["email", "person2@example.com", "person4@example.com"]
    assert account.code("async/getTaskResult", task_uuid="none") == "object_not_found"


def test_an_export_tells_all_about_a_contact(account: Account) -> None:
    """The columns are those of an import."""
    rows = account.export(list_id=LIST_ID)
    assert rows["person5@example.com"]["email_status"] == "inactive"
    assert rows["person5@example.com"]["email_availability"] == "unreachable"
    assert rows["person4@example.com"]["email_unsubscribed_list_ids"] == str(LIST_ID)
    assert rows["Person1@Example.com"]["email_subscribe_times"] == "2026-01-01 10:00:00"
    assert account.code("async/exportContacts", {"field_names[]": "shoe"}) == "invalid_arg"


# --- campaigns


def test_campaigns_are_listed_by_time_and_page(account: Account) -> None:
    """`from` is inclusive; limit and offset go on."""
    assert [row["id"] for row in account.result("getCampaigns")] == [SPRING, SUMMER]
    assert [row["id"] for row in account.result("getCampaigns", {"from": "2026-06-01 09:00:00"})] == [SUMMER]
    assert [row["id"] for row in account.result("getCampaigns", limit=1, offset=1)] == [SUMMER]
    assert account.code("getCampaigns", limit=10_001) == "invalid_arg"
    assert account.result("getCampaignStatus", campaign_id=SPRING)["status"] == "completed"


def test_totals_have_no_bounces(account: Account) -> None:
    """Counted by hand from the small world."""
    assert account.result("getCampaignCommonStats", campaign_id=SPRING) == {
        "total": 6,
        "sent": 6,
        "delivered": 4,
        "read_unique": 3,
        "read_all": 4,
        "clicked_unique": 2,
        "clicked_all": 4,
        "unsubscribed": 1,
        "spam": 0,
    }


def test_delivery_stats_are_the_last_state(account: Account) -> None:
    """The opening of who clicked later is not to be seen; the start of a window is part of it."""
    stats = account.result("getCampaignDeliveryStats", {"field_ids[]": "1"}, campaign_id=SPRING)
    assert stats["fields"] == ["email", "send_result", "last_update", "Name"]
    assert dict(row[:2] for row in stats["data"]) == {
        "person1@example.com": "ok_link_visited",
        "person2@example.com": "ok_read",
        "person3@example.com": "err_mailbox_full",
        "person4@example.com": "ok_unsubscribed",
        "person5@example.com": "err_user_unknown",
        "old8@example.com": "ok_link_visited",
    }
    late = account.result("getCampaignDeliveryStats", campaign_id=SPRING, changed_since="2026-03-01 12:00:00")
    assert [row[0] for row in late["data"]] == ["person4@example.com", "person1@example.com"]


def test_a_state_never_goes_back(account: Account) -> None:
    """An opening after a click changes neither the state nor its time; a complaint does, and unsubscribes."""
    account.store.happen("person1@example.com", "ok_read", SPRING, "2026-07-01 00:00:00")
    account.store.happen("person3@example.com", "brand_new_word", SPRING, "2026-07-02 00:00:00")
    account.store.happen("person8@example.com", "ok_fbl", SPRING, "2026-07-03 00:00:00")
    late = account.result("getCampaignDeliveryStats", campaign_id=SPRING, changed_since="2026-07-01 00:00:00")
    assert late["data"] == [
        ["person3@example.com", "brand_new_word", "2026-07-02 00:00:00"],
        ["person8@example.com", "ok_fbl", "2026-07-03 00:00:00"],
    ]
    assert account.store.status_of("person8@example.com") == "unsubscribed"


def test_delivery_stats_come_as_a_file_too(account: Account) -> None:
    """The same rows, asked for now and fetched later."""
    task = account.result("async/getCampaignDeliveryStats", campaign_id=SUMMER)
    account.store.finish_jobs()
    done = account.result("async/getTaskResult", task_uuid=task["task_uuid"])
    lines = requests.get(done["file_to_download"], timeout=10).text.splitlines()
    assert lines == [
        "email,send_result,last_update",
        "person1@example.com,ok_delivered,2026-06-01 09:00:00",
        "person2@example.com,ok_fbl,2026-06-01 15:00:00",
    ]


def test_clicks_have_rows_and_can_be_grouped(account: Account) -> None:
    """Array rows under a header; grouped by address and link."""
    clicks = account.result("getVisitedLinks", campaign_id=SPRING)
    assert clicks["fields"] == ["email", "url", "request_time", "ip", "count"]
    assert len(clicks["data"]) == 4
    grouped = account.result("getVisitedLinks", campaign_id=SPRING, group=1)
    first = ["person1@example.com", "https://shop.example/a", "2026-03-02 12:01:00", "95.31.0.1", 2]
    assert (len(grouped["data"]), grouped["data"][-1]) == (3, first)


# --- mail


def test_a_letter_is_refused_per_address_and_not_twice_a_minute(account: Account) -> None:
    """The call succeeds whatever became of the addresses in it."""
    letter = {
        "sender_name": "Shop",
        "sender_email": "shop@sandbox.example",
        "subject": "Receipt",
        "body": "<p>Thanks</p>",
        "list_id": LIST_ID,
        "ref_key": "order-1",
        "ref_key_return": 1,
        "headers": "List-Unsubscribe: <https://x.example>",
    }
    addresses = {"email[0]": "person1@example.com", "email[1]": "person4@example.com", "email[2]": "nonsense"}
    sent = account.result("sendEmail", letter | addresses)
    assert (sent[0]["index"], sent[0]["ref_key"]) == (0, "order-1")
    assert [item["errors"][0]["code"] for item in sent[1:]] == ["unsubscribed", "invalid_email"]
    again = account.result("sendEmail", letter, email="person1@example.com")
    assert again[0]["errors"][0]["code"] == "too_frequent"
    account.clock.now += timedelta(seconds=61)
    second = account.result("sendEmail", letter, email="person1@example.com")[0]["id"]
    checked = account.result("checkEmail", email_id=f"{sent[0]['id']},{second},777")
    assert [item["status"] for item in checked["statuses"]] == ["ok_sent", "ok_sent"]
    assert checked["failed_email_id"] == ["777"]
    assert account.code("sendEmail", letter | {"sender_email": "me@x.invalid"}, email="a@b.cc") == (
        "unchecked_sender_email"
    )


# --- webhooks


def test_webhooks_tell_what_happened_and_are_signed_over_the_raw_body(account: Account) -> None:
    """Re-serialising the body, or forgetting that slashes come escaped, gives another MD5."""
    account.result("setHook", {"hook_url": "https://in.example/u", "events[email_status]": "ok_link_visited"})
    account.result(
        "setHook", {"hook_url": "https://in.example/u", "events[email_status]": "*", "events[unsubscribe]": "*"}
    )
    assert len(account.result("listHooks")) == 1
    begin = last_event(account.store)
    account.store.happen("person3@example.com", "ok_link_visited", SUMMER, url="https://shop.example/a")
    account.store.leave("person1@example.com")
    (request,) = hook_requests(account.store, api_key=KEY, since=begin)
    auth = json.loads(request.body)["auth"]
    assert auth == hashlib.md5(request.body.replace(auth.encode(), KEY.encode())).hexdigest()
    assert rb"https:\/\/shop.example\/a" in request.body
    events = json.loads(request.body)["events_by_user"][0]["Events"]
    assert [event["event_name"] for event in events] == ["email_status", "unsubscribe"]
    assert events[0]["event_data"]["campaign_id"] == SUMMER
    account.result("removeHook", hook_url="https://in.example/u")
    assert hook_requests(account.store, api_key=KEY, since=begin) == []


# --- seeding


def test_the_account_is_filled_once_and_from_one_world(tmp_path: Any) -> None:
    """A restart goes on with what is there; another world is refused."""
    world = small_world()
    store = UnisenderStore(tmp_path / "unisender.sqlite3")
    assert seed_unisender(world, store)
    store.leave("person1@example.com")
    store.close()
    store = UnisenderStore(tmp_path / "unisender.sqlite3")
    assert not seed_unisender(world, store)
    assert (store.people(), store.status_of("person1@example.com")) == (1, "unsubscribed")
    assert store.number("select count(*) from happenings where word = 'ok_link_visited'") == 0
    with pytest.raises(ConfigurationError, match="UniSender"):
        is_seeded(store, WorldMark(8, 1.0, date(2026, 1, 1)))
    store.close()


def test_times_are_spelled_as_the_service_does(account: Account) -> None:
    """Naive, UTC, seconds: an offset would be a different service."""
    account.add(["email"], [["new@example.com"]])
    added = account.result("getContact", email="new@example.com", include_details=1)["email"]["added_at"]
    assert re.fullmatch(r"2026-11-01 00:00:00", added)


def test_a_campaign_goes_to_the_mailable_alone(account: Account) -> None:
    """Who left, complained or bounced gets nothing; one that waits can be called off, one that went cannot."""
    letter = {"sender_name": "Shop", "sender_email": "news@sandbox.example", "subject": "Autumn", "body": "<p>Hi</p>"}
    message = account.result("createEmailMessage", letter, list_id=LIST_ID)["message_id"]
    sent = account.result("createCampaign", message_id=message)
    assert (sent["status"], sent["count"]) == ("completed", 3)
    stats = account.result("getCampaignDeliveryStats", campaign_id=sent["campaign_id"])
    assert [row[:2] for row in stats["data"]] == [[f"person{n}@example.com", "ok_sent"] for n in (1, 3, 8)]
    assert stats["letter_id"] == message
    assert account.code("cancelCampaign", campaign_id=sent["campaign_id"]) == "has_been_sent"
    later = account.result("createCampaign", message_id=message, start_time="2026-12-01 09:00")
    assert later["status"] == "scheduled"
    account.result("cancelCampaign", campaign_id=later["campaign_id"])
    assert account.result("getCampaignStatus", campaign_id=later["campaign_id"])["status"] == "canceled"
    subjects = [row["subject"] for row in account.result("getMessages", date_from="2026-11-01 00:00")]
    assert subjects == ["Autumn"]
    (found,) = account.result("getMessage", id=message)
    assert found["list_id"] == LIST_ID
