"""eSputnik, writing: sessions, fields that must not be cleared, an unguarded resubscribe, letters sent at most once."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.contract.cases import AUDIENCE, FOREVER, by_key, records
from tests.contract.esputnik_service import EsputnikService, esputnik_service

from lettertrail.errors import AuthenticationError, ConfigurationError
from lettertrail.esps.port import Letter, Outcome, Record
from lettertrail.sandbox.esps.esputnik import CITY_FIELD, usual_limits
from lettertrail.throttle import Throttle

LETTER = Letter("order-1", "person1@example.com", "Your order", "shop@shop.example", html="<p>Thanks</p>")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[EsputnikService]:
    """The small world."""
    with esputnik_service(tmp_path) as running:
        yield running


def outcome(outcomes: Iterator[Outcome]) -> tuple[str, str | None]:
    """Status and reason of a single record."""
    (only,) = outcomes
    return only.status, only.reason


def paths(service: EsputnikService) -> Counter[str]:
    """How often each path was written to."""
    return Counter(f"{line['method']} {line['path']}" for line in service.writes())


def reads(service: EsputnikService, path: str) -> int:
    """How often a path was read."""
    return sum(line["path"] == path and line["method"] == "GET" for line in service.lines())


def held(service: EsputnikService, address: str) -> dict[str, Any]:
    """Name and city of a contact."""
    row = service.store.row("select first_name, fields from contacts where key = ?", address)
    assert row is not None
    return {"firstName": row["first_name"], "City": json.loads(row["fields"]).get(str(CITY_FIELD))}


def letters(service: EsputnikService) -> int:
    """How many letters the service has taken."""
    return service.store.number("select count(*) from sends")


def test_a_write_clears_nothing_it_does_not_bring(service: EsputnikService) -> None:
    """People with different fields in one push: each keeps what its record does not name."""
    esp = service.adapter()
    list(esp.upsert([Record("k", service.subscribed, {"City": "Kyiv"}), Record("l", service.left, {"City": "Lviv"})]))
    sent = [
        Record("1", service.subscribed, {"firstName": "Ann"}),
        Record("2", service.left, {"City": "Odesa"}),
        Record("3", "person3@example.com", {"firstName": "Vera", "City": "Kyiv"}),
    ]
    assert {one.status for one in esp.upsert(sent)} == {"applied"}
    assert held(service, service.subscribed) == {"firstName": "Ann", "City": "Kyiv"}
    assert held(service, service.left) == {"firstName": "Gleb", "City": "Odesa"}
    assert held(service, "person3@example.com") == {"firstName": "Vera", "City": "Kyiv"}


def test_a_record_that_brings_nothing_clears_the_field(service: EsputnikService) -> None:
    """None is a value: the mart says that there is none."""
    esp = service.adapter()
    list(esp.upsert([Record("k", service.subscribed, {"City": "Kyiv"})]))
    assert outcome(esp.upsert([Record("k", service.subscribed, {"City": None})])) == ("applied", None)
    assert not held(service, service.subscribed)["City"]


def test_the_same_again_writes_nothing(service: EsputnikService) -> None:
    """The values are compared first."""
    sent = [Record("k", service.subscribed, {"City": 7})]
    assert outcome(service.adapter().upsert(sent)) == ("applied", None)
    written = len(service.writes())
    assert outcome(service.adapter().upsert(sent)) == ("already_ok", None)
    assert len(service.writes()) == written


def test_a_session_is_waited_for_and_names_who_failed(service: EsputnikService) -> None:
    """A name that is too long comes back at once, the rest is written later."""
    sent = [
        Record("1", service.subscribed, {"firstName": "A" * 41}),
        Record("2", "person3@example.com", {"firstName": "Vera II"}),
    ]
    found = by_key(service.adapter().upsert(sent), sent)
    assert (found["1"].status, found["1"].reason) == ("rejected", "the service refused it")
    assert found["2"].status == "applied"
    assert held(service, "person3@example.com")["firstName"] == "Vera II"
    assert any("importstatus" in line["path"] for line in service.lines())


def test_a_field_nobody_defined_is_named(service: EsputnikService) -> None:
    """Fields are made in the service's pages only."""
    sent = [Record("k", service.subscribed, {"ltv": 3})]
    assert outcome(service.adapter().upsert(sent)) == ("rejected", "no field named ltv")
    assert service.writes() == []


def test_a_deleted_contact_is_not_claimed(service: EsputnikService) -> None:
    """The session passes over it without a word, and nobody is brought back."""
    with service.store.transaction() as db:
        db.execute("update contacts set is_deleted = 1 where key = ?", (service.subscribed,))
    sent = records([service.subscribed])
    found = outcome(service.adapter(add_missing="true").add_members(AUDIENCE, sent))
    assert found == ("rejected", "the service did not take it")
    assert service.status_of(service.subscribed) is None


