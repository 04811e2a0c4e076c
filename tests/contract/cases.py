"""What every ESP adapter must do, whatever its service is like.

A test module of an adapter subclasses `EspContract` and provides the fixtures `service` and `empty_service`: a
running sandbox twin with the members of `tests.contract.mailchimp_service.MailchimpService`. What a service cannot do
is seen from its adapter's class, and those cases pass over it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, get_args

import pytest

from lettertrail.errors import ApiError, AuthenticationError, ContractError, RateLimited
from lettertrail.esps import port
from lettertrail.esps.port import Delivery, Esp, Outcome, Record

FOREVER = 1_000
AUDIENCE = "seg_inactive_90d"
GARBAGE = (
    b"", b"\xff\xfe", b"null", b"1", b"[]", b"{}", b"[1]", b"[[]]", b"[{}]", b'{"events_by_user": 1}', b"[" * 5_000,
    b'{"events_by_user": [{"Events": [1], "events": [1]}]}', b"type=unsubscribe&fired_at=yesterday&data[email]=a@b.c",
    b"mandrill_events=1", b"mandrill_events=[1]", b'mandrill_events=[{"event": "open", "msg": 1}]',
    b'[{"event": "open", "timestamp": "yesterday", "email": "a@b.c"}]',
    b'[{"event": "open", "timestamp": 99999999999999999, "email": "a@b.c"}]',
    b'{"events_by_user": [{"events": [{"event_name": "transactional_email_status", "event_data": 1}]}]}',
)  # fmt: skip
"""Bodies that no service sends, but anybody may."""


def records(addresses: Iterable[str]) -> list[Record]:
    """A record per address, each with a key of its own."""
    return [Record(f"key {number}", address) for number, address in enumerate(addresses)]


def by_key(outcomes: Iterator[Outcome], sent: Sequence[Record]) -> dict[str, Outcome]:
    """The outcomes; fails unless every record has exactly one."""
    found = list(outcomes)
    assert sorted(outcome.key for outcome in found) == sorted(record.key for record in sent)
    return {outcome.key: outcome for outcome in found}


def can(esp: Esp, method: str) -> bool:
    """Whether the adapter has a way of its own to do this."""
    return getattr(type(esp), method) is not getattr(Esp, method)


def with_field(service: Any, addresses: Iterable[str], value: str) -> list[Record]:
    """A record per address that sets the service's sample field."""
    return [Record(record.key, record.email, {service.field: value}) for record in records(addresses)]


def with_preference(service: Any, addresses: Iterable[str], value: bool) -> list[Record]:
    """A record per address that chooses the service's sample preference."""
    return [Record(record.key, record.email, {service.preference: value}) for record in records(addresses)]


def paths_of_writing(service: Any, esp: Esp) -> list[Callable[[list[str]], Iterator[Outcome]]]:
    """Every way an adapter has to write about people, but for erasing them."""
    ways: list[Callable[[list[str]], Iterator[Outcome]]] = [
        lambda people: esp.add_members(AUDIENCE, records(people)),
        lambda people: esp.add_members(AUDIENCE, with_field(service, people, "a")),
        lambda people: esp.remove_members(AUDIENCE, records(people)),
        lambda people: esp.suppress(records(people)),
        lambda people: esp.unsubscribe(records(people)),
        lambda people: esp.upsert(with_field(service, people, "b")),
    ]
    if can(esp, "set_preferences"):
        ways.append(lambda people: esp.set_preferences(with_preference(service, people, True)))
    return ways


def read_everything(esp: Esp, since: datetime | None = None) -> list[Any]:
    """All three streams."""
    return [*esp.campaigns(since), *esp.contacts(since), *esp.events(since)]


