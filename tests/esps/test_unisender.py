"""What is true of UniSender only: exports, last states, its words, its errors hidden in a 200."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.cases import FOREVER
from tests.contract.unisender_service import FIRST, KEY, NOW, SECOND, UnisenderService, unisender_service

from lettertrail.errors import (
    AuthenticationError,
    ConfigurationError,
    ContractError,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._unisender_rows import HARD, STATUSES, campaign, contacts, happened, links, table
from lettertrail.esps.port import AccountConnection, Delivery, Event, Export
from lettertrail.esps.unisender import EXPORT_BURST, EXPORT_RATE, Unisender, _judge
from lettertrail.http import Answer
from lettertrail.sandbox.esps.unisender import LIST_ID, hook_requests
from lettertrail.throttle import Throttle

LETTER = {"id": 7, "list_id": 5, "status": "completed", "start_time": "2026-03-01 09:00:00"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[UnisenderService]:
    """The small world."""
    with unisender_service(tmp_path) as running:
        yield running


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def state(word: str, update: str = "2026-03-01 12:00:00") -> dict[str, str]:
    return {"email": "A@b.c", "send_result": word, "last_update": update}


def asked(service: UnisenderService, method: str) -> list[dict[str, Any]]:
    return [line for line in service.lines() if line["path"].endswith(f"/{method}")]


# Reading


def test_contacts_come_by_an_export_for_each_status(service: UnisenderService) -> None:
    """Status, list, times, fields and tags out of the files, each person once."""
    service.enrol(["asked@example.com"], status="invited")
    service.enrol(["off@example.com"], status="inactive")
    found = {contact.email: contact for contact in service.adapter().contacts(None)}
    first, left = found["person1@example.com"], found["person4@example.com"]
    assert len(asked(service, "exportContacts")) == len(STATUSES)
    assert (first.status, first.list_id, first.opted_in_at) == ("subscribed", str(LIST_ID), at("2026-01-01 10:00"))
    assert first.fields == {"Name": "Анна", "LastName": "Last1"}
    assert first.payload["email"] == "Person1@Example.com"
    assert left.status == "unsubscribed"
    assert found["asked@example.com"].status == "pending"
    assert found["off@example.com"].status == "archived"
    assert (found["person5@example.com"].status, found["person5@example.com"].status_reason) == (
        "cleaned",
        "unreachable",
    )


def test_a_contact_is_one_on_each_list() -> None:
    """Who left one list stays in the other; who is on none is a contact all the same."""
    row = {"email": "A@b.c", "email_list_ids": "5,6", "email_subscribe_times": "2026-01-01 10:00:00,",
           "email_unsubscribed_list_ids": "7", "tags": "b,a"}  # fmt: skip
    found = list(contacts(row, "active", ["Name"]))
    assert [(contact.list_id, contact.status) for contact in found] == [
        ("5", "subscribed"), ("6", "subscribed"), ("7", "unsubscribed"),
    ]  # fmt: skip
    assert [contact.opted_in_at for contact in found] == [at("2026-01-01 10:00"), None, None]
    assert {contact.tags for contact in found} == {("a", "b")}
    (alone,) = contacts({"email": "a@b.c"}, "teleported", [])
    assert (alone.list_id, alone.status) == (None, "unknown")


def test_who_moves_between_exports_is_read_once_and_strictly(service: UnisenderService) -> None:
    """The lax file is fetched first and the strict one counts: nobody is lost, nobody is woken up."""
    esp = service.adapter()
    files: list[str] = []

    def leave(seconds: float) -> None:
        files.append("waited")
        if len(files) == 3:
            service.leave("person1@example.com")

    esp.api._sleep = leave
    found = [contact for contact in esp.contacts(None) if contact.email == "person1@example.com"]
    assert [contact.status for contact in found] == ["unsubscribed"]


def test_exports_can_be_asked_for_by_one_and_collected_by_another(service: UnisenderService) -> None:
    """As Airflow does it: ask, let go of the worker, come back when all are ready."""
    esp = service.adapter()
    exports = esp.start_exports(None)
    assert [export.kind for export in exports] == [f"contacts {status}" for status in reversed(STATUSES)]
    assert not any("@" in f"{export.kind}{export.job_id}" for export in exports)
    assert not esp.is_ready(exports[0])
    assert esp.is_ready(exports[0])
    service.store.finish_jobs()
    assert all(esp.is_ready(export) for export in exports)
    later = service.adapter()
    later.exports = exports
    assert len(list(later.contacts(None))) == service.people()
    assert len(asked(service, "exportContacts")) == len(exports)


def test_an_export_that_failed_may_be_asked_for_again(service: UnisenderService) -> None:
    """Unlike one the service has never heard of."""
    esp = service.adapter()
    (export, *_) = esp.start_exports(None)
    with service.store.transaction() as db:
        db.execute("update tasks set status = 'new'")
    service.fault("refuse", status=200, body='{"result": {"status": "failed"}}', path="getTaskResult")
    with pytest.raises(TemporaryApiError, match="failed"):
        esp.is_ready(export)
    with pytest.raises(NotFound):
        esp.is_ready(Export(export.kind, "no such job"))


def test_an_export_that_never_ends_is_given_up(service: UnisenderService) -> None:
    """After an hour of asking."""
    service.fault(
        "refuse", status=200, body='{"result": {"status": "processing"}}', path="getTaskResult", times=FOREVER
    )
    esp, waits = service.adapter(), list[float]()
    esp.api._sleep = waits.append
    with pytest.raises(TemporaryApiError, match="hour"):
        list(esp.contacts(None))
    assert 3_600 <= sum(waits) <= 3_700


def test_letters_are_campaigns() -> None:
    """Only what went out has a time of sending."""
    letter = campaign({**LETTER, "subject": "Весна"})
    assert (letter.external_id, letter.list_id, letter.subject, letter.status) == ("7", "5", "Весна", "completed")
    assert letter.sent_at == at("2026-03-01 09:00")
    assert campaign({**LETTER, "status": "scheduled"}).sent_at is None
    assert campaign({**LETTER, "status": "dreaming"}).status == "unknown"


def test_letters_that_leave_while_we_page_hide_no_other(
    service: UnisenderService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages overlap; each letter comes once."""
    monkeypatch.setattr("lettertrail.esps.unisender.CAMPAIGNS", 20)
    with service.store.transaction() as db:
        db.executemany(
            "insert into campaigns select ?, list_id, ?, status, subject, sender_name, sender_email, creation_time, "
            f"start_time from campaigns where id = {FIRST}",
            [(number, number) for number in range(1, 51)],
        )
    reading = service.adapter().campaigns(None)
    found = [next(reading).external_id]
    with service.store.transaction() as db:
        db.execute("delete from campaigns where id between 3 and 9")
    found += [letter.external_id for letter in reading]
    assert len(set(found)) == len(found)
    assert set(found) >= {str(number) for number in range(10, 51)} | {str(FIRST), str(SECOND)}


