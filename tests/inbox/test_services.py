"""From what the services' twins send to `raw_esp.events`: handshake, signature, reading, all the way through."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from bench.inbox.letters import SECRETS, TOKEN, URL
from tests.inbox.conftest import ACCOUNTS, NOW, UNIX, Inside, MemoryStore, ask, webhooks
from tests.inbox.test_store import use

from lettertrail.clock import fixed_clock
from lettertrail.inbox.app import create_app
from lettertrail.inbox.process import process_deliveries
from lettertrail.inbox.store import PostgresStore
from lettertrail.sandbox.esps.esputnik import rendering as esputnik
from lettertrail.sandbox.esps.mailchimp import webhooks as mailchimp
from lettertrail.sandbox.esps.mandrill import hooks as mandrill
from lettertrail.sandbox.esps.sendpulse import rendering as sendpulse
from lettertrail.sandbox.esps.unisender import hooks as unisender
from lettertrail.sandbox.esps.unisender_go import hooks as unisender_go
from lettertrail.sandbox.hooks import HookRequest

GO_SECRET = "go-key"
EMAIL = "anna@example.com"
SETTINGS = {"single_event": 0, "delivery_info": 1, "event_format": "json_post"}
GO_EVENT = {
    "job_id": "1aBcDe", "metadata": "{}", "email": EMAIL, "status": "hard_bounced", "event_time": "2026-11-20 10:00:00",
    "url": None, "delivery_status": "err_user_unknown", "destination_response": "550 no such user", "user_agent": None,
    "ip": None,
}  # fmt: skip


def address(account: str, kind: str) -> str:
    """As registered with the service."""
    return f"{URL}/{account}/{kind}/{TOKEN}"


def from_mailchimp() -> HookRequest:
    """Somebody left."""
    data = {"action": "unsub", "reason": "manual", "id": "8a25ff1d98", "list_id": "a6b5da1054", "email": EMAIL,
            "email_type": "html", "campaign_id": "cb398d21d2", "merges": {"EMAIL": EMAIL, "FNAME": "Анна"}}  # fmt: skip
    event: Any = {"type": "unsubscribe", "fired_at": "2026-11-20 10:00:00", "data": json.dumps(data)}
    secret = SECRETS["mailchimp/marketing"]
    return mailchimp.render(address("mailchimp", "marketing"), event, secret=secret, at=UNIX)


def from_mandrill() -> HookRequest:
    """Somebody complained."""
    message = {
        "_id": "abc",
        "ts": UNIX,
        "email": EMAIL,
        "state": "spam",
        "subject": "Привет & +",
        "sender": "a@shop.example",
    }
    event = {"event": "spam", "ts": UNIX, "_id": "abc", "msg": message}
    url = address("mailchimp", "transactional")
    return mandrill.render(url, [event], auth_key=SECRETS["mailchimp/transactional"])


def from_unisender() -> HookRequest:
    """Somebody left."""
    data = {"email": EMAIL, "status": "ok_unsubscribed", "campaign_id": 71}
    event: Any = {
        "event_name": "email_status", "event_time": "2026-11-20 10:00:00", "event_data": json.dumps(data),
    }  # fmt: skip
    return unisender.render(address("unisender", "marketing"), [event], api_key=SECRETS["unisender/marketing"])


def from_unisender_go(**settings: object) -> HookRequest:
    """A mailbox that is not there."""
    events: Any = [GO_EVENT]
    url = address("unisender", "transactional")
    return unisender_go.render(url, events, api_key=GO_SECRET, settings={**SETTINGS, **settings})


def from_sendpulse() -> HookRequest:
    """Somebody complained."""
    row = {"timestamp": str(UNIX), "event": "spam_by_user", "task_id": 71, "email": EMAIL, "source": "x"}
    (request,) = sendpulse.render(address("sendpulse", "marketing"), [row])
    return request


def from_esputnik() -> HookRequest:
    """Somebody left."""
    row = {
        "activityDateTime": "2026-11-20T10:00:00", "activityStatus": "UNSUBSCRIBED", "email": EMAIL, "iid": "i1",
        "broadcastId": 71, "messageId": 5, "contactId": 9, "mediaType": "email",
    }  # fmt: skip
    (request,) = esputnik.render(address("esputnik", "marketing"), [row])
    return request


REQUESTS = [
    pytest.param(from_mailchimp(), "mailchimp", "signed", "unsubscribed", id="mailchimp"),
    pytest.param(from_mandrill(), "mailchimp", "signed", "complained", id="mandrill"),
    pytest.param(from_unisender(), "unisender", "signed", "unsubscribed", id="unisender"),
    pytest.param(from_unisender_go(), "unisender", "signed", "bounced", id="unisender_go"),
    pytest.param(from_unisender_go(single_event=1), "unisender", "signed", "bounced", id="unisender_go single"),
    pytest.param(from_unisender_go(event_format="json_post_gzip"), "unisender", "signed", "bounced", id="go gzip"),
    pytest.param(from_sendpulse(), "sendpulse", "path", "complained", id="sendpulse"),
    pytest.param(from_esputnik(), "esputnik", "path", "unsubscribed", id="esputnik"),
]


def accounts() -> dict[str, object]:
    """All services."""
    secrets = {"marketing": SECRETS["unisender/marketing"], "transactional": GO_SECRET}
    return {**ACCOUNTS, "unisender": {"token": TOKEN, "secrets": secrets}, "esputnik": {"token": TOKEN}}


def send(store: Any, requests: Iterable[HookRequest]) -> list[int]:
    """Sends them as the twins do; the statuses."""
    app = create_app(store, webhooks(accounts()), clock=fixed_clock(NOW))
    return [
        ask(app, request.method, request.url.removeprefix(URL), request.body, request.headers).status
        for request in requests
    ]


@pytest.mark.parametrize(("request_", "esp", "verdict", "word"), REQUESTS)
def test_what_a_service_sends_becomes_its_event(
    inside: Inside, request_: HookRequest, esp: str, verdict: str, word: str
) -> None:
    """Twice sent, once there; the word is the one that keeps people from being mailed."""
    store = MemoryStore()
    assert send(store, [request_, request_]) == [200, 200]

    async def put(real: PostgresStore) -> None:
        for kept in store.kept:
            await real.put(kept)

    use(inside.dsn, put)
    (result,) = process_deliveries(inside.dsn, run_id="run", clock=fixed_clock(NOW))
    assert (result.account, result.received, result.applied, result.parked) == (esp, 1, 1, 0)
    assert inside.rows("select esp, email, event_type, source from raw_esp.events") == [(esp, EMAIL, word, "webhook")]
    assert inside.rows("select verdict, repeats, body from raw_inbox.deliveries") == [(verdict, 1, request_.body)]


@pytest.mark.parametrize(("request_", "esp", "verdict", "word"), REQUESTS)
def test_with_another_key_it_is_a_forgery(request_: HookRequest, esp: str, verdict: str, word: str) -> None:
    """Where the service signs; where it does not, the address is all there is."""
    path = request_.url.removeprefix(URL)
    other = {**accounts(), esp: {"token": TOKEN, "secrets": {path.split("/")[2]: "another"}}}
    app = create_app(MemoryStore(), webhooks(other), clock=fixed_clock(NOW))
    assert ask(app, "POST", path, request_.body, request_.headers).status == (401 if verdict == "signed" else 200)


def test_every_handshake_is_answered() -> None:
    """Without it the services do not take the address."""
    store = MemoryStore()
    url = address("mailchimp", "transactional")
    asked = [
        mailchimp.handshake(address("mailchimp", "marketing")), mandrill.handshake(url), mandrill.trial_request(url),
        unisender_go.handshake(address("unisender", "transactional")),
        HookRequest("GET", address("esputnik", "marketing")),
    ]  # fmt: skip
    assert send(store, asked) == [200] * len(asked)
    assert store.kept == []


def test_a_packed_forgery_is_one_too() -> None:
    """The signature is over what was packed."""
    genuine = from_unisender_go(event_format="json_post_gzip")
    forged = replace(genuine, body=gzip.compress(gzip.decompress(genuine.body).replace(b"anna", b"elsa")))
    assert send(MemoryStore(), [forged]) == [401]
