"""The Mandrill sandbox answers as the reference says (esp_apis.md section 2)."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from tests.sandbox.small import small_world

from lettertrail.sandbox.esps.mandrill import (
    MandrillStore,
    asks_for_change,
    create_app,
    handshake,
    hook_requests,
    last_event,
    seed_mandrill,
    trial_request,
)
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.server import served

KEY = "mandrillkey0123"


class Account:
    """A running service, its clock, and short ways to call it."""

    def __init__(self, base: str, store: MandrillStore, clock: SimpleNamespace, asked: list[HookRequest]) -> None:
        self.base, self.store, self.clock, self.asked = base, store, clock, asked

    def post(self, method: str, **body: Any) -> tuple[int, Any]:
        answer = requests.post(f"{self.base}/api/1.0/{method}.json", json={"key": KEY, **body}, timeout=10)
        return answer.status_code, answer.json()

    def result(self, method: str, **body: Any) -> Any:
        status, answer = self.post(method, **body)
        assert status == 200, answer
        return answer

    def refusal(self, method: str, **body: Any) -> tuple[int, str]:
        status, answer = self.post(method, **body)
        assert (answer["status"], set(answer)) == ("error", {"status", "code", "name", "message"})
        return status, answer["name"]

    def send(self, *emails: str, sender: str = "shop@sandbox.example", **more: Any) -> Any:
        message = {"from_email": sender, "subject": "Receipt", "to": [{"email": email} for email in emails]}
        return self.result("messages/send", message=message | more.pop("message", {}), **more)


@pytest.fixture
def account() -> Iterator[Account]:
    """The small world with its letters; receivers named `deaf` refuse the handshake."""
    clock = SimpleNamespace(now=datetime(2026, 11, 1, tzinfo=UTC))
    store = MandrillStore(":memory:", clock=lambda: clock.now)
    seed_mandrill(small_world(), store, letters=(71, 72))
    asked: list[HookRequest] = []

    def post(request: HookRequest) -> int:
        asked.append(request)
        return 404 if "deaf" in request.url else 200

    app = create_app(store, api_key=KEY, post=post, monotonic=lambda: 0.0)
    with served(app) as base:
        yield Account(base, store, clock, asked)
    app.close()
    store.close()


def test_errors_go_by_their_name(account: Account) -> None:
    """And by the status that goes with it."""
    assert account.refusal("users/ping2", key="wrong") == (401, "Invalid_Key")
    assert account.refusal("messages/info", id="none") == (404, "Unknown_Message")
    assert account.refusal("messages/send-template", template_name="unknown one") == (404, "Unknown_Template")
    assert account.refusal("rejects/add", email="nonsense") == (422, "ValidationError")
    assert account.refusal("rejects/list", subaccount="none") == (404, "Unknown_Subaccount")
    assert account.refusal("exports/info", id="none") == (404, "Unknown_Export")
    assert account.result("users/ping2") == {"PING": "PONG!"}


def test_older_servers_answer_500_to_every_error() -> None:
    """The name is the same: a client that goes by the status would repeat what cannot succeed."""
    app = create_app(MandrillStore(":memory:"), api_key=KEY, is_old=True)
    with served(app) as base:
        answer = requests.post(f"{base}/api/1.4/users/ping2", json={"key": "wrong"}, timeout=10)
    assert (answer.status_code, answer.json()["name"]) == (500, "Invalid_Key")


def test_a_flood_is_refused_and_counted(account: Account) -> None:
    """The 301st call at once."""
    for _ in range(300):
        account.result("users/ping2")
    assert account.refusal("users/ping2") == (429, "RequestLimitExceeded")
    assert requests.get(f"{account.base}/_sandbox/limits", timeout=10).json()["violations"] == 1


@pytest.mark.parametrize(
    ("method", "expected"),
    [("messages/send", True), ("rejects/add", True), ("messages/search", False), ("exports/activity", False)],
)
def test_writing_is_told_from_reading(method: str, expected: bool) -> None:
    """Everything is a POST here, so the name decides."""
    assert asks_for_change("POST", f"/api/1.0/{method}.json", None) is expected


def test_every_recipient_has_an_answer(account: Account) -> None:
    """Status 200 whatever became of them."""
    sent = account.send("new@example.com", "person4@example.com", "person5@example.com", "nonsense")
    assert [(item["status"], item["reject_reason"]) for item in sent] == [
        ("sent", None),
        ("rejected", "unsub"),
        ("rejected", "hard-bounce"),
        ("invalid", "invalid"),
    ]
    assert account.send("new@example.com", sender="a@b.invalid")[0]["reject_reason"] == "unsigned"
    assert account.store.mailed()[-1] == "new@example.com"


def test_many_recipients_are_queued_and_a_future_time_is_scheduled(account: Account) -> None:
    """More than ten, `async`, `send_at`; a past time sends at once."""
    many = account.send(*(f"m{n}@example.com" for n in range(11)))
    assert {item["status"] for item in many} == {"queued"}
    assert account.send("a@example.com", **{"async": True})[0]["status"] == "queued"
    assert account.send("a@example.com", send_at="2026-10-01 00:00:00")[0]["status"] == "sent"
    later = account.send("a@example.com", send_at="2026-11-02 00:00:00")[0]
    assert later["status"] == "scheduled"
    assert [item["_id"] for item in account.result("messages/list-scheduled")] == [later["_id"]]
    account.result("messages/cancel-scheduled", id=later["_id"])
    assert account.result("messages/info", id=later["_id"])["state"] == "canceled"


def test_nothing_stops_a_repeat_but_metadata_finds_the_first(account: Account) -> None:
    """The same call twice mails twice."""
    message = {"metadata": {"key": "order-1"}, "recipient_metadata": [{"rcpt": "a@example.com", "values": {"n": 1}}]}
    first = account.send("a@example.com", message=message)[0]["_id"]
    found = account.result("messages/search", query="u_key:order-1")
    assert [item["_id"] for item in found] == [first]
    assert found[0]["metadata"] == {"key": "order-1", "n": 1}
    account.send("a@example.com", message=message)
    assert len(account.result("messages/search", query="u_key:order-1")) == 2


def test_a_search_looks_back_seven_days_and_has_no_pages(account: Account) -> None:
    """The letters of the world are older; a window finds them, newest first, up to the limit."""
    assert account.result("messages/search") == []
    window = {"date_from": "2026-03-01", "date_to": "2026-03-01"}
    found = account.result("messages/search", **window)
    assert (len(found), found[0]["tags"]) == (6, ["71"])
    assert len(account.result("messages/search", limit=2, **window)) == 2
    assert len(account.result("messages/search", query="email:person1@example.com", **window)) == 1
    assert account.refusal("messages/search", limit=1001) == (422, "ValidationError")
    reader = next(item for item in found if item["email"] == "person1@example.com")
    assert (reader["opens"], reader["clicks"], reader["state"]) == (2, 2, "sent")
    assert reader["clicks_detail"][0]["url"] == "https://shop.example/a"
    hours = account.result("messages/search-time-series", **window)
    assert [(hour["sent"], hour["unique_opens"], hour["hard_bounces"]) for hour in hours] == [(6, 3, 1)]


def test_rejects_are_added_listed_and_taken_back_at_a_price(account: Account) -> None:
    """One at a time; not for allowed addresses; the reason that is there stays."""
    assert account.result("rejects/add", email="a@example.com", comment="asked by phone") == {
        "email": "a@example.com",
        "added": True,
    }
    account.result("rejects/add", email="person4@example.com")
    reasons = {row["email"]: row["reason"] for row in account.result("rejects/list")}
    assert reasons == {
        "a@example.com": "custom",
        "person2@example.com": "spam",
        "person4@example.com": "unsub",
        "person5@example.com": "hard-bounce",
    }
    before = account.result("users/info")["reputation"]
    assert account.result("rejects/delete", email="a@example.com")["deleted"] is True
    assert account.result("rejects/delete", email="a@example.com")["deleted"] is False
    assert account.result("users/info")["reputation"] == before - 1
    account.result("allowlists/add", email="vip@example.com")
    assert account.result("rejects/add", email="vip@example.com")["added"] is False
    assert [row["email"] for row in account.result("allowlists/list")] == ["vip@example.com"]
    assert account.result("allowlists/delete", email="vip@example.com")["deleted"] is True


def test_the_list_of_rejects_ends_at_1000(account: Account) -> None:
    """Only the export has them all."""
    account.store.enrol([f"r{n}@example.com" for n in range(1000)])
    assert len(account.result("rejects/list")) == 1000
    export = account.result("exports/rejects")
    account.store.finish_jobs()
    assert len(rows(account, account.result("exports/info", id=export["id"]), "rejects.csv")) == 1003


def rows(account: Account, export: Any, name: str) -> list[dict[str, str]]:
    """The file in the zip by column."""
    with zipfile.ZipFile(io.BytesIO(requests.get(export["result_url"], timeout=10).content)) as archive:
        assert archive.namelist() == [name]
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def test_an_export_passes_through_its_states(account: Account) -> None:
    """A zip with one CSV file, when it is complete and not before."""
    export = account.result("exports/activity", date_from="2026-03-01 00:00:00", date_to="2026-03-02", tags=["71"])
    assert (export["state"], export["result_url"]) == ("waiting", None)
    polled = [account.result("exports/info", id=export["id"]) for _ in range(3)]
    assert [found["state"] for found in polled] == ["working", "complete", "complete"]
    states = {row["Email Address"]: row["Status"] for row in rows(account, polled[1], "activity.csv")}
    assert states["person4@example.com"] == "unsub"
    assert states["person3@example.com"] == "soft-bounced"
    assert len(states) == 6
    chosen = account.result("exports/activity", date_from="2026-01-01", states=["spam"])
    account.store.finish_jobs()
    found = rows(account, account.result("exports/info", id=chosen["id"]), "activity.csv")
    assert [row["Email Address"] for row in found] == ["person2@example.com"]


def signature(key: str, request: HookRequest) -> str:
    """As the documentation says: the URL, then each name and value of the form in sorted order."""
    text = request.url
    for name, value in sorted(parse_qsl(request.body.decode())):
        text += name + value
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()


def test_webhooks_are_signed_over_url_and_form(account: Account) -> None:
    """In batches; a click has its link, a change of the rejects its own shape."""
    url = "https://user:pass@in.example/m?a=1"
    hook = account.result("webhooks/add", url=url, events=["click", "unsub", "blacklist", "reject"])
    assert account.asked == [handshake(url)]
    begin = last_event(account.store)
    number = account.store.happen("person1@example.com", "click", "71", url="https://shop.example/ä", ip="192.0.2.1")
    account.store.happen("person1@example.com", "open", message_id=number)
    account.store.leave("person1@example.com")
    account.send("person1@example.com")
    (request,) = hook_requests(account.store, since=begin)
    assert request.headers["X-Mandrill-Signature"] == signature(hook["auth_key"], request)
    events = json.loads(dict(parse_qsl(request.body.decode()))["mandrill_events"])
    assert [event.get("event", event.get("type")) for event in events] == ["click", "unsub", "blacklist", "reject"]
    assert (events[0]["url"], events[0]["msg"]["email"]) == ("https://shop.example/ä", "person1@example.com")
    assert events[2]["reject"]["reason"] == "unsub"
    assert hook_requests(account.store, since=last_event(account.store)) == []


def test_the_trial_is_signed_with_the_known_word(account: Account) -> None:
    """An empty list: a receiver has to take it before it has a key."""
    request = trial_request("https://in.example/m")
    assert request.headers["X-Mandrill-Signature"] == signature("test-webhook", request)
    assert request.body == b"mandrill_events=%5B%5D"


def test_a_receiver_that_does_not_answer_is_refused(account: Account) -> None:
    """The key is not shown, the webhook not kept."""
    assert account.refusal("webhooks/add", url="https://deaf.example/") == (422, "ValidationError")
    assert account.result("webhooks/list") == []
    account.clock.now += timedelta(days=1)
    hook = account.result("webhooks/add", url="https://in.example/")
    assert account.result("webhooks/info", id=hook["id"])["auth_key"] == hook["auth_key"]
    account.result("webhooks/delete", id=hook["id"])
    assert account.refusal("webhooks/info", id=hook["id"])[0] == 404


def test_an_old_letter_alone_comes_from_a_whole_world() -> None:
    """The sample world must earn no credit from here."""
    store = MandrillStore(":memory:")
    assert seed_mandrill(small_world(), store)
    assert store.number("select count(*) from events where event in ('open', 'click')") == 0
    assert not seed_mandrill(small_world(), store)
