"""The eSputnik sandbox answers as the reference says: paging from 1, text and JSON, the one-minute guard, imports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from tests.sandbox.services import START
from tests.sandbox.slot import Slot, serving
from tests.sandbox.small import small_world

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.esputnik import (
    BROADCASTS,
    CITY_FIELD,
    GROUP,
    MESSAGES,
    EsputnikStore,
    asks_for_change,
    create_app,
    seed_esputnik,
    usual_limits,
)
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.limits import Limit
from lettertrail.sandbox.world import generate

LOGIN, KEY = "owner@shop.example", "api-key"
URL = "https://inbox.example/esputnik/marketing/token"


class Account:
    """A running service, its clock, and a short way to call it."""

    def __init__(self, base: str, store: EsputnikStore, clock: SimpleNamespace) -> None:
        self.base = base
        self.store = store
        self.clock = clock
        self.auth = (LOGIN, KEY)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, f"{self.base}/api{path}", auth=self.auth, timeout=10, **options)

    def get(self, path: str, **params: Any) -> Any:
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> requests.Response:
        return self("POST", path, json=body)

    def imported(self, *contacts: Any, **options: Any) -> Any:
        answer = self.post("/v1/contacts", contacts=list(contacts), **{"dedupeOn": "email", **options})
        assert answer.status_code == 200, answer.text
        self.store.finish_jobs()
        return answer.json()

    def one(self, email: str) -> Any:
        (found,) = [row for row in self.get("/v1/contacts", email=email) if address(row) == email]
        return found


@pytest.fixture(scope="module")
def slot() -> Iterator[Slot]:
    """The server of all these tests."""
    with serving() as slot:
        yield slot


@pytest.fixture
def limits() -> dict[str, Limit]:
    """None, unless a test says otherwise."""
    return {}


@pytest.fixture
def account(slot: Slot, limits: dict[str, Limit]) -> Iterator[Account]:
    """The small world behind a real socket."""
    clock = SimpleNamespace(now=START)
    store = EsputnikStore(":memory:", clock=lambda: clock.now)
    seed_esputnik(small_world(), store)
    slot.app = create_app(store, login=LOGIN, api_key=KEY, limits=limits)
    yield Account(slot.base, store, clock)
    store.close()


def contact(email: str, **more: Any) -> dict[str, Any]:
    """A contact as clients send it."""
    return {"channels": [{"type": "email", "value": email}], **more}


def address(row: Any) -> str | None:
    """The address of a contact as the service sends it."""
    return next((str(channel["value"]).lower() for channel in row["channels"] if channel["type"] == "email"), None)


# --- transport


def test_the_key_is_the_password_and_the_name_counts_once(account: Account) -> None:
    """Any user name does, except for one call."""
    assert account.get("/v1/account/info")["userEmail"] == LOGIN
    account.auth = ("anybody", KEY)
    assert account("GET", "/v1/version").status_code == 200
    assert account("GET", "/v1/message/email/status?ids=x").status_code == 401
    assert account("GET", "/v1/message/status?ids=x").status_code == 200
    account.auth = (LOGIN, "wrong")
    refused = account("GET", "/v1/account/info")
    assert (refused.status_code, refused.text) == (401, "Unauthorized")


def test_a_narrow_key_opens_little(account: Account) -> None:
    """403 outside of its scope."""
    event = {"eventTypeKey": "order", "keyValue": "1"}
    account.store.configure(scope="events")
    assert account("GET", "/v1/contacts").status_code == 403
    assert account("POST", "/v1/event", json=event).status_code == 200
    account.store.configure(scope="contacts")
    assert account("GET", "/v1/contacts").status_code == 200
    assert account("GET", "/v1/groups").status_code == 403


def test_errors_are_json_or_plain_text(account: Account) -> None:
    """Both shapes, and 404, 405, 415, 400 where they belong."""
    assert account("GET", "/v1/contact/999").text == "Contact not found"
    assert account("GET", "/v1/nothing").status_code == 404
    assert account("PATCH", "/v1/contact/1").status_code == 405
    assert account("POST", "/v1/contact", data="a=b").status_code == 415
    assert account("GET", "/v1/contacts?maxrows=501").json() == {"message": "Invalid value of parameter maxrows"}
    headers = {"Content-Type": "application/json"}
    assert account("POST", "/v1/contact", data="{not json", headers=headers).status_code == 400
    assert requests.get(account.base + "/v1/version", auth=account.auth, timeout=10).status_code == 404


def test_the_same_request_within_a_minute_is_a_duplicate(account: Account) -> None:
    """409 although the first one worked; one that failed may be repeated; a minute later it may come again."""
    body = contact("new@example.com")
    assert account.post("/v1/contact", **body).status_code == 200
    again = account.post("/v1/contact", **body)
    assert again.status_code == 409
    with pytest.raises(requests.JSONDecodeError):
        again.json()
    assert account.post("/v1/contact", **contact("other@example.com")).status_code == 200
    for _ in range(2):
        assert account.post("/v1/contact", firstName="Nobody").status_code == 400
    account.clock.now += timedelta(seconds=60)
    assert account.post("/v1/contact", **body).status_code == 200
    assert account.get("/v1/version") == account.get("/v1/version")


class TestLimits:
    """One call a second for contacts."""

    ticks = 0.0

    @pytest.fixture
    def limits(self) -> dict[str, Limit]:
        return usual_limits(lambda: self.ticks)

    def test_the_second_call_in_a_row_is_a_violation(self, account: Account) -> None:
        """429 as text, counted, for contacts only."""
        assert account("GET", "/v1/contacts").status_code == 200
        refused = account("GET", "/v1/contacts")
        assert (refused.status_code, refused.text) == (429, "Too Many Requests")
        assert account("GET", "/v1/groups").status_code == 200
        shown = requests.get(f"{account.base}/_sandbox/limits", timeout=10).json()
        assert (shown["violations"], shown["limits"]["contacts"]["violations"]) == (1, 1)
        self.ticks += 1.2
        assert account("GET", "/v1/contacts").status_code == 200


# --- reading


def test_the_seed_holds_the_small_world(account: Account) -> None:
    """Six people in one static group, statuses as they truly are."""
    found = {address(row): row["emailStatus"] for row in account.get(f"/v1/group/{GROUP}/contacts")}
    assert found == {
        "person1@example.com": "CONFIRMED",
        "person2@example.com": "UNSUBSCRIBED",
        "person3@example.com": "CONFIRMED",
        "person4@example.com": "UNSUBSCRIBED",
        "person5@example.com": "BLOCKED",
        "person8@example.com": "CONFIRMED",
    }
    assert account.get("/v1/groups") == [{"id": GROUP, "name": "Newsletter", "type": "Static"}]
    fields = account.get("/v1/addressbooks")["addressBook"]["fieldGroups"][0]["fields"]
    assert [(field["id"], field["name"]) for field in fields] == [(CITY_FIELD, "City")]
    account.store.configure(email_status="off")
    assert "emailStatus" not in account.get("/v1/contact/1")


def test_the_big_world_gives_a_small_stable_account(tmp_path: Path) -> None:
    """A second start finds the account filled; another world is refused; nobody reads inside the world's time."""
    world = generate(seed=7, scale=0.02, as_of=START.date())
    store = EsputnikStore(tmp_path / "esputnik.sqlite3")
    assert seed_esputnik(world, store)
    assert not seed_esputnik(world, store)
    assert 100 < store.people() <= 400
    reads = store.rows("select at from activity where status in ('READ', 'CLICKED')")
    assert reads
    assert all(row["at"] < world.started_at.isoformat() for row in reads)
    with pytest.raises(ConfigurationError):
        seed_esputnik(generate(seed=8, scale=0.02, as_of=START.date()), store)
    store.close()


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    """Contacts, settings, a running import and the guard of the last minute."""
    path = tmp_path / "esputnik.sqlite3"
    before = EsputnikStore(path, clock=lambda: START)
    before.add_group("Newsletter", group_id=GROUP)
    before.enrol(["person1@example.com"], status="UNSUBSCRIBED")
    before.configure(activity="on", email_status="off")
    before.remember_request("digest")
    before.close()
    after = EsputnikStore(path, clock=lambda: START + timedelta(seconds=59))
    assert after.status_of("person1@example.com") == "UNSUBSCRIBED"
    assert (after.setting("activity"), after.setting("email_status")) == ("on", "off")
    assert after.is_repeated("digest")
    after.close()


