"""UniSender Go beside the classic service: single letters, the deny list, event dumps, webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.contract.cases import FOREVER, by_key, records
from tests.contract.unisender_service import NOW, UnisenderService, unisender_service

from lettertrail.errors import AuthenticationError, ConfigurationError, Duplicate, RateLimited
from lettertrail.esps._unisender_go import judge
from lettertrail.esps.port import Delivery, Event, Export, Letter
from lettertrail.esps.unisender import Unisender
from lettertrail.http import Answer
from lettertrail.sandbox.esps.unisender_go import UnisenderGoStore, create_app, hook_requests
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.server import served

KEY = "go-key-0123456789"
LINK = "https://shop.example/leave?t=1"
LETTER = Letter(
    "order 7", "anna@example.com", "Your order", "shop@sandbox.example", sender_name="Shop", text="Thanks",
    unsubscribe_url=LINK, tags=("orders",), headers={"X-Order": "7"}, variables={"name": "Anna"},
)  # fmt: skip


class Desk:
    """Both services of one company."""

    def __init__(self, base: str, store: UnisenderGoStore, classic: UnisenderService) -> None:
        self.base = base
        self.store = store
        self.classic = classic

    def adapter(self, *, key: str = KEY, **options: object) -> Unisender:
        return self.classic.adapter(transactional_key=key, transactional_host=self.base, **options)

    def fault(self, kind: str, **how: Any) -> None:
        answer = requests.post(f"{self.base}/_sandbox/faults", json={"kind": kind, **how}, auth=("any", KEY), timeout=5)
        assert answer.ok

    def jobs(self) -> list[Any]:
        return self.store.rows("select * from jobs order by rowid")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """The small world on one side, an empty project on the other, which may set List-Unsubscribe."""
    store = UnisenderGoStore(":memory:", clock=lambda: NOW)
    app = create_app(store, api_key=KEY, approved_headers=("List-Unsubscribe", "List-Unsubscribe-Post"))
    with unisender_service(tmp_path) as classic, served(Faults(app, key=KEY)) as base:
        yield Desk(base, store, classic)
    app.close()
    store.close()


def from_go(esp: Unisender, since: datetime | None = None, until: datetime | None = None) -> list[Event]:
    return [event for event in esp.events(since, until) if event.campaign_id is None]


# Sending


def test_a_letter_goes_out_with_our_key(desk: Desk) -> None:
    """The link always, the header only with leave of the support."""
    esp = desk.adapter()
    (sent,) = esp.send([LETTER])
    (job,) = desk.jobs()
    assert (sent.key, sent.status, sent.message_ref) == ("order 7", "accepted", job["job_id"])
    assert (job["unsubscribe_url"], json.loads(job["headers"])) == (LINK, {"X-Order": "7"})
    (letter,) = desk.store.rows("select * from letters")
    assert json.loads(letter["metadata"]) == {"lettertrail_key": "order 7"}
    assert [(call.path, call.status) for call in esp.calls()] == [("/email/send.json", 200)]


def test_the_header_needs_leave(desk: Desk) -> None:
    """With it, one click is enough."""
    list(desk.adapter(list_unsubscribe="true").send([LETTER]))
    (job,) = desk.jobs()
    headers = json.loads(job["headers"])
    assert headers["List-Unsubscribe"] == f"<{LINK}>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    ("cause", "evidence"),
    [
        ("unsubscribed", "unsubscribed"),
        ("permanent_unavailable", "hard_bounce"),
        ("complained", "complaint"),
        ("temporary_unavailable", None),
    ],
)
def test_a_refused_recipient_is_told_with_the_cause(desk: Desk, cause: str, evidence: str | None) -> None:
    """No webhook will tell of it."""
    desk.store.enrol(["anna@example.com"], status=cause)
    (sent,) = desk.adapter().send([LETTER])
    assert (sent.status, sent.reason, sent.evidence) == ("rejected", cause, evidence)
    assert desk.jobs() == []


@pytest.mark.parametrize(("kind", "letters"), [("drop_after_write", 1), ("drop_before", 0), ("truncate", 1)])
def test_a_letter_without_an_answer_is_not_sent_again(desk: Desk, kind: str, letters: int) -> None:
    """It may be on its way: the guard of the service lasts for a minute only."""
    desk.fault(kind)
    (sent,) = desk.adapter().send([LETTER])
    assert (sent.status, sent.message_ref) == ("unknown", None)
    assert len(desk.jobs()) == letters


def test_the_same_letter_within_a_minute_is_one_letter(desk: Desk) -> None:
    """The second is as good as sent."""
    first, second = desk.adapter().send([LETTER, LETTER])
    assert (first.status, second.status, second.message_ref) == ("accepted", "accepted", None)
    assert len(desk.jobs()) == 1


def test_a_letter_that_was_not_taken_is_tried_again(desk: Desk) -> None:
    """429 says that it was not."""
    desk.fault("refuse", status=429, times=2)
    (sent,) = desk.adapter().send([LETTER])
    assert sent.status == "accepted"
    desk.fault("refuse", status=429, times=FOREVER)
    (sent,) = desk.adapter().send([Letter("other", "boris@example.com", "s", "shop@sandbox.example", text="t")])
    assert sent.status == "rejected"


def test_a_wrong_letter_is_rejected_by_its_code(desk: Desk) -> None:
    """The next one goes on its way."""
    first, second = desk.adapter().send([Letter("a", "boris@example.com", "s", "shop@sandbox.example"), LETTER])
    assert (first.status, second.status) == ("rejected", "accepted")
    assert first.reason


def test_sending_needs_a_good_key(desk: Desk) -> None:
    """None at all, or one that is refused."""
    with pytest.raises(ConfigurationError, match="transactional_key"):
        list(desk.classic.adapter().send([LETTER]))
    with pytest.raises(AuthenticationError, match="transactional_key"):
        list(desk.adapter(key="wrong").send([LETTER]))
    steps = list(desk.adapter(key="wrong").check())
    assert [(step.name, step.ok) for step in steps] == [("key", True), ("fields", True), ("transactional key", False)]
    assert all(step.ok for step in desk.adapter(list_id="20547901").check())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, 102, AuthenticationError), (400, 1573, Duplicate), (400, 903, RateLimited), (403, 3309, RateLimited)],
)
def test_errors_go_by_their_code(status: int, code: int, kind: type[Exception]) -> None:
    """The message stays out, it may hold an address."""
    error = judge(Answer("unisender go", status, {}, {"status": "error", "code": code, "message": "a@b.c"}))
    assert type(error) is kind
    assert "a@b.c" not in str(error)


# The deny list


def test_suppressing_fills_the_deny_list(desk: Desk) -> None:
    """Both services refuse afterwards, strangers to the classic one too; only then it counts as suppressed."""
    esp = desk.adapter()
    people = [desk.classic.subscribed, desk.classic.left, "stranger@example.com"]
    assert set(esp.suppressed()) == set()
    sent = records(people)
    found = by_key(esp.suppress(sent), sent)
    assert {outcome.status for outcome in found.values()} == {"applied"}
    assert set(esp.suppressed()) == set(people)
    assert all(desk.store.suppression(address) is not None for address in people)
    assert desk.classic.status_of("stranger@example.com") is None
    again = by_key(desk.adapter().suppress(sent), sent)
    assert {outcome.status for outcome in again.values()} == {"already_ok"}


def test_who_is_denied_but_still_subscribed_is_not_suppressed(desk: Desk) -> None:
    """The classic service would go on mailing; and what passes by itself is no suppression."""
    desk.store.enrol([desk.classic.subscribed, "stranger@example.com"])
    desk.store.enrol(["full@example.com"], status="temporary_unavailable")
    assert list(desk.adapter().suppressed()) == ["stranger@example.com"]


@pytest.mark.parametrize("largest", [1_000, 50])
def test_the_deny_list_is_read_to_its_end(desk: Desk, largest: int) -> None:
    """By cursor, in large pages where the service gives them."""
    people = {f"denied{number}@example.com" for number in range(1_234)}
    desk.store.enrol(sorted(people))
    if largest == 50:
        desk.fault("refuse", status=400, body='{"status": "error", "code": 1, "message": "limit"}')
    assert set(desk.adapter().suppressed()) == people


@pytest.mark.parametrize(("kind", "status"), [("drop_after_write", "applied"), ("drop_before", "retry_pending")])
def test_a_lost_denial_is_read_back(desk: Desk, kind: str, status: str) -> None:
    """Done is applied; not done is pending, and the rest is not tried."""
    desk.fault(kind, path="suppression/set", times=FOREVER)
    sent = records(["a@example.com", "b@example.com"])
    found = by_key(desk.adapter().suppress(sent), sent)
    assert [found[f"key {number}"].status for number in range(2)] == [status, "retry_pending"]


# Events


def test_a_dump_is_asked_for_read_and_deleted(desk: Desk) -> None:
    """Every word in ours, openings in one second once, with message, link and program; none is left behind."""
    job = desk.store.happen("anna@example.com", "sent", at="2026-10-30 10:00:00")
    for word in ("accepted", "delivered", "opened", "opened", "clicked", "spam", "soft_bounced", "teleported"):
        more = {"url": LINK, "user_agent": "Mail", "ip": "10.0.0.1"} if word == "clicked" else {}
        desk.store.happen("anna@example.com", word, at="2026-10-30 10:00:00", job_id=job, **more)
    desk.store.happen(
        "b@example.com", "hard_bounced", at="2026-10-30 10:00:00", delivery_status="err_spam_rejected", job_id=job
    )
    esp = desk.adapter()
    events = from_go(esp)
    assert sorted((event.event_type, event.bounce_kind or "") for event in events) == [
        ("bounced", "block"), ("bounced", "soft"), ("clicked", ""), ("complained", ""), ("delivered", ""),
        ("opened", ""), ("sent", ""), ("unknown", ""),
    ]  # fmt: skip
    assert {event.message_ref for event in events} == {job}
    assert {event.source for event in events} == {"poll"}
    (click,) = [event for event in events if event.event_type == "clicked"]
    assert (click.url, click.user_agent, click.ip) == (LINK, "Mail", "10.0.0.1")
    assert click.occurred_at == datetime(2026, 10, 30, 10, tzinfo=UTC)
    assert desk.store.rows("select * from dumps") == []


def test_a_dump_is_of_the_window(desk: Desk) -> None:
    """A day below the last reading, up to what was asked, never older than the service keeps."""
    for day in ("2026-09-01", "2026-10-20", "2026-10-28", "2026-10-31"):
        desk.store.happen(f"d{day}@example.com", "delivered", at=f"{day} 10:00:00")
    since, until = datetime(2026, 10, 29, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC)
    assert [event.email for event in from_go(desk.adapter(), since, until)] == ["d2026-10-28@example.com"]
    assert len(from_go(desk.adapter())) == 3


def test_a_dump_in_many_files(desk: Desk) -> None:
    """All of them are read."""
    desk.store.rows_per_file = 7
    for number in range(20):
        desk.store.happen(f"p{number}@example.com", "delivered", at="2026-10-30 10:00:00")
    assert len(from_go(desk.adapter())) == 20


def test_a_dump_can_be_collected_by_another(desk: Desk) -> None:
    """It is one of the exports that Airflow waits for."""
    desk.store.happen("anna@example.com", "delivered", at="2026-10-30 10:00:00")
    esp = desk.adapter()
    dump = esp.start_exports(None)[-1]
    assert dump.kind == "transactional events"
    assert not esp.is_ready(dump)
    assert esp.is_ready(dump)
    later = desk.adapter()
    later.exports = [Export(dump.kind, dump.job_id)]
    assert len(from_go(later)) == 1
    assert desk.store.rows("select * from dumps") == []


@pytest.mark.parametrize("single", [0, 1])
def test_a_webhook_tells_what_a_dump_tells(desk: Desk, single: int) -> None:
    """The same identity: however an event arrives, it is one event."""
    address = "https://hooks.example/go"
    events = {"email_status": ["*"]}
    settings = {"url": address, "delivery_info": 1, "single_event": single, "events": events}
    answer = requests.post(
        f"{desk.base}/ru/transactional/api/v1/webhook/set.json", json=settings, headers={"X-API-KEY": KEY}, timeout=5
    )
    assert answer.ok, answer.text
    for word in ("delivered", "clicked", "hard_bounced"):
        desk.store.happen("anna@example.com", word, at="2026-10-30 10:00:00", url=LINK if word == "clicked" else "")
    told = [
        event
        for request in hook_requests(desk.store, api_key=KEY)
        for event in Unisender.read_hook("transactional", Delivery("POST", address, {}, request.body, NOW))
    ]
    dumped = {event.external_id: event.event_type for event in from_go(desk.adapter())}
    assert {event.external_id: event.event_type for event in told} == dumped
    assert {event.source for event in told} == {"webhook"}
    assert len(told) == 3
