"""Mailchimp's webhooks as they are sent, preferences, history, and what only tests can make happen."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.sandbox.services import START, Account, problem
from tests.sandbox.small import FIRST, KEY, LIST, small_world

from lettertrail.sandbox.esps.mailchimp import (
    MailchimpStore,
    add_old_webhook,
    create_app,
    handshake,
    hook_requests,
    last_event,
    seed_mailchimp,
    subscriber_hash,
)
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.server import served

URL = "https://in.example/mailchimp"
ALL = {"events": dict.fromkeys(("subscribe", "unsubscribe", "profile", "cleaned", "upemail"), True)}
EVERYBODY = {"sources": {"user": True, "admin": True, "api": True}}


def listen(account: Account, **more: Any) -> Any:
    """A new webhook, as the answer shows it."""
    answer = account("POST", f"/lists/{LIST}/webhooks", json={"url": URL} | ALL | EVERYBODY | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(requests: list[HookRequest]) -> list[tuple[str, dict[str, str]]]:
    """Type and form of each."""
    forms = [dict(parse_qsl(request.body.decode(), keep_blank_values=True)) for request in requests]
    return [(form["type"], form) for form in forms]


def path_of(email: str) -> str:
    """The member's path."""
    return f"/lists/{LIST}/members/{subscriber_hash(email)}"


def test_the_secret_is_shown_once_and_signs_time_and_body(account: Account) -> None:
    """Verified by the scheme's words: HMAC-SHA256 of `{t}.{raw body}`."""
    hook = listen(account)
    assert hook["signing_enabled"] is True
    assert "signing_secret" not in account.get(f"/lists/{LIST}/webhooks/{hook['id']}")
    account.store.leave("person1@example.com")
    (request,) = hook_requests(account.store)
    stamp, mark = request.headers["X-Mailchimp-Signature"].split(",")
    assert stamp == f"t={int(START.timestamp())}"
    expected = hmac.new(hook["signing_secret"].encode(), stamp[2:].encode() + b"." + request.body, hashlib.sha256)
    assert mark == f"v1={expected.hexdigest()}"


def test_an_old_webhook_is_unsigned(account: Account) -> None:
    """It hears of the same, without a header to verify."""
    add_old_webhook(account.store, LIST, URL)
    (hook,) = account.get(f"/lists/{LIST}/webhooks")["webhooks"]
    assert hook["signing_enabled"] is False
    account.store.leave("person1@example.com")
    (request,) = hook_requests(account.store)
    assert list(request.headers) == ["Content-Type"]


def test_every_kind_of_change_has_its_form(account: Account) -> None:
    """Bracketed keys, naive UTC, and the merge fields as they were then."""
    account("POST", f"/lists/{LIST}/members", json={"email_address": "before@example.com", "status": "subscribed"})
    listen(account)
    account("PATCH", path_of("person1@example.com"), json={"merge_fields": {"FNAME": "Anna"}})
    account("PATCH", path_of("person1@example.com"), json={"email_address": "moved@example.com"})
    account("PUT", path_of("new@example.com"), json={"email_address": "new@example.com", "status_if_new": "subscribed"})
    account.store.happen("person3@example.com", "hard", FIRST)
    account.store.happen("person8@example.com", "abuse", FIRST, "2026-10-31T23:00:00+00:00")
    account("DELETE", path_of("new@example.com"))
    forms = told(hook_requests(account.store))
    assert [kind for kind, _ in forms] == ["profile", "upemail", "subscribe", "cleaned", "unsubscribe", "unsubscribe"]
    profile, upemail, subscribe, cleaned, complaint, deleted = (form for _, form in forms)
    assert (profile["fired_at"], profile["data[merges][FNAME]"]) == ("2026-11-01 00:00:00", "Anna")
    assert (upemail["data[old_email]"], upemail["data[new_email]"]) == ("Person1@Example.com", "moved@example.com")
    assert (subscribe["data[email]"], subscribe["data[list_id]"]) == ("new@example.com", LIST)
    assert (cleaned["data[reason]"], cleaned["data[campaign_id]"]) == ("hard", FIRST)
    assert (complaint["data[action]"], complaint["data[reason]"]) == ("unsub", "abuse")
    assert complaint["fired_at"] == "2026-10-31 23:00:00"
    assert (deleted["data[action]"], deleted["data[reason]"]) == ("delete", "manual")


def test_sources_and_events_that_are_off_are_not_told(account: Account) -> None:
    """`api: false` keeps the echo of our own writes away."""
    listen(account, sources={"user": True, "admin": True, "api": False}, events={"unsubscribe": True})
    account("PATCH", path_of("person3@example.com"), json={"status": "unsubscribed"})
    account.store.happen("person8@example.com", "hard", FIRST)
    account.store.leave("person1@example.com")
    assert [form["data[email]"] for _, form in told(hook_requests(account.store))] == ["Person1@Example.com"]
    assert hook_requests(account.store, since=last_event(account.store)) == []


@pytest.fixture
def strict() -> Iterator[Account]:
    """An account whose handshakes fail at `deaf` receivers; each is kept in `asked`."""
    clock = SimpleNamespace(now=datetime(2026, 11, 1, tzinfo=UTC), asked=[])
    store = MailchimpStore(":memory:", clock=lambda: clock.now)
    seed_mailchimp(small_world(), store)

    def post(request: HookRequest) -> int:
        clock.asked.append(request)
        if "gone" in request.url:
            raise ConnectionRefusedError
        return 404 if "deaf" in request.url else 200

    app = create_app(store, api_key=KEY, post=post)
    with served(app) as base:
        yield Account(base, store, clock)
    app.close()
    store.close()