def test_totals_count_the_bounces_themselves(service: UnisenderService) -> None:
    """The service's own counts do not split them, or have none."""
    found = {total.external_id: total for total in service.adapter().totals(None)}
    first = found[str(FIRST)]
    assert (first.sent, first.delivered, first.bounced_hard, first.bounced_soft, first.bounced) == (6, 4, 1, 1, 2)
    assert (first.opens, first.opened, first.clicks, first.clicked, first.unsubscribed) == (4, 3, 4, 2, 1)
    assert first.opened_without_proxies is None
    assert found[str(SECOND)].complained == 1
    assert first.payload["send_results"]["err_user_unknown"] == 1


def test_links_are_counted_from_clicks() -> None:
    """Grouped by address of the link, people once each."""
    rows = [
        {"url": "u", "email": "a@b.c", "count": "2"},
        {"url": "u", "email": "A@B.C"},
        {"url": "v", "email": "d@b.c"},
    ]
    assert [(link.url, link.clicks, link.clicked) for link in links("7", rows)] == [("u", 3, 1), ("v", 1, 1)]


def test_what_happened_is_derived_from_states(service: UnisenderService) -> None:
    """Sends, deliveries, openings that no click hides, opt-outs and complaints; clicks have rows of their own."""
    events = list(service.adapter().events(None))
    assert Counter((event.event_type, event.source) for event in events) == {
        ("sent", "snapshot"): 8, ("delivered", "snapshot"): 6, ("bounced", "snapshot"): 2, ("opened", "snapshot"): 1,
        ("clicked", "poll"): 4, ("unsubscribed", "snapshot"): 1, ("complained", "snapshot"): 1,
    }  # fmt: skip
    clicks = [event for event in events if event.event_type == "clicked"]
    assert sorted((event.occurred_at, event.url) for event in clicks)[0] == (
        at("2026-03-01 09:00:05"),
        "https://shop.example/a",
    )
    assert all(event.ip for event in clicks)
    members = {contact.external_id for contact in service.adapter().contacts(None)}
    assert {event.contact_id for event in events if event.email != "old8@example.com"} <= members


