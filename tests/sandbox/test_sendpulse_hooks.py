"""SendPulse's webhooks: registered by action, sent as unsigned JSON arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from tests.sandbox.services import START
from tests.sandbox.slot import Slot, serving
from tests.sandbox.small import small_world

from lettertrail.sandbox.esps.sendpulse import BOOK, CAMPAIGNS, SendPulseStore, create_app, seed_sendpulse
from lettertrail.sandbox.hooks import HookRequest, HookSender

URL = "https://inbox.example/sendpulse/marketing/token"
PATH = "/v2/email-service/webhook"


@pytest.fixture(scope="module")
def slot() -> Iterator[Slot]:
    """The server of all these tests."""
    with serving() as slot:
        yield slot


@pytest.fixture
def store() -> Iterator[SendPulseStore]:
    """The small world."""
    store = SendPulseStore(":memory:", clock=lambda: START)
    seed_sendpulse(small_world(), store)
    yield store
    store.close()


@pytest.fixture
def call(slot: Slot, store: SendPulseStore) -> Any:
    """A short way to call the service."""
    slot.app = create_app(store, client_id="c", client_secret="s", api_key="key", limits={})

    def ask(method: str, path: str, body: Any = None) -> Any:
        header = {"Authorization": "Bearer key"}
        return requests.request(method, slot.base + path, json=body, headers=header, timeout=10).json()

    return ask


def rows(sent: list[HookRequest]) -> list[dict[str, Any]]:
    """What the requests carry."""
    return [row for request in sent for row in json.loads(request.body)]


def test_each_action_is_a_row_of_its_own(call: Any) -> None:
    """Registered, listed, moved, forgotten."""
    made = call("POST", PATH, {"url": URL, "actions": ["open", "unsubscribe"]})["data"]
    assert [(row["action"], row["url"]) for row in made] == [("open", URL), ("unsubscribe", URL)]
    first = made[0]["id"]
    assert call("PUT", f"{PATH}/{first}", {"url": URL + "2"})["success"] is True
    assert call("GET", f"{PATH}/{first}")["data"]["url"] == URL + "2"
    assert call("DELETE", f"{PATH}/{first}") == {"success": True}
    assert [row["action"] for row in call("GET", PATH)["data"]] == ["unsubscribe"]
    assert call("GET", f"{PATH}/{first}") == {"result": False}
    assert call("POST", PATH, {"url": URL, "actions": ["teleport"]})["error_code"] == 422


def test_rows_are_exactly_what_the_service_sends(store: SendPulseStore, call: Any) -> None:
    """Unix seconds, now and then as text; the fields of each event beside the common ones."""
    call("POST", PATH, {"url": URL, "actions": ["redirect", "hard_bounces"]})
    store.happen("person3@example.com", "redirect", CAMPAIGNS[2], START, link_url="https://shop.example/a", link_id=4)
    (request,) = store.hook_requests(START)
    assert (request.method, request.url, request.headers["content-type"]) == ("POST", URL, "application/json")
    (row,) = rows([request])
    assert int(row.pop("timestamp")) == int(START.timestamp())
    assert row == {
        "event": "redirect",
        "email": "person3@example.com",
        "task_id": CAMPAIGNS[2],
        "link_url": "https://shop.example/a",
        "link_id": 4,
    }
    everything = rows(store.hook_requests())
    assert [row["event"] for row in everything] == ["redirect", "hard_bounces", "redirect"]
    assert everything[1]["smtp_server_response_code"] == 550


def test_a_request_carries_a_hundred_events(store: SendPulseStore, call: Any) -> None:
    """In order, split where the service splits."""
    call("POST", PATH, {"url": URL, "actions": ["open"]})
    for number in range(120):
        store.happen(f"crowd{number}@example.com", "open", CAMPAIGNS[1], START + timedelta(seconds=number))
    sent = store.hook_requests(START)
    assert [len(json.loads(request.body)) for request in sent] == [100, 20]
    assert [row["email"] for row in rows(sent)] == [f"crowd{number}@example.com" for number in range(120)]
    assert {type(row["timestamp"]) for row in rows(sent)} == {int, str}


def test_contacts_that_come_and_go_are_told(store: SendPulseStore, call: Any) -> None:
    """New and deleted contacts, unless the caller keeps it quiet."""
    call("POST", PATH, {"url": URL, "actions": ["new_emails", "delete"]})
    path = f"/addressbooks/{BOOK}/emails"
    call("POST", path, {"emails": ["new@example.com"]})
    call("POST", path, {"emails": ["quiet@example.com"], "disable_webhook": True})
    call("DELETE", path, {"emails": ["new@example.com"]})
    told = [(row["event"], row["email"], row["book_id"]) for row in rows(store.hook_requests())]
    assert told == [("new_emails", "new@example.com", BOOK), ("delete", "new@example.com", BOOK)]


def test_transactional_mail_has_its_own_stream(store: SendPulseStore, call: Any) -> None:
    """Other words, the id of the message instead of the campaign."""
    store.set_smtp_webhook(URL)
    letter = {
        "html": "PGI+",
        "subject": "Hello",
        "from": {"name": "Shop", "email": "shop@shop.example"},
        "to": [{"name": "Anna", "email": "anna@example.com"}],
    }
    number = call("POST", "/smtp/emails", {"email": letter})["id"]
    store.happen_to_letter(number, "opened", START)
    store.happen_to_letter(number, "spam_by_user", START)
    told = rows(store.hook_requests())
    assert [row["event"] for row in told] == ["delivered", "opened", "spam_by_user"]
    assert told[0] == {
        "event": "delivered",
        "timestamp": int(START.timestamp()),
        "message_id": number,
        "recipient": "anna@example.com",
        "sender": "shop@shop.example",
        "subject": "Hello",
    }
    assert call("GET", "/smtp/unsubscribe")[0]["spam_complaint"] == 1


def test_a_refused_request_comes_again_and_may_come_twice(store: SendPulseStore, call: Any) -> None:
    """What the inbox must survive."""
    call("POST", PATH, {"url": URL, "actions": ["open", "redirect"]})
    statuses = iter([500, 200, 200])
    seen: list[HookRequest] = []

    def post(request: HookRequest) -> int:
        seen.append(request)
        return next(statuses)

    sender = HookSender(post)
    sender.queue(store.hook_requests())
    sender.duplicate()
    assert sender.drain() == 1
    assert len(seen) == 3
    assert len({request.body for request in seen}) == 1