def test_pages_begin_with_one(account: Account) -> None:
    """500 rows at most; index 0 is refused; the total stands in a header and is wrong without a filter."""
    account.store.enrol([f"crowd{number}@example.com" for number in range(1_000)])
    sizes, seen = [], set()
    for start in (1, 501, 1001, 1501):
        page = account.get(f"/v1/group/{GROUP}/contacts", startindex=start, maxrows=500)
        sizes.append(len(page))
        seen |= {row["id"] for row in page}
    assert sizes == [500, 500, 6, 0]
    assert len(seen) == 1_006
    assert account("GET", "/v1/contacts?startindex=0").status_code == 400
    assert account("GET", f"/v1/group/{GROUP}/contacts?maxrows=1").headers["TotalCount"] == "1006"
    assert account("GET", "/v1/contacts?maxrows=10").headers["TotalCount"] == "10"
    assert account("GET", "/v1/contacts?email=crowd&maxrows=10").headers["TotalCount"] == "1000"


def test_a_search_finds_too_much(account: Account) -> None:
    """Any part of the address matches: a client that takes the first row writes to a stranger."""
    account.store.enrol(["aperson3@example.com", "person30@example.com"])
    found = account.get("/v1/contacts", email="PERSON3@example.com")
    assert [address(row) for row in found] == ["person3@example.com", "aperson3@example.com"]
    assert [row["id"] for row in account.get("/v1/contacts", externalCustomerId="crm-8")] == [8]
    assert account.get("/v1/contacts", email="nobody@") == []


