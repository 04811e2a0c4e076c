"""SendPulse, writing: books that know nothing of each other, one flag for many rows, letters sent at most once."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.contract.cases import AUDIENCE, FOREVER, by_key, records
from tests.contract.sendpulse_service import SendPulseService, sendpulse_service

from lettertrail.errors import AuthenticationError, ConfigurationError
from lettertrail.esps.port import Letter, Outcome, Record, Sent
from lettertrail.esps.sendpulse import SHELF, SendPulse
from lettertrail.sandbox.esps.sendpulse import BOOK, usual_limits
from lettertrail.throttle import Throttle

LETTER = Letter("order-1", "person1@example.com", "Your order", "shop@shop.example", html="<p>Thanks</p>")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SendPulseService]:
    """The small world."""
    with sendpulse_service(tmp_path) as running:
        yield running


def outcome(outcomes: Iterator[Outcome]) -> tuple[str, str | None]:
    """Status and reason of a single record."""
    (only,) = outcomes
    return only.status, only.reason


def paths(service: SendPulseService, *, since: int = 0) -> Counter[str]:
    """How often each path was written to."""
    return Counter(f"{line['method']} {line['path']}" for line in service.writes()[since:])


def book_of(service: SendPulseService, name: str) -> int:
    """The number of a book."""
    return service.store.number("select id from books where name = ?", name)


def in_book(service: SendPulseService, address: str, book: int) -> int | None:
    """The status number of a contact in a book."""
    row = service.store.row("select status from contacts where key = ? and book_id = ?", address, book)
    return None if row is None else int(row["status"])


def letters(service: SendPulseService) -> int:
    """How many letters the service has taken, beyond those of the small world."""
    return service.store.number("select count(*) from letters") - 2


def test_who_left_one_book_is_put_into_no_other(service: SendPulseService) -> None:
    """The new book would know nothing of it, and mail him."""
    other = service.store.add_book("Other")
    service.enrol(["both@example.com"], list_id=other)
    service.enrol(["both@example.com"], status=4)
    esp = service.adapter(add_missing="true")
    assert outcome(esp.add_members(AUDIENCE, records(["both@example.com"]))) == ("rejected", "unsubscribed")
    assert outcome(esp.upsert([Record("k", "both@example.com", {"city": "Kyiv"})])) == ("applied", None)
    assert in_book(service, "both@example.com", BOOK) == 4
    assert service.store.number("select count(*) from contacts where key = 'both@example.com'") == 2


def test_the_book_for_new_contacts_is_no_way_around_an_opt_out(
    service: SendPulseService,
) -> None:
    """`upsert` into the one book of the options must not become the way around."""
    home = service.store.add_book("Home")
    sent = [Record("k", service.left, {"city": "Kyiv"})]
    assert outcome(service.adapter(add_missing="true", list_id=home).upsert(sent)) == ("rejected", "unsubscribed")
    assert in_book(service, service.left, home) is None


def test_variables_of_who_left_are_written_without_adding_him(service: SendPulseService) -> None:
    """Adding again is said to keep the opt-out; the call for one contact need not be believed."""
    sent = [Record("k", service.left, {"city": "Kyiv", "orders": 3}), Record("l", service.subscribed, {"city": "Kyiv"})]
    assert [one.status for one in service.adapter().upsert(sent)] == ["applied", "applied"]
    assert paths(service) == {f"POST /addressbooks/{BOOK}/emails": 1, f"POST /addressbooks/{BOOK}/emails/variable": 1}
    assert in_book(service, service.left, BOOK) == 6


def test_nobody_comes_back_by_being_erased_first(service: SendPulseService) -> None:
    """A random walk over every way of writing, erasing included, with leave to create."""
    chance = random.Random(4)
    people = [f"left{number}@example.com" for number in range(40)]
    service.enrol(people)
    for address in people[:20]:
        service.leave(address)
    list(service.adapter().suppress(records(people[20:])))
    esp = service.adapter(add_missing="true")
    ways = [esp.erase, esp.upsert, esp.suppress]
    ways += [partial(esp.add_members, AUDIENCE), partial(esp.remove_members, AUDIENCE)]
    for turn in range(60):
        some = chance.sample(people, 10)
        list(chance.choice(ways)([Record(address, address, {"turn": turn}) for address in some]))
        assert not {service.status_of(address) for address in people} & {"subscribed", "pending"}


def test_suppressing_covers_every_book_and_the_books_to_come(service: SendPulseService) -> None:
    """One opt-out per book, one entry on the blacklist."""
    other = service.store.add_book("Other")
    service.enrol([service.subscribed], list_id=other)
    assert outcome(service.adapter().suppress(records([service.subscribed]))) == ("applied", None)
    assert [in_book(service, service.subscribed, BOOK), in_book(service, service.subscribed, other)] == [4, 4]
    assert service.store.is_blacklisted(service.subscribed)


def test_unsubscribing_leaves_the_blacklist_alone(service: SendPulseService) -> None:
    """The person may come back by a form of his own."""
    assert outcome(service.adapter().unsubscribe(records([service.subscribed]))) == ("applied", None)
    assert in_book(service, service.subscribed, BOOK) == 4
    assert not service.store.is_blacklisted(service.subscribed)


def test_a_lost_blacklisting_is_not_reported_as_done(service: SendPulseService) -> None:
    """He left his book, but the books to come are not covered yet."""
    service.fault("drop_before", method="POST", path="^/blacklist", times=FOREVER)
    assert outcome(service.adapter().suppress(records([service.subscribed]))) == ("retry_pending", "no answer")


def test_people_who_left_meanwhile_are_no_error(service: SendPulseService) -> None:
    """The service refuses to unsubscribe where nobody is active; reading back says that all is well."""
    body = json.dumps({"message": "Active emails not found", "error_code": 422})
    service.fault("refuse", path="unsubscribe$", status=422, body=body)
    service.fault("refuse", path="^/blacklist", status=200, body='{"is_error": true, "error_code": 904}')
    found = outcome(service.adapter().suppress(records([service.subscribed])))
    assert found == ("rejected", "still subscribed")  # the twin was never asked, so reading back finds him active
    assert outcome(service.adapter().suppress(records([service.subscribed]))) == ("applied", None)


def test_writes_are_grouped_by_book_over_the_whole_push(service: SendPulseService) -> None:
    """250 people in two books: three calls a book, one for the blacklist, whoever is where."""
    other = service.store.add_book("Other")
    crowd = [f"crowd{number}@example.com" for number in range(250)]
    for number, address in enumerate(crowd):
        service.enrol([address], list_id=(BOOK, other)[number % 2])
    esp = service.adapter()
    found = by_key(esp.suppress(records(crowd)), records(crowd))
    assert {one.status for one in found.values()} == {"applied"}
    assert paths(service) == {
        f"POST /addressbooks/{BOOK}/emails/unsubscribe": 2,
        f"POST /addressbooks/{other}/emails/unsubscribe": 2,
        "POST /blacklist": 1,
    }
    assert sum(line["path"] == "/emails" for line in service.lines()) == 3 + 2 + 2


def test_an_audience_is_a_book_that_carries_the_attributes(service: SendPulseService) -> None:
    """Written with the contact, changed later, and left alone when they are the same."""
    esp = service.adapter()
    wanted = {"orders": 3, "vip": True, "city": None}
    assert outcome(esp.add_members(AUDIENCE, [Record("k", service.subscribed, wanted)])) == ("applied", None)
    book = book_of(service, SHELF + AUDIENCE)
    (found,) = [one for one in esp.contacts(None) if one.list_id == str(book)]
    assert found.fields == {"orders": 3, "vip": "true", "city": ""}
    written = len(service.writes())
    assert outcome(esp.add_members(AUDIENCE, [Record("k", service.subscribed, wanted)])) == ("already_ok", None)
    assert len(service.writes()) == written
    assert outcome(esp.add_members(AUDIENCE, [Record("k", service.subscribed, {"orders": 4})])) == ("applied", None)


def test_who_left_the_audience_is_not_forgotten_with_his_membership(service: SendPulseService) -> None:
    """Taking him out would lose the opt-out; he is no member any more as it is."""
    esp = service.adapter()
    list(esp.add_members(AUDIENCE, records([service.subscribed])))
    book = book_of(service, SHELF + AUDIENCE)
    service.enrol([service.subscribed], status=4, list_id=book)
    assert list(esp.members(AUDIENCE)) == []
    assert outcome(esp.remove_members(AUDIENCE, records([service.subscribed]))) == ("already_ok", "unsubscribed")
    assert in_book(service, service.subscribed, book) == 4
    assert outcome(esp.add_members(AUDIENCE, records([service.subscribed]))) == ("rejected", "unsubscribed")


def test_a_book_whose_making_got_no_answer_is_not_made_twice(service: SendPulseService) -> None:
    """It is found by its name."""
    service.fault("drop_after_write", method="POST", path="^/addressbooks$")
    assert outcome(service.adapter().add_members(AUDIENCE, records([service.subscribed]))) == ("applied", None)
    assert service.store.number("select count(*) from books where name = ?", SHELF + AUDIENCE) == 1


def test_a_delete_that_was_repeated_counts_as_done(service: SendPulseService) -> None:
    """The second time nobody is there, which the service calls a failure."""
    esp = service.adapter()
    list(esp.add_members(AUDIENCE, records([service.subscribed])))
    service.fault("drop_after_write", method="DELETE")
    assert outcome(esp.remove_members(AUDIENCE, records([service.subscribed]))) == ("applied", None)
    service.fault("drop_after_write", method="DELETE")
    assert outcome(esp.erase(records([service.subscribed]))) == ("applied", None)


def test_rows_that_vanish_without_a_word_are_noticed(service: SendPulseService) -> None:
    """The answer is `result: true` all the same."""
    esp = service.adapter(add_missing="true")
    sent = records(["fine@example.com", "odd@localhost"])
    found = by_key(esp.add_members(AUDIENCE, sent), sent)
    assert found["key 0"].status == "applied"
    assert (found["key 1"].status, found["key 1"].reason) == ("rejected", "the service did not take it")


def test_a_bulk_the_service_refuses_is_refused_row_by_row(service: SendPulseService) -> None:
    """The refusal names no address, so each row has it."""
    service.fault(
        "refuse", method="POST", path="books/.*/emails$", status=422, body='{"error_code": 422, "message": "x"}'
    )
    sent = [Record("k", service.subscribed, {"city": "Kyiv"})]
    assert outcome(service.adapter().upsert(sent)) == ("rejected", "code 422")


def test_new_contacts_need_a_book(service: SendPulseService) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match="list_id"):
        list(service.adapter(add_missing="true", list_id="").add_members(AUDIENCE, records([service.absent])))


def test_new_contacts_join_the_book_and_the_audience(service: SendPulseService) -> None:
    """So that they stay contacts when they leave the audience."""
    esp = service.adapter(add_missing="true")
    assert outcome(esp.add_members(AUDIENCE, records([service.absent]))) == ("applied", None)
    assert outcome(esp.remove_members(AUDIENCE, records([service.absent]))) == ("applied", None)
    assert in_book(service, service.absent, BOOK) is not None


def test_the_erased_are_not_created_again(service: SendPulseService) -> None:
    """The service forgets opt-outs with the contact: the blacklist does not."""
    esp = service.adapter(add_missing="true")
    assert outcome(esp.erase(records([service.left]))) == ("applied", None)
    assert service.status_of(service.left) is None
    assert outcome(esp.add_members(AUDIENCE, records([service.left]))) == ("rejected", "blacklisted")
    assert outcome(esp.upsert([Record("k", service.left, {"city": "Kyiv"})])) == ("rejected", "blacklisted")
    assert service.status_of(service.left) is None


def test_a_letter_is_sent_as_the_service_takes_it(service: SendPulseService) -> None:
    """Page in base64, the text made there; with a template its variables and nothing else."""
    (sent,) = service.adapter().send([LETTER])
    assert (sent.status, sent.key) == ("accepted", "order-1")
    row = service.store.row("select * from letters where id = ?", sent.message_ref)
    assert row is not None
    assert json.loads(row["content"]) == {"html": "<p>Thanks</p>", "text": ""}
    template = Letter("k", LETTER.to, "Hi", LETTER.sender, template_id="77", variables={"name": "Анна"})
    (sent,) = service.adapter().send([template])
    row = service.store.row("select * from letters where id = ?", sent.message_ref)
    assert row is not None
    assert json.loads(row["content"]) == {"template": {"id": "77", "variables": {"name": "Анна"}}}


def test_a_text_letter_has_a_page_as_well(service: SendPulseService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification asks for both together; what people write is not markup."""
    esp, bodies = service.adapter(), list[Any]()
    monkeypatch.setattr(esp.api, "post", lambda path, **how: bodies.append(how["json"]["email"]))
    list(esp.send([Letter("k", LETTER.to, "Hi", LETTER.sender, text="1 < 2", reply_to="help@shop.example")]))
    (body,) = bodies
    assert base64.b64decode(body["html"]).decode() == "<pre>1 &lt; 2</pre>"
    assert (body["text"], body["auto_plain_text"]) == ("1 < 2", False)
    assert body["reply_to"]["email"] == "help@shop.example"