@pytest.mark.parametrize("times", [1, FOREVER])
def test_a_lost_session_is_read_back(service: EsputnikService, times: int) -> None:
    """The repetition is answered 409, and the number of the session is not known to anybody."""
    service.fault("drop_after_write", method="POST", path="^/api/v1/contacts$", times=times)
    esp = service.adapter()
    esp.api._sleep = lambda seconds: service.store.finish_jobs()  # imports go on while we wait
    assert outcome(esp.add_members(AUDIENCE, records([service.subscribed]))) == ("applied", None)
    assert set(esp.members(AUDIENCE)) == {service.subscribed}


def test_an_import_that_fails_is_tried_again_later(service: EsputnikService) -> None:
    """Nothing was written, and nothing is claimed."""
    service.fault("refuse", path="importstatus", status=200, body='{"status": "ERROR"}', times=FOREVER)
    sent = [Record("k", service.subscribed, {"City": "Kyiv"})]
    assert outcome(service.adapter().upsert(sent)) == ("retry_pending", "no answer")


def test_a_search_that_finds_more_is_no_match(service: EsputnikService) -> None:
    """Part of an address is not the address."""
    service.enrol(["xperson1@example.com"])
    assert outcome(service.adapter().suppress(records([service.subscribed]))) == ("applied", None)
    assert service.status_of("xperson1@example.com") == "subscribed"
    assert outcome(service.adapter().suppress(records(["person1@example.co"]))) == ("already_ok", "no such contact")


def test_who_is_unsubscribed_is_seen_even_where_the_service_does_not_show_it(service: EsputnikService) -> None:
    """Without `emailStatus` everybody is told to stop, and nothing is ever deleted from that list."""
    service.store.configure(email_status="off")
    esp = service.adapter()
    sent = records([service.subscribed, service.left])
    assert {one.status for one in esp.suppress(sent)} == {"applied"}
    list(esp.add_members(AUDIENCE, sent))
    assert service.status_of(service.subscribed) == service.status_of(service.left) == "unsubscribed"
    assert "POST /api/v1/emails/unsubscribed/delete" not in paths(service)


def test_what_cannot_be_read_back_is_not_claimed_without_an_answer(service: EsputnikService) -> None:
    """Without `emailStatus` only the answer says that he was told to stop, and none came."""
    service.store.configure(email_status="off")
    service.fault("drop_before", method="POST", times=FOREVER)
    assert outcome(service.adapter().suppress(records([service.subscribed]))) == ("retry_pending", "no answer")


def test_the_base_is_read_once_for_many(service: EsputnikService) -> None:
    """A push comes in parts: each part must not read everybody again."""
    crowd = [f"crowd{number}@example.com" for number in range(600)]
    service.enrol(crowd)
    esp = service.adapter()
    for start in range(0, 600, 200):
        sent = [Record(address, address, {"City": "Kyiv"}) for address in crowd[start : start + 200]]
        assert {one.status for one in esp.add_members(AUDIENCE, sent)} == {"applied"}
        assert {one.status for one in esp.add_members(AUDIENCE, sent)} == {"already_ok"}
    assert reads(service, "/api/v1/contacts") == 2
    assert paths(service) == {"POST /api/v1/contacts": 3}
    gone = records(crowd[:300])
    assert {one.status for one in esp.remove_members(AUDIENCE, gone)} == {"applied"}
    assert len(set(esp.members(AUDIENCE))) == 300


def test_an_audience_of_another_kind_is_refused(service: EsputnikService) -> None:
    """A group by rule cannot be filled by hand."""
    service.store.add_group(AUDIENCE, kind="Dynamic")
    with pytest.raises(ConfigurationError, match="not static"):
        list(service.adapter().remove_members(AUDIENCE, records([service.subscribed])))


def test_a_group_of_a_similar_name_is_another(service: EsputnikService) -> None:
    """The search by name is not exact."""
    service.store.add_group(f"{AUDIENCE} old")
    assert list(service.adapter().members(AUDIENCE)) == []


def test_the_erased_stay_unsubscribed(service: EsputnikService) -> None:
    """The service forgets the opt-out with the person; his address goes back to the list."""
    esp = service.adapter(add_missing="true")
    assert outcome(esp.erase(records([service.left]))) == ("applied", None)
    assert service.store.number("select count(*) from contacts where key = ?", service.left) == 0
    list(esp.add_members(AUDIENCE, records([service.left])))
    assert service.status_of(service.left) == "unsubscribed"


