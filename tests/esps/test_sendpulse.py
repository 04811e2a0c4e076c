"""SendPulse, reading: tokens, two shapes of statistics, naive times, transactional letters, webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.contract.sendpulse_service import NOW, STATIC_KEY, SendPulseService, naive, sendpulse_service

from lettertrail.clock import fixed_clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    Duplicate,
    NotFound,
    RateLimited,
    RequestRejected,
)
from lettertrail.esps._sendpulse_rows import bounce_kind
from lettertrail.esps.port import AccountConnection, Delivery, Event
from lettertrail.esps.sendpulse import NO_SMTP, SendPulse, _judge
from lettertrail.http import Answer
from lettertrail.sandbox.esps.sendpulse import BOOK, CAMPAIGNS

AT = datetime(2026, 10, 20, 9, tzinfo=UTC)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SendPulseService]:
    """The small world."""
    with sendpulse_service(tmp_path) as running:
        yield running


def hooked(*rows: dict[str, Any], kind: str = "marketing") -> list[Event]:
    """The events of one webhook with these rows."""
    body = json.dumps(rows).encode()
    return list(SendPulse.read_hook(kind, Delivery("POST", "https://hooks.example/x", {}, body, NOW)))


def tokens(service: SendPulseService) -> int:
    """How often a token was asked for."""
    return sum(line["path"].endswith("access_token") for line in service.lines())


def test_one_token_serves_many_calls_and_is_renewed_when_it_ends(service: SendPulseService) -> None:
    """A token ends in the middle of a reading: nothing is lost, and exactly one more is fetched."""
    service.enrol([f"crowd{number}@example.com" for number in range(250)])
    reading = service.adapter().contacts(None)
    found = [next(reading)]
    assert tokens(service) == 1
    service.store.expire_tokens()
    found += reading
    assert len(found) == service.people()
    assert tokens(service) == 2


def test_a_static_key_needs_no_token(service: SendPulseService) -> None:
    """Without a login the password is sent as it is."""
    host = service.base.removeprefix("http://")
    connection = AccountConnection("sendpulse", service.base, password=STATIC_KEY)
    esp = SendPulse.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[host])
    assert [one.external_id for one in esp.lists()] == [str(BOOK)]
    assert tokens(service) == 0


@pytest.mark.parametrize(
    ("connection", "complaint"),
    [
        (AccountConnection("sendpulse__b"), "no password"),
        (AccountConnection("sendpulse__b", password="x", extra={"timezone": "Kiew"}), "timezone"),
        (AccountConnection("sendpulse__b", "https://evil.example", password="x"), "not an allowed outbound host"),
    ],
)
def test_a_connection_that_cannot_work_says_why(connection: AccountConnection, complaint: str) -> None:
    """At once, and by the option's name."""
    with pytest.raises(ConfigurationError, match=complaint):
        SendPulse.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[])


@pytest.mark.parametrize("shape", ["object", "list"])
def test_both_shapes_of_statistics_give_the_same_totals(service: SendPulseService, shape: str) -> None:
    """Numbers as text, a list or a map of lists: the counts are the same."""
    service.store.configure(statistics=shape)
    service.store.happen("person8@example.com", "redirect", CAMPAIGNS[1], AT, link_url="https://shop.example/x")
    totals = {one.external_id: one for one in service.adapter().totals(None)}[str(CAMPAIGNS[1])]
    assert (totals.sent, totals.delivered, totals.clicked, totals.bounced_soft, totals.bounced) == (5, 4, 2, 1, 1)
    assert (totals.bounced_hard, totals.complained, totals.opened_without_proxies) == (0, 0, None)
    assert totals.clicks == (2 if shape == "object" else None)


def test_links_come_with_their_clicks(service: SendPulseService) -> None:
    """One row per link of a campaign."""
    (link,) = service.adapter().links(None)
    assert (link.campaign_id, link.url, link.clicks) == (str(CAMPAIGNS[1]), "https://shop.example/welcome", 1)


def test_old_campaigns_are_not_asked_for_totals_again(service: SendPulseService) -> None:
    """Two years after their sending nothing changes any more."""
    assert list(service.adapter().totals(NOW)) == []
    assert len(list(service.adapter().campaigns(NOW))) == len(CAMPAIGNS)


def test_times_are_read_in_the_zone_of_the_account(tmp_path: Path) -> None:
    """The service writes what the account's clock shows; an hour that comes twice is the first of the two."""
    kyiv = ZoneInfo("Europe/Kyiv")
    with sendpulse_service(tmp_path, is_empty=True, timezone=kyiv) as service:
        twice = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 03:30 in summer; an hour later it is 03:30 again
        service.mail("a@example.com", at=AT)
        service.mail("b@example.com", at=twice + timedelta(hours=1))
        sent = {event.email: event.occurred_at for event in service.adapter(timezone="Europe/Kyiv").events(None)}
    assert sent == {"a@example.com": AT, "b@example.com": twice}