def test_results_are_an_object_or_an_array(account: Account) -> None:
    """One row comes bare, two as a list, none as an empty list."""
    one = account.get("/v1/contacts/email", ids="1")["results"]
    assert one == {"contactId": 1, "email": "Person1@Example.com"}
    assert [row["contactId"] for row in account.get("/v1/contacts/email", ids="1,3")["results"]] == [1, 3]
    assert account.get("/v1/contacts/email", ids="999")["results"] == []


# --- activity


def test_activity_is_off_until_support_switches_it_on(account: Account) -> None:
    """400 with a sentence that names ContactActivity."""
    account.store.configure(activity="off")
    refused = account("GET", "/v2/contacts/activity")
    assert refused.status_code == 400
    assert "ContactActivity" in refused.text
    assert "support" in refused.text
    account.store.configure(activity="on")
    assert account.get("/v2/contacts/activity", maxrows=1)[0]["offset"] == 1


def test_activity_pages_by_the_offset_of_the_last_row(account: Account) -> None:
    """Until an empty page; `startindex` does nothing; a late row has an early time and a late offset."""
    account.store.happen("person1@example.com", "READ", BROADCASTS[1], START - timedelta(days=700))
    rows: list[Any] = []
    offset = 0
    while page := account.get("/v2/contacts/activity", offset=offset, maxrows=4, startindex=3):
        rows += page
        offset = page[-1]["offset"]
    offsets = [row["offset"] for row in rows]
    assert offsets == sorted(set(offsets))
    assert len(rows) == account.store.number("select count(*) from activity")
    assert rows[-1]["activityDateTime"] < rows[-2]["activityDateTime"]
    assert account("GET", "/v2/contacts/activity?maxrows=25001").status_code == 400


def test_every_kind_of_activity_is_in_the_seed(account: Account) -> None:
    """And each row has every field, with the link, the bounce and the names where they belong."""
    rows = account.get("/v2/contacts/activity")
    assert {row["activityStatus"] for row in rows} == {
        "DELIVERED", "UNDELIVERED", "READ", "CLICKED", "UNSUBSCRIBED", "SPAM",
    }  # fmt: skip
    assert {len(row) for row in rows} == {29}
    (click,) = [row for row in rows if row["activityStatus"] == "CLICKED"]
    assert (click["clickEventLink"], click["broadcastId"], click["messageId"], click["messageName"]) == (
        "https://shop.example/welcome", BROADCASTS[1], MESSAGES[1], "Welcome",
    )  # fmt: skip
    assert {row["hardBounce"] for row in rows if row["activityStatus"] == "UNDELIVERED"} == {True, False}
    of_letter = [row for row in rows if row["broadcastId"] == BROADCASTS[1] and row["contactId"] == 1]
    assert len(of_letter) == 3
    assert len({row["iid"] for row in of_letter}) == 1