class EspContract:
    """Inherited by one test class per adapter."""

    timeless: ClassVar[frozenset[type]] = frozenset()
    """Kinds of records that the service gives no times for."""

    # Reading

    def test_reads_to_the_last_page(self, service: Any) -> None:
        """More contacts than fit in two pages all come, each once."""
        service.enrol([f"crowd{number}@example.com" for number in range(2_300)])
        contacts = list(service.adapter().contacts(None))
        assert len({contact.external_id for contact in contacts}) == len(contacts) == service.people()

    def test_an_empty_account_is_no_error(self, empty_service: Any) -> None:
        """Nothing there means nothing read and nothing written."""
        esp = empty_service.adapter()
        assert read_everything(esp) == []
        assert list(esp.suppressed()) == list(esp.members(AUDIENCE)) == []
        assert list(esp.suppress([])) == list(esp.add_members(AUDIENCE, [])) == []
        assert list(esp.remove_members(AUDIENCE, [])) == []
        assert list(esp.totals(None)) == list(esp.links(None)) == list(esp.bodies({})) == []
        assert list(esp.unsubscribe([])) == list(esp.upsert([])) == list(esp.erase([])) == []
        assert list(esp.set_preferences([])) == []
        assert empty_service.writes() == []

    def test_every_record_speaks_our_words(self, service: Any) -> None:
        """Known words only, aware UTC times, unique keys, the native row kept."""
        esp = service.adapter()
        for stream in (list(esp.campaigns(None)), list(esp.contacts(None)), list(esp.events(None))):
            assert stream
            assert len({found.external_id for found in stream}) == len(stream)
            assert all(found.payload for found in stream)
            times = [
                value
                for found in stream
                for name in found.__slots__
                if isinstance(value := getattr(found, name), datetime)
            ]
            assert times or type(stream[0]) in self.timeless
            assert all(moment.utcoffset() == timedelta(0) for moment in times)
        assert {event.event_type for event in esp.events(None)} <= set(get_args(port.EventType))
        assert {contact.status for contact in esp.contacts(None)} <= set(get_args(port.ContactStatus))

    def test_a_body_that_is_held_is_not_asked_for(self, service: Any) -> None:
        """Every body is of a letter there is, has its HTML, and takes one call; held ones take none."""
        esp = service.adapter()
        campaigns = {campaign.external_id for campaign in esp.campaigns(None)}
        found = list(esp.bodies({}))
        assert len({body.external_id for body in found}) == len(found) > 0
        assert {body.external_id for body in found} <= campaigns
        assert all("<" in (body.html or "") for body in found)
        held = {body.external_id: body.version for body in found}
        before = len(service.lines())
        assert list(esp.bodies(held)) == []
        asking = len(service.lines()) - before
        oldest, *others = reversed(found)
        before = len(service.lines())
        again = list(esp.bodies({body.external_id: body.version for body in others}))
        assert again == [oldest]
        assert len(service.lines()) - before == asking + 1
        stale = {**held, oldest.external_id: "another version"}
        assert list(esp.bodies(stale)) == [oldest]

    def test_lists_totals_and_links_belong_to_what_is_read(self, service: Any) -> None:
        """Unique keys; totals and links are of campaigns there are, and contacts are on lists there are."""
        esp = service.adapter()
        campaigns = {campaign.external_id for campaign in esp.campaigns(None)}
        lists, totals, links = list(esp.lists()), list(esp.totals(None)), list(esp.links(None))
        for stream in (lists, totals, links):
            assert len({found.external_id for found in stream}) == len(stream)
            assert all(found.payload for found in stream)
        assert {total.external_id for total in totals} <= campaigns
        assert {link.campaign_id for link in links} <= campaigns
        if can(esp, "lists"):
            on = {contact.list_id for contact in esp.contacts(None)} - {None}
            assert on
            assert on <= {found.external_id for found in lists}

    def test_rows_that_move_while_we_read_are_not_lost(self, service: Any) -> None:
        """People leave and join after the first page: everybody who was there is read, each once."""
        crowd = [f"crowd{number}@example.com" for number in range(2_300)]
        service.enrol(crowd)
        reading = service.adapter().contacts(None)
        found = [next(reading)]
        for address in crowd[:7]:
            service.leave(address)
        service.enrol(["late@example.com"])
        found += reading
        assert {contact.email for contact in found} >= set(crowd)
        assert len({contact.external_id for contact in found}) == len(found)

    def test_a_second_reading_finds_the_same(self, service: Any) -> None:
        """Identity and content do not depend on when we ask."""
        assert read_everything(service.adapter()) == read_everything(service.adapter())

    def test_an_overlapping_reading_finds_the_same_identities(self, service: Any) -> None:
        """What comes again with `since` has the key it had, so that merging it changes nothing."""
        whole = {found.external_id: found for found in read_everything(service.adapter())}
        for found in read_everything(service.adapter(), datetime(2026, 3, 1, 11, tzinfo=UTC)):
            assert whole[found.external_id] == found

    def test_an_unknown_event_word_is_kept(self, service: Any) -> None:
        """It is called unknown, and the payload still has the word."""
        service.happen_unknown("teleported")
        (unknown,) = [event for event in service.adapter().events(None) if event.event_type == "unknown"]
        assert unknown.reason == "teleported"
        assert "teleported" in repr(unknown.payload) or "teleported" in str(dict(unknown.payload))

    # Trouble

    def test_waits_when_told_that_it_is_too_fast(self, service: Any) -> None:
        """A refusal without a body, twice, changes nothing in what is read."""
        before = read_everything(service.adapter())
        service.fault("refuse", status=429, times=2)
        assert read_everything(service.adapter()) == before

    def test_gives_up_on_endless_throttling_with_the_right_error(self, service: Any) -> None:
        """So that the scheduler may try again later."""
        service.fault("refuse", status=429, times=FOREVER)
        with pytest.raises(RateLimited):
            list(service.adapter().contacts(None))

    @pytest.mark.parametrize("kind", ["truncate", "drop_before"])
    def test_half_an_answer_is_asked_for_again(self, service: Any, kind: str) -> None:
        """A cut line neither loses rows nor doubles them."""
        before = read_everything(service.adapter())
        service.fault(kind, times=1, skip=2)
        assert read_everything(service.adapter()) == before

    def test_a_refused_key_is_named_at_once(self, service: Any) -> None:
        """No retries, and the check says it in its first step."""
        esp = service.adapter(secret="f" * 32 + "-us1")
        with pytest.raises(AuthenticationError):
            list(esp.contacts(None))
        assert len(service.lines()) == 1
        steps = list(esp.check())
        assert [step.ok for step in steps] == [False]

    def test_a_key_that_stops_working_is_named(self, service: Any) -> None:
        """Revoked in the middle of a reading: half of it must not pass for the whole."""
        service.fault("refuse", status=401, times=FOREVER, skip=1)
        with pytest.raises(AuthenticationError):
            read_everything(service.adapter())

    def test_a_good_connection_passes_every_step(self, service: Any) -> None:
        """Named steps, all of them fine."""
        steps = list(service.adapter().check())
        assert len(steps) >= 2
        assert all(step.ok and step.name and step.message for step in steps)

    # Writing

    def test_every_pushed_address_is_accounted_for(self, service: Any) -> None:
        """Known, gone, never seen, misspelt, twice: one outcome each, for every kind of push."""
        esp = service.adapter()
        sent = records(
            [service.subscribed, service.subscribed.upper(), service.left, service.absent, "no address", "", "a b@c.de"]
        )
        for outcomes in (
            esp.add_members(AUDIENCE, sent),
            esp.remove_members(AUDIENCE, sent),
            esp.suppress(sent),
        ):
            found = by_key(outcomes, sent)
            assert found["key 4"].status == found["key 5"].status == found["key 6"].status == "rejected"
            assert found["key 0"].status == found["key 1"].status == "applied"

    def test_suppressing_makes_the_service_stop(self, service: Any) -> None:
        """The person is refused afterwards, and is listed as refused."""
        esp = service.adapter()
        sent = records([service.subscribed])
        assert service.subscribed not in set(esp.suppressed())
        assert by_key(esp.suppress(sent), sent)["key 0"].status == "applied"
        assert service.subscribed in set(esp.suppressed())

    def test_suppressing_adds_nobody(self, service: Any) -> None:
        """A stranger is fine as he is."""
        before = service.people()
        sent = records([service.absent])
        assert by_key(service.adapter().suppress(sent), sent)["key 0"].status == "already_ok"
        assert service.people() == before
        assert service.status_of(service.absent) is None

    def test_who_left_stays_away_whatever_is_pushed(self, service: Any) -> None:
        """No path of ours subscribes somebody again, with or without leave to add people."""
        before = service.status_of(service.left)
        sent = records([service.left, service.absent, service.subscribed])
        for options in ({}, {"add_missing": "true"}):
            esp = service.adapter(**options)
            list(esp.add_members(AUDIENCE, sent))
            list(esp.suppress(records([service.left])))
            list(esp.remove_members(AUDIENCE, sent))
            list(esp.add_members(AUDIENCE, sent))
            assert service.status_of(service.left) == before
            assert service.left in set(esp.suppressed())

    def test_whom_we_suppressed_is_not_subscribed_by_a_later_push(self, service: Any) -> None:
        """The service would let us: the opt-out came by its interface."""
        esp = service.adapter(add_missing="true")
        list(esp.suppress(records([service.subscribed])))
        list(esp.add_members(AUDIENCE, records([service.subscribed])))
        assert service.subscribed in set(esp.suppressed())

    def test_nobody_is_subscribed_again_by_any_path(self, service: Any) -> None:
        """A random walk over every way of writing, with leave to add people: 5 000 attempts, none succeeds."""
        chance = random.Random(20_261_101)
        left = [f"left{number}@example.com" for number in range(70)]
        silenced = [f"silenced{number}@example.com" for number in range(70)]
        service.enrol([*left, *silenced])
        for address in left:
            service.leave(address)
        list(service.adapter().suppress(records(silenced)))
        standing = {address: service.status_of(address) for address in (*left, *silenced)}
        assert "subscribed" not in standing.values()
        attempts = 0
        while attempts < 5_000:
            esp = service.adapter(add_missing="true")
            people = [*left, *silenced, service.subscribed, f"new{attempts}@example.com"]
            chance.shuffle(people)
            list(chance.choice(paths_of_writing(service, esp))(people))
            attempts += len(standing)
            assert {address: service.status_of(address) for address in standing} == standing

    def test_upserting_writes_fields_and_leaves_the_status(self, service: Any) -> None:
        """Each address is accounted for, known ones have the value, nobody is made or woken up."""
        esp = service.adapter()
        if not can(esp, "upsert"):
            pytest.skip("the service has no custom fields")
        people = [service.subscribed, service.left, service.absent, "no address"]
        before = [service.status_of(address) for address in people]
        sent = with_field(service, people, "blue")
        found = by_key(esp.upsert(sent), sent)
        assert [found[f"key {number}"].status for number in range(4)] == ["applied", "applied", "rejected", "rejected"]
        assert [service.status_of(address) for address in people] == before
        values = {contact.email: contact.fields.get(service.field) for contact in esp.contacts(None)}
        assert values[service.subscribed] == values[service.left] == "blue"

    def test_upserting_takes_the_fewest_calls(self, service: Any) -> None:
        """One more than a bulk holds are two calls."""
        esp = service.adapter()
        if not can(esp, "upsert"):
            pytest.skip("the service has no custom fields")
        crowd = [f"crowd{number}@example.com" for number in range(esp.bulk + 1)]
        service.enrol(crowd)
        sent = with_field(service, crowd, "blue")
        found = by_key(esp.upsert(sent), sent)
        assert {outcome.status for outcome in found.values()} == {"applied"}
        assert sum(call.records for call in esp.calls()) == len(crowd)
        assert len(service.writes()) == 2

    def test_erasing_deletes(self, service: Any) -> None:
        """The person is gone, a stranger was never there, and again is fine."""
        esp = service.adapter()
        if not can(esp, "erase"):
            pytest.skip("the service cannot erase")
        sent = records([service.subscribed, service.absent, "no address"])
        found = by_key(esp.erase(sent), sent)
        assert [found[f"key {number}"].status for number in range(3)] == ["applied", "already_ok", "rejected"]
        assert service.status_of(service.subscribed) is None
        again = by_key(esp.erase(sent), sent)
        assert again["key 0"].status == "already_ok"

    def test_choosing_preferences_leaves_the_status(self, service: Any) -> None:
        """On, off, for people of either kind; strangers are not made."""
        esp = service.adapter()
        if not can(esp, "set_preferences"):
            pytest.skip("the service has no preferences")
        people = [service.subscribed, service.left, service.absent]
        before = [service.status_of(address) for address in people]
        for value in (True, False):
            sent = with_preference(service, people, value)
            found = by_key(esp.set_preferences(sent), sent)
            assert found["key 0"].status == "applied"
            assert found["key 2"].status == "rejected"
            assert service.prefers(service.subscribed) is value
        assert [service.status_of(address) for address in people] == before

    def test_what_the_service_cannot_do_is_refused(self, service: Any) -> None:
        """Every record of it, with the same reason."""
        esp = service.adapter()
        for method in ("erase", "upsert", "set_preferences"):
            if not can(esp, method):
                sent = records([service.subscribed, service.absent])
                found = by_key(getattr(esp, method)(sent), sent)
                assert {outcome.reason for outcome in found.values()} == {port.UNSUPPORTED}

    def test_a_garbled_webhook_is_told_from_a_good_one(self, empty_service: Any) -> None:
        """It has no events or breaks the contract; nothing else may come of it."""
        esp = type(empty_service.adapter())
        for kind in (*esp.hooks, "no such kind"):
            for body in GARBAGE:
                delivery = Delivery("POST", "https://hooks.example/x", {}, body, datetime(2026, 11, 1, tzinfo=UTC))
                try:
                    events = list(esp.read_hook(kind, delivery))
                except ContractError:
                    continue
                assert kind in esp.hooks
                assert all(event.source == "webhook" for event in events)

    def test_a_replay_changes_nothing(self, service: Any) -> None:
        """The second time there is nothing left to write."""
        sent = records([service.subscribed, service.left, service.absent])
        by_key(service.adapter().suppress(sent), sent)
        written, contacts = len(service.writes()), list(service.adapter().contacts(None))
        again = by_key(service.adapter().suppress(sent), sent)
        assert {outcome.status for outcome in again.values()} == {"already_ok"}
        assert len(service.writes()) == written
        assert list(service.adapter().contacts(None)) == contacts

    def test_members_come_and_go(self, service: Any) -> None:
        """What was added is listed, what was removed is not, and removing twice is fine."""
        esp = service.adapter()
        sent = records([service.subscribed])
        assert by_key(esp.add_members(AUDIENCE, sent), sent)["key 0"].status == "applied"
        assert list(esp.members(AUDIENCE)) == [service.subscribed]
        assert by_key(esp.remove_members(AUDIENCE, sent), sent)["key 0"].status == "applied"
        assert list(esp.members(AUDIENCE)) == []
        assert by_key(esp.remove_members(AUDIENCE, sent), sent)["key 0"].status == "already_ok"
        assert service.status_of(service.subscribed) == "subscribed"

    @pytest.mark.parametrize("times", [1, FOREVER])
    def test_a_lost_answer_is_read_back(self, service: Any, times: int) -> None:
        """The write was carried out, so it counts as applied however often the answer is lost."""
        service.fault("drop_after_write", method="POST", times=times)
        sent = records([service.subscribed])
        assert by_key(service.adapter().suppress(sent), sent)["key 0"].status == "applied"
        assert service.status_of(service.subscribed) == "unsubscribed"

    def test_a_lost_write_stays_pending(self, service: Any) -> None:
        """Nothing arrived, so nothing is claimed, and the next run will do it."""
        service.fault("drop_before", method="POST", times=FOREVER)
        sent = records([service.subscribed])
        assert by_key(service.adapter().suppress(sent), sent)["key 0"].status == "retry_pending"
        assert service.status_of(service.subscribed) == "subscribed"

    def test_calls_are_what_the_service_received(self, service: Any) -> None:
        """One entry per write, with its records and without an address."""
        esp = service.adapter()
        list(esp.add_members(AUDIENCE, records([service.subscribed])))
        list(esp.suppress(records([service.subscribed, service.absent])))
        calls = esp.calls()
        assert [(call.method, call.status) for call in calls] == [
            (line["method"], line["status"]) for line in service.writes()
        ]
        assert calls[-1].records == 1
        assert not [call for call in calls if "@" in call.path]
        assert esp.calls() == []

    def test_tells_neither_key_nor_address(self, service: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Reading, pushing and failing at the chattiest level of every library."""
        caplog.set_level(logging.DEBUG)
        esp = service.adapter()
        told = repr(read_everything(esp)[:20]) + repr(list(esp.check()))
        told += repr(list(esp.add_members(AUDIENCE, records([service.subscribed, service.absent]))))
        told += repr(list(esp.upsert(with_field(service, [service.subscribed, service.absent], "blue"))))
        told += repr(list(esp.erase(records([service.absent]))))
        service.fault("drop_after_write", method="POST", times=FOREVER)
        told += repr(list(esp.suppress(records([service.subscribed, service.left]))))
        service.fault("refuse", status=500, times=FOREVER)
        with pytest.raises(ApiError) as caught:
            list(esp.suppressed())
        told += repr(caught.value) + repr(esp.calls()) + caplog.text
        ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lettertrail"))
        assert service.secret not in told
        assert "example.com" not in ours
        assert not [address for address in (service.subscribed, service.left, service.absent) if address in told]