def test_a_transactional_letter_tells_all_that_happened_to_it(service: SendPulseService) -> None:
    """Sent, arrived, opened twice in one second, clicked, with what it was read by."""
    later = AT + timedelta(minutes=3)
    ref = service.mail("a@example.com", at=AT, opens=[later, later], clicks=[("https://shop.example/a", later)])
    events = [event for event in service.adapter().events(NOW - timedelta(days=6)) if event.message_ref == ref]
    assert [(event.event_type, event.source, event.occurred_at) for event in events] == [
        ("sent", "poll", AT),
        ("delivered", "snapshot", AT),
        ("opened", "poll", later),
        ("opened", "poll", later),
        ("clicked", "poll", later),
    ]
    assert len({event.external_id for event in events}) == len(events)
    assert (events[2].user_agent, events[2].ip, events[4].url) == (
        "Chrome Linux",
        "192.0.2.1",
        "https://shop.example/a",
    )
    assert {event.campaign_id for event in events} == {None}


def test_a_bounce_that_two_lists_tell_of_is_one(service: SendPulseService) -> None:
    """The list of letters and the list of bounces know it under different names."""
    service.mail("a@example.com", at=AT, code=550)
    events = [event for event in service.adapter().events(AT) if event.email == "a@example.com"]
    assert [(event.event_type, event.bounce_kind) for event in events] == [("sent", None), ("bounced", "hard")]


def test_transactional_opt_outs_and_complaints_come_as_events(service: SendPulseService) -> None:
    """By the day they happened."""
    rows = [("a@example.com", 1, 0, 0), ("b@example.com", 0, 0, 1)]
    with service.store.transaction() as db:
        db.executemany(
            "insert into smtp_unsubscribed values (?, ?, ?, ?, ?, '', ?)",
            [(email, email, link, user, spam, AT.isoformat()) for email, link, user, spam in rows],
        )
    for since in (None, AT):
        found = {event.email: event for event in service.adapter().events(since) if event.message_ref is None}
        assert found["a@example.com"].event_type == "unsubscribed"
        assert found["b@example.com"].event_type == "complained"
        assert found["a@example.com"].occurred_at == AT


@pytest.mark.parametrize("size", [100, 150])
def test_a_list_that_ignores_pages_comes_to_an_end(service: SendPulseService, size: int) -> None:
    """The specification gives the blacklist no pages: the same answer again is the end of it."""
    everybody = json.dumps([f"black{number}@example.com" for number in range(size)])
    service.fault("refuse", path="^/blacklist", status=200, body=everybody, times=50)
    assert len([address for address in service.adapter().suppressed() if address.startswith("black")]) == size


def test_an_impossible_time_is_no_time(service: SendPulseService) -> None:
    """The row stays readable in the payload; the rest of the reading goes on."""
    row = {"id": 1, "name": "x", "creationdate": "0000-00-00 00:00:00", "status": 0, "all_email_qty": "12"}
    service.fault("refuse", path="^/addressbooks$", status=200, body=json.dumps([row]))
    (found,) = service.adapter().lists()
    assert (found.created_at, found.contacts) == (None, 12)


def test_the_check_does_not_keep_anybody_waiting(service: SendPulseService) -> None:
    """Two attempts are enough for a button; a push is more patient."""
    service.fault("refuse", path="^/addressbooks", status=500, times=100)
    steps = list(service.adapter().check())
    assert [step.ok for step in steps] == [False]
    assert sum(line["path"] == "/addressbooks" for line in service.lines()) == 2


def test_an_account_without_smtp_reads_all_the_same(service: SendPulseService) -> None:
    """It is no error not to have the product; with `smtp` off nobody even asks."""
    service.fault("refuse", path="^/smtp", status=422, body='{"message": "No such SMTP user", "error_code": 400}')
    assert list(service.adapter().events(None)) == []
    asked = len(service.lines())
    assert list(service.adapter(smtp="false").events(None)) == []
    assert len(service.lines()) == asked


@pytest.mark.parametrize(
    ("row", "word", "bounced_as"),
    [
        ({"event": "delivered"}, "delivered", None),
        ({"event": "open", "browser_name": "Chrome"}, "opened", None),
        ({"event": "redirect", "link_url": "https://shop.example/a", "link_id": 3}, "clicked", None),
        ({"event": "unsubscribe", "reason": "too many", "book_id": "7"}, "unsubscribed", None),
        ({"event": "spam"}, "complained", None),
        ({"event": "spam_by_user"}, "complained", None),
        ({"event": "soft_bounces", "smtp_server_response_code": 452}, "bounced", "soft"),
        ({"event": "hard_bounces", "smtp_server_response_code": 550}, "bounced", "hard"),
        ({"event": "resubscribed"}, "unknown", None),
    ],
)
def test_a_bulk_webhook_becomes_events(row: dict[str, Any], word: str, bounced_as: str | None) -> None:
    """Every word the service knows, with the time as number or as text."""
    common = {"email": "A@Example.com", "task_id": 12}
    (event,) = hooked({**common, **row, "timestamp": int(AT.timestamp())})
    (same,) = hooked({**common, **row, "timestamp": str(int(AT.timestamp()))})
    assert (event.event_type, event.bounce_kind, event.email) == (word, bounced_as, "a@example.com")
    assert (event.campaign_id, event.occurred_at, event.source) == ("12", AT, "webhook")
    assert event.external_id == same.external_id
    assert event.url == (row.get("link_url") if word == "clicked" else None)