def test_activity_is_filtered_by_day_status_and_address(account: Account) -> None:
    """Naive times in the account's zone, Kyiv; a day without a time is meant whole."""
    account.store.happen("person1@example.com", "READ", BROADCASTS[1], START - timedelta(minutes=1))
    account.store.happen("person3@example.com", "CLICKED", BROADCASTS[1], START)
    day = account.get("/v2/contacts/activity", dateFrom="2026-11-01", dateTo="2026-11-01")
    assert [row["activityDateTime"] for row in day] == ["2026-11-01T01:59:00", "2026-11-01T02:00:00"]
    late = account.get("/v2/contacts/activity", dateFrom="2026-11-01T02:00:00")
    assert [row["activityStatus"] for row in late] == ["CLICKED"]
    assert len(account.get("/v2/contacts/activity", dateTo="2026-11-01T01:59:00", dateFrom="2026-11-01")) == 1
    assert {row["email"] for row in account.get("/v2/contacts/activity", email="Person3@example.com")} == {
        "person3@example.com"
    }
    left = account.get("/v2/contacts/activity", activityStatus="UNSUBSCRIBED")
    assert [row["activityDateTime"] for row in left] == ["2026-03-01T14:00:00"]
    assert account.get("/v2/contacts/activity", messageTag="nothing") == []
    assert account("GET", "/v2/contacts/activity?dateFrom=yesterday").status_code == 400


# --- writing one


def test_a_contact_is_added_once_and_then_changed(account: Account) -> None:
    """Adding again updates; what is not given stays; a group is made by its name."""
    made = account.post("/v1/contact", **contact("new@example.com", firstName="Olga", groups=[{"name": "VIP"}])).json()
    again = account.post("/v1/contact", **contact("New@example.com", lastName="Petrova"))
    assert again.json() == made
    found = account.get(f"/v1/contact/{made['id']}")
    assert (found["firstName"], found["lastName"], found["emailStatus"]) == ("Olga", "Petrova", "CONFIRMED")
    assert [group["name"] for group in found["groups"]] == ["VIP"]
    change = {"address": {"town": "Kyiv"}, "fields": [{"id": CITY_FIELD, "value": "Lviv"}]}
    assert account("PUT", f"/v1/contact/{made['id']}", json=change).content == b""
    found = account.get(f"/v1/contact/{made['id']}")
    assert (found["address"], found["fields"], found["firstName"]) == (
        {"town": "Kyiv"}, [{"id": CITY_FIELD, "value": "Lviv"}], "Olga",
    )  # fmt: skip


@pytest.mark.parametrize("body", [contact("no address"), contact("a@example.com", firstName="x" * 41), {"groups": []}])
def test_a_contact_that_cannot_be_written_is_refused(account: Account, body: dict[str, Any]) -> None:
    """Nothing is written."""
    assert account("POST", "/v1/contact", json=body).status_code == 400
    assert account.store.people() == 6


def test_a_subscription_waits_for_its_confirmation(account: Account) -> None:
    """Double opt-in for new people; who left does not come back by it."""
    account.post("/v1/contact/subscribe", contact=contact("new@example.com"), groups=["VIP"], subscriptions=["Sales"])
    found = account.one("new@example.com")
    assert found["emailStatus"] == "UNCONFIRMED"
    assert account.get(f"/v1/contact/{found['id']}/subscriptions") == ["Sales"]
    account.post("/v1/contact/subscribe", contact=contact("person4@example.com"))
    assert account.store.status_of("person4@example.com") == "UNSUBSCRIBED"
    words = [row["type"] for row in account.store.rows("select type from events order by event")]
    assert words == ["subscribeFromApi", "subscribeUpdateFromApi"]


def test_preferences_are_replaced_as_a_whole(account: Account) -> None:
    """Unknown categories are refused and change nothing."""
    assert account.get("/v1/contact/1/subscriptions") == ["News"]
    assert account("PUT", "/v1/contact/1/subscriptions", json=["Sales"]).status_code == 200
    assert account("PUT", "/v1/contact/1/subscriptions", json=["Other"]).status_code == 400
    assert account.get("/v1/contact/1/subscriptions") == ["Sales"]
    (told,) = account.get("/v2/contacts/activity", activityStatus="SUBSCRIPTION_CHANGED")
    assert (told["contactId"], told["messageId"]) == (1, None)
    assert account("PUT", "/v1/contact/1/subscriptions", json={"subscriptions": []}).status_code == 200
    assert account.get("/v1/contact/1/subscriptions") == []