@pytest.mark.parametrize("kind", ["drop_after_write", "drop_before", "truncate"])
def test_a_letter_without_an_answer_is_not_sent_twice(service: SendPulseService, kind: str) -> None:
    """There is no key that would make a repetition safe; the next letter goes out all the same."""
    service.fault(kind, method="POST", path="^/smtp/emails$")
    other = Letter("order-2", "person3@example.com", "Your order", LETTER.sender, text="Thanks")
    sent = {one.key: one.status for one in service.adapter().send([LETTER, other])}
    assert sent == {"order-1": "unknown", "order-2": "accepted"}
    assert letters(service) == (1 if kind == "drop_before" else 2)


def test_a_letter_is_sent_after_waiting_for_its_turn(service: SendPulseService) -> None:
    """429 says that it was not taken."""
    service.fault("refuse", method="POST", path="^/smtp/emails$", status=429, times=2)
    assert [one.status for one in service.adapter().send([LETTER])] == ["accepted"]
    assert letters(service) == 1


def test_a_refused_letter_says_why(service: SendPulseService) -> None:
    """By code; an empty one is not even tried."""
    wrong = Letter("k", "no address", "Hi", LETTER.sender, text="x")
    empty = Letter("e", LETTER.to, "Hi", LETTER.sender)
    assert list(service.adapter().send([wrong, empty])) == [
        Sent("k", "rejected", reason="422"),
        Sent("e", "rejected", reason="nothing to send"),
    ]