def test_a_webhook_needs_its_handshake(strict: Account) -> None:
    """A GET to the URL, before the secret is shown."""
    for url in ("https://deaf.example/", "https://gone.example/"):
        refused = strict("POST", f"/lists/{LIST}/webhooks", json={"url": url})
        assert problem(refused) == (400, "Invalid Resource")
    assert strict.get(f"/lists/{LIST}/webhooks")["webhooks"] == []
    listen(strict)
    assert strict.clock.asked[-1] == handshake(URL)


def test_who_left_cannot_be_brought_back(account: Account) -> None:
    """By the link in a letter, by a bounce, by a complaint: whichever way is taken."""
    account.store.leave("person1@example.com")
    account.store.happen("person3@example.com", "hard", FIRST)
    account.store.happen("person8@example.com", "abuse", FIRST)
    for email in ("person1@example.com", "person3@example.com", "person8@example.com"):
        refused = account("PATCH", path_of(email), json={"status": "subscribed"})
        assert problem(refused) == (400, "Member In Compliance State")
    statuses = [account.store.status_of(f"person{n}@example.com") for n in (1, 3, 8)]
    assert statuses == ["unsubscribed", "cleaned", "unsubscribed"]


def test_what_happens_is_seen_in_the_reports(account: Account) -> None:
    """A new recipient, a click with its link, an unknown word as it is."""
    before = account.get(f"/reports/{FIRST}")
    account.store.enrol(["late@example.com"])
    for word in ("sent", "open", "wink", "unsubscribe"):
        account.store.happen("late@example.com", word, FIRST, "2026-03-05T10:00:00+00:00")
    account.store.happen("late@example.com", "click", FIRST, url="https://shop.example/z", ip="192.0.2.9")
    after = account.get(f"/reports/{FIRST}")
    assert after["emails_sent"] - before["emails_sent"] == 1
    assert after["unsubscribed"] - before["unsubscribed"] == 1
    seen = account.get(f"/reports/{FIRST}/email-activity/{subscriber_hash('late@example.com')}")["activity"]
    assert {row["action"] for row in seen} == {"open", "wink", "click"}


def test_bulk_rows_without_a_status_keep_it(account: Account) -> None:
    """Fields are written whoever it is; only a new address needs a status."""
    rows = [
        {"email_address": "person4@example.com", "merge_fields": {"FNAME": "G"}},
        {"email_address": "person1@example.com", "merge_fields": {"FNAME": "A"}},
        {"email_address": "stranger@example.com", "merge_fields": {"FNAME": "S"}},
        {"email_address": "guest@example.com", "status_if_new": "transactional"},
    ]
    done = account("POST", f"/lists/{LIST}", json={"members": rows, "update_existing": True}).json()
    assert [error["field"] for error in done["errors"]] == ["status"]
    assert (done["total_updated"], done["total_created"]) == (2, 1)
    left = account.member("person4@example.com")
    assert (left["status"], left["merge_fields"]["FNAME"]) == ("unsubscribed", "G")
    assert account.member("guest@example.com")["status"] == "transactional"


def test_interests_can_be_changed_and_removed(account: Account) -> None:
    """A removed interest is gone from the members; the count is a text."""
    base = f"/lists/{LIST}/interest-categories"
    category = account("POST", base, json={"title": "Topics", "type": "checkboxes"}).json()["id"]
    news, sales = (
        account("POST", f"{base}/{category}/interests", json={"name": name}).json()["id"] for name in ("News", "Sales")
    )
    account("PATCH", path_of("person1@example.com"), json={"interests": {news: True, sales: True}})
    renamed = account("PATCH", f"{base}/{category}/interests/{news}", json={"name": "Letters"}).json()
    assert (renamed["name"], renamed["subscriber_count"]) == ("Letters", "1")
    assert account.get(f"{base}/{category}/interests/{sales}")["name"] == "Sales"
    assert account("DELETE", f"{base}/{category}/interests/{sales}").status_code == 204
    ticked = account.member("person1@example.com")["interests"]
    assert ticked[news] is True
    assert sales not in ticked
    assert account("PATCH", f"{base}/{category}", json={"title": "Themes"}).json()["title"] == "Themes"
    assert problem(account("PATCH", f"{base}/{category}", json={"type": "tree"})) == (400, "Invalid Resource")
    assert account("DELETE", f"{base}/{category}").status_code == 204
    assert problem(account("GET", f"{base}/{category}")) == (404, "Resource Not Found")
    assert news not in account.member("person1@example.com")["interests"]


def test_a_member_has_a_feed_and_an_audience_a_growth(account: Account) -> None:
    """Counted by hand from the small world: two letters, two opens, two clicks, the sign-up."""
    path = f"{path_of('person1@example.com')}/activity-feed"
    feed = account.get(path, count=100)
    kinds = [item["activity_type"] for item in feed["activity"]]
    assert (kinds[0], kinds[-1], feed["total_items"]) == ("sent", "signup", 7)
    clicks = account.get(path, activity_filters="click,order")["activity"]
    assert [item["link_clicked"] for item in clicks] == ["https://shop.example/a"] * 2
    assert problem(account("GET", path, params={"activity_filters": "dance"})) == (400, "Invalid Resource")
    (month,) = account.get(f"/lists/{LIST}/growth-history")["history"]
    assert month["month"] == "2026-01"
    assert (month["subscribed"], month["unsubscribed"], month["cleaned"]) == (3, 2, 1)