def test_a_webhook_that_came_twice_is_one_event() -> None:
    """The service repeats what it got no answer to; two links in one second stay two."""
    row = {"event": "redirect", "email": "a@example.com", "task_id": 1, "timestamp": 5, "link_url": "x", "link_id": 1}
    first, again, other = hooked(row, row, {**row, "link_url": "y", "link_id": 2})
    assert first == again
    assert other.external_id != first.external_id


def test_news_of_books_and_campaigns_are_no_events() -> None:
    """They are of no letter, and the state of a campaign names no address."""
    rows = [{"event": word, "timestamp": 1} for word in ("new_emails", "delete", "task_status_update")]
    assert hooked(*rows) == []


def test_a_transactional_webhook_names_its_letter() -> None:
    """The id that the sending gave is the reference."""
    given = {"message_id": "m-1", "recipient": "a@example.com", "sender": "s@shop.example", "subject": "Order"}
    rows = [{"event": word, "timestamp": 1, **given} for word in ("delivered", "opened", "undelivered")]
    rows[2] |= {"smtp_server_response_code": 550, "smtp_server_response_subcode": "5.7.1"}
    events = hooked(*rows, kind="transactional")
    assert [event.event_type for event in events] == ["delivered", "opened", "bounced"]
    assert events[2].bounce_kind == "block"
    assert {event.message_ref for event in events} == {"m-1"}
    assert {event.campaign_id for event in events} == {None}


@pytest.mark.parametrize("body", [b"", b"no json", b'"text"', b"[1]", b'[{"event": "open"}]', b"{}"])
def test_a_body_that_is_no_webhook_breaks_the_contract(body: bytes) -> None:
    """It is parked with a reason, not read as nothing."""
    with pytest.raises(ContractError, match="sendpulse"):
        list(SendPulse.read_hook("marketing", Delivery("POST", "https://hooks.example/x", {}, body, NOW)))


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (200, {"is_error": True, "error_code": 213, "message": "Book of a@example.com"}, NotFound, "213"),
        (200, {"is_error": True, "error_code": 904}, Duplicate, "904"),
        (200, {"result": False}, RequestRejected, None),
        (200, {"success": False, "error_code": 720}, RequestRejected, "720"),
        (400, {"message": "Too fast", "error_code": 2020202020}, RateLimited, "2020202020"),
        (401, {"message": "Unauthorized", "error_code": 401}, AuthenticationError, None),
        (400, {"error": "invalid_client"}, AuthenticationError, None),
        (403, {"message": "Change your tariff plan", "error_code": 3030303030}, RequestRejected, "not in the plan"),
        (422, {"message": "No such SMTP user", "error_code": 400}, RequestRejected, NO_SMTP),
        (422, {"message": "Active emails not found", "error_code": 422}, Duplicate, "422"),
        (404, None, NotFound, None),
    ],
)
def test_refusals_are_told_apart(status: int, body: Any, kind: type[ApiError], code: str | None) -> None:
    """By the code inside, also behind a 200; what the message says of a person stays out of ours."""
    error = _judge(Answer("sendpulse", status, {}, body))
    assert type(error) is kind
    assert error.code == code
    assert "example.com" not in str(error)


@pytest.mark.parametrize("status", [429, 500, 503, 403])
def test_what_the_status_says_is_left_to_the_status(status: int) -> None:
    """Throttling and faults without a code are the same for every service."""
    assert _judge(Answer("sendpulse", status, {}, None)) is None


@pytest.mark.parametrize("body", [{"result": True}, [], {"total": 1}, None, "text"])
def test_a_good_answer_is_no_refusal(body: Any) -> None:
    """Whatever its shape."""
    assert _judge(Answer("sendpulse", 200, {}, body)) is None


@pytest.mark.parametrize(
    ("code", "subcode", "kind"),
    [
        (550, "5.1.1", "hard"),
        ("552", "5.2.2", "soft"),
        (421, "4.7.0", "soft"),
        (550, "5.7.1", "block"),
        (550, None, "hard"),
    ],
)
def test_bounces_have_kinds(code: object, subcode: object, kind: str) -> None:
    """By the SMTP answer, number or text."""
    assert bounce_kind(code, subcode) == kind


def test_the_check_stops_where_it_fails_and_says_what_to_do(service: SendPulseService) -> None:
    """An address book that is not there."""
    steps = list(service.adapter(list_id=1).check())
    assert [(step.name, step.ok) for step in steps] == [("key", True), ("address books", False)]
    assert "list_id" in steps[-1].message


def test_times_as_the_service_writes_them() -> None:
    """The helper that writes them for these tests agrees with itself."""
    assert naive(AT) == "2026-10-20 09:00:00"