def test_a_later_state_adds_an_event_and_rewrites_none(service: UnisenderService) -> None:
    """The opening that a click hides stays in the warehouse as it was."""
    service.enrol(["slow@example.com"])
    known: dict[str, Event] = {}
    for word, when in (("ok_delivered", "10"), ("ok_read", "11"), ("ok_link_visited", "12"), ("ok_unsubscribed", "13")):
        service.store.happen("slow@example.com", word, SECOND, f"2026-06-02 {when}:00:00", url="https://shop.example/a")
        for event in service.adapter().events(None):
            if event.email == "slow@example.com":
                assert known.setdefault(event.external_id, event) == event
    assert sorted((event.event_type, str(event.occurred_at)[:13]) for event in known.values()) == [
        ("clicked", "2026-06-02 12"),
        ("delivered", "2026-06-01 09"),
        ("opened", "2026-06-02 11"),
        ("sent", "2026-06-01 09"),
        ("unsubscribed", "2026-06-02 13"),
    ]


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("not_sent", []),
        ("ok_sent", ["sent"]),
        ("ok_spam_folder", ["sent", "delivered"]),
        ("ok_fbl", ["sent", "delivered", "complained"]),
        ("err_user_unknown", ["sent", "hard"]),
        ("err_will_retry", ["sent", "soft"]),
        ("err_spam_rejected", ["sent", "block"]),
        ("err_unsubscribed", ["rejected"]),
        ("err_lost", ["unknown"]),
    ],
)
def test_every_state_has_its_events(word: str, kinds: list[str]) -> None:
    """What was never tried was not sent."""
    found = list(happened(LETTER, state(word)))
    assert [event.bounce_kind or event.event_type for event in found] == kinds
    assert all(event.reason == word for event in found if event.event_type in ("bounced", "rejected", "unknown"))


def test_only_news_is_asked_for(service: UnisenderService) -> None:
    """A day below the last reading, of letters of the last thirty days; or as many as the option says."""
    list(service.adapter().events(at("2026-06-20 00:00")))
    assert len(asked(service, "getCampaignDeliveryStats")) == 1
    (line,) = asked(service, "getVisitedLinks")
    assert line["status"] == 200
    events = list(service.adapter(activity_days=365).events(at("2026-06-20 00:00")))
    assert {event.campaign_id for event in events if event.source == "poll"} == {str(FIRST)}
    assert {event.campaign_id for event in events if event.source == "snapshot"} == set()
    with pytest.raises(ConfigurationError, match="activity_days"):
        list(service.adapter(activity_days="soon").events(at("2026-06-20 00:00")))


def test_rows_must_fit_their_header() -> None:
    """A shifted column would put states into addresses."""
    assert table({"fields": ["a", "b"], "data": [[1, 2]]}) == [{"a": 1, "b": 2}]
    for answer in ({"fields": ["a"], "data": [[1, 2]]}, {"data": []}, {"fields": ["a"]}):
        with pytest.raises(ContractError):
            table(answer)


# Errors and limits


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_api_key", AuthenticationError),
        ("access_denied", AuthenticationError),
        ("api_call_limit_exceeded_for_api_key", RateLimited),
        ("api_call_limit_exceeded_for_ip", RateLimited),
        ("retry_later", TemporaryApiError),
        ("object_not_found", NotFound),
        ("invalid_arg", RequestRejected),
        ("something_new", RequestRejected),
    ],
)
def test_a_200_may_be_an_error(code: str, kind: type[Exception]) -> None:
    """By its code; the text stays out, it may hold an address."""
    error = _judge(Answer("unisender", 200, {}, {"error": "a@b.c is wrong", "code": code}))
    assert type(error) is kind
    assert "a@b.c" not in str(error)