def test_a_deleted_contact_hides_and_an_erased_one_is_gone(account: Account) -> None:
    """Only the second forgets that the person left."""
    assert account("DELETE", "/v1/contact/3").status_code == 200
    assert account("GET", "/v1/contact/3").status_code == 404
    assert account("DELETE", "/v1/contact?externalCustomerId=crm-8&erase=false").status_code == 200
    assert account.store.people() == 4
    assert account.store.number("select count(*) from contacts") == 6
    assert account("DELETE", "/v1/contact?externalCustomerId=crm-4&erase=true").status_code == 200
    assert account.get("/v2/contacts/activity", email="person4@example.com") == []
    account.store.enrol(["person4@example.com"])
    assert account.store.status_of("person4@example.com") == "CONFIRMED"
    assert account("DELETE", "/v1/contact?externalCustomerId=&erase=true").status_code == 404


def test_the_unsubscribed_list_works_both_ways_unguarded(account: Account) -> None:
    """Nothing on this side asks for consent: `delete` brings back who left by himself."""
    answer = account.post("/v1/emails/unsubscribed/add", emails=["person1@example.com", "stranger@example.com"])
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert account.store.status_of("person1@example.com") == "UNSUBSCRIBED"
    assert account.store.status_of("stranger@example.com") is None
    account.imported(contact("person1@example.com", firstName="Again"), contact("stranger@example.com"))
    assert account.store.status_of("person1@example.com") == "UNSUBSCRIBED"
    assert account.store.status_of("stranger@example.com") == "UNSUBSCRIBED"
    assert account.post("/v1/emails/unsubscribed/delete", emails=["person4@example.com"]).status_code == 200
    assert account.store.status_of("person4@example.com") == "CONFIRMED"


# --- the bulk import


def test_an_import_passes_through_states(account: Account) -> None:
    """Nothing is written before it is finished; bad rows come back at once, as they were sent."""
    answer = account.post(
        "/v1/contacts", contacts=[contact("new@example.com"), contact("bad")], dedupeOn="email"
    ).json()
    assert answer["failedContacts"] == [contact("bad") | {"message": "Invalid email"}]
    assert account.store.people() == 6
    path = f"/v1/importstatus/{answer['asyncSessionId']}"
    assert account.get(path)["status"] == "IMPORTING"
    assert account.store.people() == 6
    assert account.get(path)["status"] == "FINISHED"
    assert account.get(path)["status"] == "FINISHED"
    assert account.store.people() == 7
    assert account("GET", "/v1/importstatus/nothing").status_code == 404


def test_an_import_goes_on_while_contacts_are_read(account: Account) -> None:
    """A client that lost the answer finds the contacts after a while."""
    account.post("/v1/contacts", contacts=[contact("new@example.com")], dedupeOn="email")
    assert account.get("/v1/contacts", email="new@") == []
    assert len(account.get("/v1/contacts", email="new@")) == 1


def test_an_import_takes_three_thousand(account: Account) -> None:
    """One more refuses them all, as do an unknown mark and none at all."""
    crowd = [contact(f"crowd{number}@example.com") for number in range(3_001)]
    assert account.post("/v1/contacts", contacts=crowd).status_code == 400
    assert account.post("/v1/contacts", contacts=crowd[:1], dedupeOn="shoe size").status_code == 400
    assert account.post("/v1/contacts", contacts=crowd[:1], dedupeOn="fieldId").status_code == 400
    assert account.post("/v1/contacts", contacts=[]).status_code == 400
    account.imported(*crowd[:3_000])
    assert account.store.people() == 3_006