def test_nobody_comes_back_by_being_erased_first(service: EsputnikService) -> None:
    """A random walk over every way of writing, erasing included, with leave to create."""
    chance = random.Random(4)
    people = [f"left{number}@example.com" for number in range(40)]
    service.enrol(people)
    for address in people[:20]:
        service.leave(address)
    list(service.adapter().suppress(records(people[20:])))
    esp = service.adapter(add_missing="true")
    ways = [
        esp.erase,
        esp.upsert,
        esp.suppress,
        partial(esp.add_members, AUDIENCE),
        partial(esp.remove_members, AUDIENCE),
    ]
    for turn in range(40):
        some = chance.sample(people, 10)
        list(chance.choice(ways)([Record(address, address, {"City": turn}) for address in some]))
        assert not {service.status_of(address) for address in people} & {"subscribed", "pending"}


def test_a_contact_without_our_id_is_deleted_by_its_own(service: EsputnikService) -> None:
    """Doubles of one address go with it."""
    service.enrol(["double@example.com"])
    with service.store.transaction() as db:
        db.execute(
            "insert into contacts (key, email, created_at) values ('double@example.com', 'Double@example.com', '2026')"
        )
    assert outcome(service.adapter().erase(records(["double@example.com"]))) == ("applied", None)
    assert service.status_of("double@example.com") is None


def test_an_unknown_category_is_refused(service: EsputnikService) -> None:
    """And what was chosen before stays chosen."""
    sent = [Record("k", service.subscribed, {"Nonsense": True})]
    assert outcome(service.adapter().set_preferences(sent)) == ("rejected", "no such category")
    sent = [Record("k", service.subscribed, {"Sales": True})]
    assert outcome(service.adapter().set_preferences(sent)) == ("applied", None)
    row = service.store.row("select subscriptions from contacts where key = ?", service.subscribed)
    assert row is not None
    assert json.loads(row["subscriptions"]) == ["News", "Sales"]


def test_a_letter_carries_our_key_and_brings_it_back(service: EsputnikService) -> None:
    """Activity names it, so the answer need not."""
    template = Letter("order-2", "person3@example.com", "", "", template_id="901", variables={"name": "Анна"})
    sent = list(service.adapter().send([LETTER, template]))
    assert [(one.status, one.message_ref) for one in sent] == [("accepted", "order-1"), ("accepted", "order-2")]
    delivered = [event for event in service.adapter().events(None) if event.message_ref]
    assert {event.message_ref: event.event_type for event in delivered} == {
        "order-1": "delivered",
        "order-2": "delivered",
    }


def test_who_left_gets_no_letter_and_proves_it(service: EsputnikService) -> None:
    """The refusal is evidence."""
    (sent,) = service.adapter().send([Letter("k", service.left, "Hi", LETTER.sender, text="x")])
    assert (sent.status, sent.reason, sent.evidence) == ("rejected", "unsubscribed", "unsubscribed")


@pytest.mark.parametrize("kind", ["drop_after_write", "drop_before", "truncate"])
def test_a_letter_without_an_answer_is_not_sent_twice(service: EsputnikService, kind: str) -> None:
    """It may be on its way; the next letter goes out all the same."""
    service.fault(kind, method="POST")
    other = Letter("order-2", "person3@example.com", "Your order", LETTER.sender, text="Thanks")
    sent = {one.key: one.status for one in service.adapter().send([LETTER, other])}
    assert sent == {"order-1": "unknown", "order-2": "accepted"}
    assert letters(service) == (1 if kind == "drop_before" else 2)


def test_a_repetition_within_the_minute_counts_as_sent(service: EsputnikService) -> None:
    """The service says that it has taken this letter already."""
    service.fault("drop_after_write", method="POST")
    assert [one.status for one in service.adapter().send([LETTER])] == ["unknown"]
    assert [one.status for one in service.adapter().send([LETTER])] == ["accepted"]
    assert letters(service) == 1


def test_a_refused_key_stops_the_sending(service: EsputnikService) -> None:
    """It is about the account and not about the letter."""
    with pytest.raises(AuthenticationError):
        list(service.adapter(secret="f" * 32).send([LETTER]))
    assert letters(service) == 0


class Clockwork:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        """The time."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Lets it pass."""
        self.at += seconds


def test_the_limits_are_kept_without_being_told(tmp_path: Path) -> None:
    """A push and a reading against the limits that a live account showed: not one call too many."""
    seconds = Clockwork()
    with esputnik_service(tmp_path, limits=usual_limits(seconds.now)) as service:
        crowd = [f"crowd{number}@example.com" for number in range(4_000)]
        service.enrol(crowd)
        esp = service.adapter()
        esp.api._throttle = Throttle(
            max_concurrency=esp.connections, rate=esp.calls_per_second, sleep=seconds.sleep, timer=seconds.now
        )
        sent = [Record(address, address, {"City": "Kyiv"}) for address in crowd]
        assert {one.status for one in esp.add_members(AUDIENCE, sent)} == {"applied"}
        list(esp.events(None))
        shown = requests.get(f"{service.base}/_sandbox/limits", timeout=5).json()
        assert paths(service) == {"POST /api/v1/contacts": 2}
    assert shown["violations"] == 0
