"""Mandrill: sending single letters, and what its webhooks tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from tests.contract.cases import FOREVER
from tests.contract.mailchimp_service import NOW, MailchimpService

from lettertrail.clock import fixed_clock
from lettertrail.errors import AuthenticationError, ConfigurationError, ContractError, RateLimited, TemporaryApiError
from lettertrail.esps._mandrill import judge
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import AccountConnection, Delivery, Event, Letter
from lettertrail.http import Answer
from lettertrail.sandbox.esps.mandrill import MandrillStore, create_app, hook_requests
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.server import served

KEY = "md-0123456789abcdef"
LINK = "https://shop.example/leave?t=1"
LETTER = Letter(
    "order 7", "anna@example.com", "Your order", "shop@sandbox.example", sender_name="Shop", text="Thanks",
    reply_to="help@sandbox.example", unsubscribe_url=LINK, tags=("orders",), headers={"X-Order": "7"},
)  # fmt: skip


class Desk:
    """A running Mandrill account and a Mailchimp adapter that sends through it."""

    def __init__(self, base: str, store: MandrillStore) -> None:
        self.base = base
        self.store = store
        self.esp = self.adapter()

    def adapter(self, *, key: str = KEY) -> Mailchimp:
        extra = {"transactional_key": key, "transactional_host": self.base}
        hosts = [self.base.removeprefix("http://"), "127.0.0.1"]
        connection = AccountConnection("mailchimp", "http://127.0.0.1:9", password="x-us1", extra=extra)
        esp = Mailchimp.connect(connection, clock=fixed_clock(NOW), allowed_hosts=hosts)
        assert esp.mandrill
        esp.mandrill.api._sleep = lambda seconds: None
        return esp

    def fault(self, kind: str, **how: Any) -> None:
        answer = requests.post(f"{self.base}/_sandbox/faults", json={"kind": kind, **how}, auth=("any", KEY), timeout=5)
        assert answer.ok

    def messages(self) -> list[Any]:
        return self.store.rows("select * from messages order by number")


@pytest.fixture
def desk() -> Iterator[Desk]:
    """An account without a history."""
    store = MandrillStore(":memory:", clock=lambda: NOW)
    app = create_app(store, api_key=KEY)
    with served(Faults(app, key=KEY)) as base:
        yield Desk(base, store)
    app.close()
    store.close()


def read(events: Any) -> list[Event]:
    body = urlencode({"mandrill_events": json.dumps(events)}).encode()
    return list(Mailchimp.read_hook("transactional", Delivery("POST", "https://x", {}, body, NOW)))


def test_a_letter_goes_out_with_its_headers(desk: Desk) -> None:
    """One click out, our key in the metadata, and the id of the message in the answer."""
    (sent,) = desk.esp.send([LETTER])
    (row,) = desk.messages()
    assert (sent.key, sent.status, sent.message_ref) == ("order 7", "accepted", row["id"])
    assert json.loads(row["metadata"]) == {"lettertrail_key": "order 7"}
    assert json.loads(row["headers"]) == {
        "X-Order": "7",
        "Reply-To": "help@sandbox.example",
        "List-Unsubscribe": f"<{LINK}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert [(call.path, call.status) for call in desk.esp.calls()] == [("/messages/send", 200)]


@pytest.mark.parametrize(
    ("reason", "evidence"),
    [("unsub", "unsubscribed"), ("hard-bounce", "hard_bounce"), ("spam", "complaint"), ("custom", None)],
)
def test_a_refused_recipient_is_told_with_the_reason(desk: Desk, reason: str, evidence: str | None) -> None:
    """Status 200 does not mean accepted."""
    desk.store.enrol(["anna@example.com"], status=reason)
    (sent,) = desk.esp.send([LETTER])
    assert (sent.status, sent.reason, sent.evidence) == ("rejected", reason, evidence)


@pytest.mark.parametrize(("kind", "letters"), [("drop_after_write", 1), ("drop_before", 0), ("truncate", 1)])
def test_a_letter_without_an_answer_is_not_sent_again(desk: Desk, kind: str, letters: int) -> None:
    """It may be on its way: sending it once more could mail twice."""
    desk.fault(kind)
    (sent,) = desk.esp.send([LETTER])
    assert (sent.status, sent.message_ref) == ("unknown", None)
    assert len(desk.messages()) == letters


def test_a_letter_that_was_not_taken_is_tried_again(desk: Desk) -> None:
    """429 says that it was not; a service that never stops saying so has refused it."""
    desk.fault("refuse", status=429, times=2)
    (sent,) = desk.esp.send([LETTER])
    assert sent.status == "accepted"
    desk.fault("refuse", status=429, times=FOREVER)
    (sent,) = desk.esp.send([LETTER])
    assert (sent.status, sent.reason) == ("rejected", "too many requests")
    assert len(desk.messages()) == 1


def test_a_letter_the_service_finds_wrong_is_rejected(desk: Desk) -> None:
    """By the name of the error; the next letter goes on its way."""
    wrong = Letter("a", "anna@example.com", "s", "shop@sandbox.example", template_id="unknown template")
    first, second = desk.esp.send([wrong, LETTER])
    assert (first.status, first.reason) == ("rejected", "Unknown_Template")
    assert second.status == "accepted"


def test_a_refused_key_stops_the_sending(desk: Desk) -> None:
    """It concerns every letter; the check names it too."""
    with pytest.raises(AuthenticationError, match="transactional_key"):
        list(desk.adapter(key="wrong").send([LETTER]))


def test_sending_needs_a_key(tmp_path: Path) -> None:
    """The connection says what is missing."""
    esp = Mailchimp.connect(AccountConnection("mailchimp", password="x-us1"), clock=lambda: NOW, allowed_hosts=[])
    with pytest.raises(ConfigurationError, match="transactional_key"):
        list(esp.send([LETTER]))


def test_the_check_tries_the_transactional_key(service: MailchimpService, desk: Desk) -> None:
    """The last step of a good connection, the one that fails with a bad key."""
    for key, ok in ((KEY, True), ("wrong", False)):
        extra = {"transactional_key": key, "transactional_host": desk.base}
        hosts = [base.removeprefix("http://") for base in (service.base, desk.base)]
        connection = AccountConnection("mailchimp", service.base, password=service.secret, extra=extra)
        steps = list(Mailchimp.connect(connection, clock=lambda: NOW, allowed_hosts=hosts).check())
        assert [step.name for step in steps] == ["key", "account", "audience", "transactional key"]
        assert steps[-1].ok is ok


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("Invalid_Key", 401, AuthenticationError),
        ("Invalid_Key", 500, AuthenticationError),
        ("RequestLimitExceeded", 500, RateLimited),
        ("GeneralError", 500, TemporaryApiError),
    ],
)
def test_errors_go_by_their_name(name: str, status: int, kind: type[Exception]) -> None:
    """Older servers answer 500 for nearly everything."""
    body = {"status": "error", "code": -1, "name": name, "message": "about a@b.c"}
    error = judge(Answer("mandrill", status, {}, body))
    assert isinstance(error, kind)
    assert "a@b.c" not in str(error)


# Webhooks


def test_the_service_s_own_webhooks_are_read(desk: Desk) -> None:
    """Rendered by the twin: every word it knows, with message, time, link and who did it."""
    address = "https://hooks.example/m"
    answer = requests.post(f"{desk.base}/api/1.0/webhooks/add", json={"key": KEY, "url": address}, timeout=5)
    assert answer.ok, answer.text
    (sent,) = desk.esp.send([LETTER])
    for word in ("delivered", "deferral", "open", "click", "hard_bounce", "soft_bounce", "spam", "unsub"):
        desk.store.happen("anna@example.com", word, at=NOW)
    events = [
        event
        for request in hook_requests(desk.store)
        for event in Mailchimp.read_hook(
            "transactional", Delivery(request.method, request.url, dict(request.headers), request.body, NOW)
        )
    ]
    assert [(event.event_type, event.bounce_kind) for event in events] == [
        ("sent", None), ("delivered", None), ("unknown", None), ("opened", None), ("clicked", None),
        ("bounced", "hard"), ("bounced", "soft"), ("complained", None), ("unsubscribed", None),
    ]  # fmt: skip
    assert events[2].reason == "deferral"
    assert events[0].message_ref == sent.message_ref
    assert {event.occurred_at for event in events} == {NOW}
    assert {event.email for event in events} == {"anna@example.com"}
    assert len({event.external_id for event in events}) == len(events)


# Polling, and the deny list


def polled(desk: Desk, since: datetime | None = None, until: datetime = NOW) -> list[Event]:
    assert desk.esp.mandrill
    return list(desk.esp.mandrill.events(since, until))


def test_messages_tell_what_became_of_them(desk: Desk) -> None:
    """Each step, opening (one a second) and click with time, link and program; refusals with their reason."""
    (sent,) = desk.esp.send([LETTER])
    desk.store.enrol(["boris@example.com"], status="custom")
    list(desk.esp.send([Letter("b", "boris@example.com", "s", "shop@sandbox.example", text="t")]))
    for word in ("delivered", "open", "open", "click"):
        more = {"url": LINK, "ip": "10.0.0.1", "user_agent": "Mail"} if word == "click" else {}
        desk.store.happen("anna@example.com", word, at=NOW, message_id=sent.message_ref, **more)
    events = polled(desk)
    by_word = {event.event_type: event for event in events}
    assert sorted(event.event_type for event in events) == [
        "clicked", "delivered", "opened", "rejected", "sent",
    ]  # fmt: skip
    assert len({event.external_id for event in events}) == len(events)
    click = by_word["clicked"]
    assert (click.url, click.user_agent, click.ip, click.occurred_at) == (LINK, "Mail", "10.0.0.1", NOW)
    assert by_word["rejected"].reason == "custom"
    assert (by_word["sent"].message_ref, by_word["sent"].source) == (sent.message_ref, "poll")


def test_an_event_is_the_same_however_it_is_told(desk: Desk) -> None:
    """A webhook and a poll of one event are one row of the warehouse."""
    answer = requests.post(f"{desk.base}/api/1.0/webhooks/add", json={"key": KEY, "url": "https://x"}, timeout=5)
    assert answer.ok
    (sent,) = desk.esp.send([LETTER])
    for word in ("delivered", "open", "click", "hard_bounce"):
        more = {"url": LINK} if word == "click" else {}
        desk.store.happen("anna@example.com", word, at=NOW, message_id=sent.message_ref, **more)
    (request,) = hook_requests(desk.store)
    told = Mailchimp.read_hook("transactional", Delivery("POST", "https://x", {}, request.body, NOW))
    assert {event.external_id for event in told} == {
        event.external_id for event in polled(desk) if event.source == "poll"
    }


def test_a_full_window_is_halved(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search has no pages and gives a thousand at most."""
    monkeypatch.setattr("lettertrail.esps._mandrill.FOUND", 10)
    for number in range(45):
        desk.store.add_message(f"p{number}@example.com", ts=int(NOW.timestamp()) - number * 3_600)
    events = polled(desk)
    assert len({event.email for event in events}) == len(events) == 45