def test_a_refused_key_stops_the_sending(service: SendPulseService) -> None:
    """It is about the account and not about the letter."""
    with pytest.raises(AuthenticationError):
        list(service.adapter(secret="f" * 32).send([LETTER]))
    assert letters(service) == 0


def test_the_limits_are_kept_without_being_told(tmp_path: Path) -> None:
    """A long push at full speed against the service's real limits: not one call too many."""
    seconds = Clockwork()
    with sendpulse_service(tmp_path, limits=usual_limits(seconds.now)) as service:
        crowd = [f"crowd{number}@example.com" for number in range(2_000)]
        service.enrol(crowd)
        esp = throttled(service, seconds)
        sent = [Record(address, address, {"city": "Kyiv"}) for address in crowd]
        assert {one.status for one in esp.upsert(sent)} == {"applied"}
        shown = requests.get(f"{service.base}/_sandbox/limits", timeout=5).json()
    assert shown["violations"] == 0
    assert seconds.at == pytest.approx(61 / SendPulse.calls_per_second, rel=0.1)


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


def throttled(service: SendPulseService, seconds: Clockwork) -> SendPulse:
    """The adapter with the throttle of production, by that clock."""
    esp = service.adapter()
    throttle = Throttle(
        max_concurrency=esp.connections, rate=esp.calls_per_second, sleep=seconds.sleep, timer=seconds.now
    )
    for api in (esp.api, esp.api._auth.api):
        api._throttle = throttle
    return esp


def test_a_hundred_thousand_take_a_thousand_calls(service: SendPulseService) -> None:
    """One write per hundred people, and two questions: before and after."""
    crowd = [f"crowd{number}@example.com" for number in range(1_000)]
    service.enrol(crowd)
    sent: Sequence[Record] = [Record(address, address, {"city": "Kyiv"}) for address in crowd]
    assert {one.status for one in service.adapter().upsert(sent)} == {"applied"}
    assert paths(service) == {f"POST /addressbooks/{BOOK}/emails": 10}
    assert sum(line["path"] == "/emails" for line in service.lines()) == 20