def test_a_listed_field_that_is_absent_is_cleared(account: Account) -> None:
    """The trap: naming a field for all contacts empties it where a contact does not bring it."""
    account.imported(
        contact("person1@example.com", firstName="Anna", lastName="One", fields=[{"id": CITY_FIELD, "value": "Kyiv"}])
    )
    account.imported(contact("person1@example.com", firstName="Olga", lastName="Two"), contactFields=["firstName"])
    found = account.one("person1@example.com")
    assert (found["firstName"], found["lastName"]) == ("Olga", "One")
    account.imported(
        contact("person1@example.com"), contactFields=["firstName", "lastName"], customFieldsIDs=[CITY_FIELD]
    )
    found = account.one("person1@example.com")
    assert (found["firstName"], found["lastName"], found["fields"]) == (None, None, [])
    assert found["externalCustomerId"] == "crm-1"


def test_an_import_joins_and_leaves_groups(account: Account) -> None:
    """Unknown names become static groups; both lists may come at once."""
    account.imported(contact("person1@example.com"), groupNames=["VIP"], groupNamesExclude=["Newsletter"])
    assert [group["name"] for group in account.one("person1@example.com")["groups"]] == ["VIP"]
    assert account.get("/v1/groups", name="vi")[0]["type"] == "Static"


def test_a_deleted_contact_comes_back_only_on_request(account: Account) -> None:
    """Without `restoreDeleted` the row is passed over in silence."""
    account("DELETE", "/v1/contact/3")
    account.imported(contact("person3@example.com", firstName="Back"))
    assert account.store.people() == 5
    account.imported(contact("person3@example.com", firstName="Back"), restoreDeleted=True)
    assert account.one("person3@example.com")["id"] == 3


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"dedupeOn": "externalCustomerId"}, {"externalCustomerId": "crm-3"}),
        ({"dedupeOn": "id"}, {"id": 3}),
        ({"dedupeOn": "fieldId", "fieldId": CITY_FIELD}, {"fields": [{"id": CITY_FIELD, "value": 5}]}),
    ],
)
def test_people_are_recognised_by_the_mark_that_was_named(
    account: Account, options: dict[str, Any], given: dict[str, Any]
) -> None:
    """Otherwise a second contact is made."""
    account.imported(contact("person3@example.com", fields=[{"id": CITY_FIELD, "value": 5}]))
    account.imported({**given, "firstName": "Known"}, **options)
    assert account.get("/v1/contact/3")["firstName"] == "Known"
    assert account.store.people() == 6


# --- groups


def test_contacts_are_attached_and_detached_in_sentences(account: Account) -> None:
    """By our id or theirs; the answers are no JSON; a dynamic group cannot be changed."""
    group = account.store.add_group("VIP")
    answer = account.post(f"/v1/group/{group}/contacts/attach", contactIds=[1, 999], externalCustomerIds=["crm-3"])
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert [row["id"] for row in account.get(f"/v1/group/{group}/contacts")] == [1, 3]
    assert account.post(f"/v1/group/{group}/contacts/detach", contactIds=[1]).status_code == 200
    assert [row["id"] for row in account.get(f"/v1/group/{group}/contacts")] == [3]
    dynamic = account.store.add_group("Recent", kind="Dynamic")
    assert account.post(f"/v1/group/{dynamic}/contacts/attach", contactIds=[1]).status_code == 400
    assert account.post("/v1/group/999/contacts/attach", contactIds=[1]).status_code == 404
    assert account.post(f"/v1/group/{group}/contacts/attach", contactIds=[]).status_code == 400


# --- sending


def test_smartsend_answers_for_each_recipient(account: Account) -> None:
    """The reference we gave comes back in activity; who left is refused in his row."""
    path = f"/v1/message/{MESSAGES[1]}/smartsend"
    recipients = [
        {"locator": "person1@example.com", "jsonParam": "{}", "externalRequestId": "order 1"},
        {"locator": "person4@example.com"},
        {"contactId": 3},
    ]
    done = account.post(path, recipients=recipients, email=True).json()["results"]
    assert [(row["id"], row["status"]) for row in done] == [(0, "OK"), (0, "ERROR"), (0, "OK")]
    (row,) = account.get("/v2/contacts/activity", dateFrom="2026-11-01", email="person1@example.com")
    assert (row["externalRequestId"], row["messageId"], row["broadcastId"]) == ("order 1", MESSAGES[1], None)
    status = account.get("/v1/message/status", ids=done[0]["requestId"])["results"]
    assert (status["failed"], status["delivered"]) == (False, True)
    one = account.post(path, recipients=[{"locator": "person3@example.com"}], email=True).json()["results"]
    assert one["status"] == "OK"
    assert account.post("/v1/message/999/smartsend", recipients=recipients).status_code == 404
    assert account.post(path, recipients=[{"locator": "a@example.com"}] * 1_001).status_code == 400