def test_a_limit_inside_a_200_is_waited_for(service: UnisenderService) -> None:
    """Also by a write: a refused call was not carried out."""
    body = '{"error": "slow down", "code": "api_call_limit_exceeded_for_api_key"}'
    service.fault("refuse", status=200, body=body, times=2)
    assert len(list(service.adapter().lists())) == 1


def test_the_key_is_in_no_address(service: UnisenderService) -> None:
    """Addresses end in logs of proxies."""
    list(service.adapter().contacts(None))
    assert service.lines()
    for line in service.lines():
        assert line["method"] == "POST" or line["path"].endswith(".csv")
        assert set(line["query"]) <= {"format"}


def test_exports_keep_below_their_limit() -> None:
    """Twenty in any sixty seconds, however fast we are."""
    now, times = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    tested = Throttle(rate=EXPORT_RATE, burst=EXPORT_BURST, sleep=sleep, timer=lambda: now[0])
    for _ in range(100):
        with tested.slot():
            times.append(now[0])
    assert max(sum(start <= time < start + 60 for time in times) for start in times) <= 20


def test_an_account_needs_a_key_and_an_address_of_the_service() -> None:
    """Selzy is the same service; anywhere else is refused."""
    clock = lambda: NOW  # noqa: E731
    with pytest.raises(ConfigurationError, match="password"):
        Unisender.connect(AccountConnection("unisender"), clock=clock, allowed_hosts=[])
    with pytest.raises(ConfigurationError, match="allowed"):
        Unisender.connect(AccountConnection("unisender", "evil.example", password="k"), clock=clock, allowed_hosts=[])
    for host, address in ((None, "api.unisender.com/ru/api"), ("api.selzy.com", "api.selzy.com/en/api")):
        esp = Unisender.connect(AccountConnection("unisender", host, password="k"), clock=clock, allowed_hosts=[])
        assert esp.api._base_url == f"https://{address}"


# Webhooks


def test_the_service_s_own_webhooks_are_read(service: UnisenderService) -> None:
    """Rendered by the twin: states as events of their own, an opt-out by name."""
    with service.store.transaction() as db:
        db.execute("insert into hooks values ('https://x', ?, 'json_post', 1, 0, 'active')",
                   (json.dumps({"email_status": "*", "unsubscribe": "*", "campaign_status": "*"}),))  # fmt: skip
    for word in ("ok_read", "ok_link_visited", "err_user_unknown", "teleported"):
        service.store.happen("person1@example.com", word, FIRST, "2026-03-01 13:00:00", url="https://shop.example/a")
    service.leave("person1@example.com")
    service.store.note_hook("campaign_status", "2026-03-01 13:00:00", {"campaign_id": FIRST, "status": "completed"})
    (request,) = hook_requests(service.store, api_key=KEY)
    found = list(Unisender.read_hook("marketing", Delivery("POST", request.url, {}, request.body, NOW)))
    assert [(event.event_type, event.bounce_kind) for event in found] == [
        ("opened", None), ("clicked", None), ("bounced", "hard"), ("unknown", None), ("unsubscribed", None),
    ]  # fmt: skip
    assert {event.source for event in found} == {"webhook"}
    assert found[1].url == "https://shop.example/a"
    assert found[0].occurred_at == at("2026-03-01 13:00")
    assert (found[0].campaign_id, found[4].campaign_id) == (str(FIRST), None)
    assert "err_user_unknown" in HARD


def test_a_packed_webhook_is_unpacked() -> None:
    """With a limit: a small body must not become a large one."""
    body = b'{"auth": "x", "events_by_user": []}'
    headers = {"content-encoding": "gzip"}
    assert list(Unisender.read_hook("marketing", Delivery("POST", "u", headers, gzip.compress(body), NOW))) == []
    for packed in (b"no gzip", gzip.compress(body)[:-9], gzip.compress(b" " * (11 << 20))):
        with pytest.raises(ContractError):
            list(Unisender.read_hook("marketing", Delivery("POST", "u", headers, packed, NOW)))