def test_too_many_in_a_second_is_no_silence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them would be lost, so it is said."""
    monkeypatch.setattr("lettertrail.esps._mandrill.FOUND", 10)
    for number in range(11):
        desk.store.add_message(f"p{number}@example.com", ts=int(NOW.timestamp()) - 60)
    with pytest.raises(ContractError, match="second"):
        polled(desk)


def test_a_week_is_read_again(desk: Desk) -> None:
    """Opens come late; what is older is settled."""
    for days in (1, 6, 9):
        desk.store.add_message(f"d{days}@example.com", ts=int(NOW.timestamp()) - days * 86_400)
    assert {event.email for event in polled(desk, NOW)} == {"d1@example.com", "d6@example.com"}


def test_the_deny_list_is_read_too(desk: Desk) -> None:
    """Complaints and opt-outs hang on no message."""
    for reason in ("spam", "unsub", "hard-bounce", "custom"):
        desk.store.enrol([f"{reason}@example.com"], status=reason)
    assert sorted((event.event_type, event.email, event.source) for event in polled(desk)) == [
        ("bounced", "hard-bounce@example.com", "snapshot"),
        ("complained", "spam@example.com", "snapshot"),
        ("unsubscribed", "unsub@example.com", "snapshot"),
    ]


def test_the_deny_list_tells_of_people() -> None:
    """Somebody put on it for his own doing; not who was taken off, nor who was put there by hand."""
    rows = [
        {"type": "blacklist", "action": action, "reject": {"email": "A@b.c", "reason": reason}, "ts": 1_790_000_000}
        for action, reason in (("add", "spam"), ("remove", "spam"), ("add", "custom"))
    ]
    (event,) = read([*rows, {**rows[0], "type": "whitelist"}])
    assert (event.event_type, event.email) == ("complained", "a@b.c")
    assert event.occurred_at == datetime.fromtimestamp(1_790_000_000, UTC)


def test_the_trial_webhook_is_empty() -> None:
    """What the service sends when its test button is pressed."""
    assert read([]) == []