def test_unconfirmed_people_need_leave(account: Account) -> None:
    """Only with `allowUnconfirmed`."""
    account.store.enrol(["new@example.com"], status="UNCONFIRMED")
    path, people = f"/v1/message/{MESSAGES[1]}/smartsend", [{"locator": "new@example.com"}]
    assert account.post(path, recipients=people).json()["results"]["status"] == "ERROR"
    assert account.post(path, recipients=people, allowUnconfirmed=True).json()["results"]["status"] == "OK"


def test_a_message_is_sent_as_it_is_given(account: Account) -> None:
    """Without a template; what is missing is named."""
    body = {"from": '"Shop" <s@shop.example>', "subject": "Hi", "htmlText": "<b>Hi</b>", "emails": ["a@example.com"]}
    assert account.post("/v1/message/email", **body, externalRequestId="7").json()["results"]["status"] == "OK"
    for name in body:
        assert account.post("/v1/message/email", **{**body, name: None}).status_code == 400


def test_messages_and_broadcasts_are_managed(account: Account) -> None:
    """A mailing starts and ends while it is watched, and reaches only who may be mailed."""
    found = account.get("/v1/messages/email", search="welc")
    assert [(row["id"], row["tags"]) for row in found] == [(MESSAGES[1], ["news"])]
    body = {"name": "New", "from": '"Shop" <s@shop.example>', "subject": "New", "htmlText": "<b>New</b>"}
    number = account.post("/v1/messages/email", **body).json()["id"]
    assert account("PUT", f"/v1/messages/email/{number}", json={"subject": "Newer"}).status_code == 200
    assert account.get(f"/v1/messages/email/{number}")["subject"] == "Newer"
    made = account.post("/v1/broadcast", title="Go", messageId=str(number), groups=[{"id": GROUP}]).json()
    states = [account.get(f"/v1/broadcast/{made['broadcastId']}")["status"] for _ in range(3)]
    assert states == ["SCHEDULED", "RUNNING", "IDLE"]
    got = account.get("/v2/contacts/activity", dateFrom="2026-11-01")
    assert sorted(row["contactId"] for row in got) == [1, 3, 8]
    assert account("DELETE", f"/v1/messages/email/{number}").status_code == 200
    assert account("GET", f"/v1/messages/email/{number}").status_code == 404


def test_events_are_taken_up_to_their_size(account: Account) -> None:
    """20 kB, in all three versions of the call."""
    for version in ("v1", "v2", "v3"):
        assert account.post(f"/{version}/event", eventTypeKey="order", keyValue="1").content == b""
    big = [{"name": "x", "value": "y" * 20_000}]
    assert account.post("/v1/event", eventTypeKey="order", params=big).status_code == 400


# --- webhooks


def test_webhooks_are_arrays_of_activity(account: Account) -> None:
    """Asked for once, unsigned, with the headers and statuses that were chosen, the same rows as by polling."""
    account.store.add_webhook(URL, headers={"x-token": "t"}, statuses=["READ", "CLICKED"])
    assert list(account.store.handshakes()) == [HookRequest("GET", URL, {"x-token": "t"})]
    account.store.happen(
        "person3@example.com", "CLICKED", BROADCASTS[2], START, clickEventLink="https://shop.example/a"
    )
    account.store.happen("person3@example.com", "UNSUBSCRIBED", BROADCASTS[2], START)
    (request,) = account.store.hook_requests(START)
    assert (request.method, request.url, request.headers["x-token"]) == ("POST", URL, "t")
    assert json.loads(request.body) == account.get(
        "/v2/contacts/activity", dateFrom="2026-11-01", activityStatus="CLICKED"
    )
    assert len(json.loads(account.store.hook_requests()[0].body)) == 4


@pytest.mark.parametrize(("method", "expected"), [("GET", False), ("POST", True), ("PUT", True), ("DELETE", True)])
def test_only_questions_are_no_changes(method: str, *, expected: bool) -> None:
    """The journal counts writes by this."""
    assert asks_for_change(method, "/api/v1/contacts", {}) is expected
