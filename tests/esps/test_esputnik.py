"""eSputnik, reading: activity by windows and cursor, naive times, letters without a sending, webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.esputnik_service import NOW, EsputnikService, esputnik_service

from lettertrail.clock import fixed_clock
from lettertrail.errors import AuthenticationError, ConfigurationError, ContractError, RequestRejected
from lettertrail.esps import esputnik
from lettertrail.esps._esputnik_rows import category_names, failed_contacts, field_names
from lettertrail.esps.esputnik import NO_ACTIVITY, Esputnik
from lettertrail.esps.port import AccountConnection, Delivery, Event
from lettertrail.sandbox.esps.esputnik import BROADCASTS, CITY_FIELD, GROUP, MESSAGES

AT = datetime(2026, 10, 30, 9, tzinfo=UTC)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[EsputnikService]:
    """The small world."""
    with esputnik_service(tmp_path) as running:
        yield running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[EsputnikService]:
    """An account where nothing ever happened."""
    with esputnik_service(tmp_path, is_empty=True) as running:
        yield running


def hooked(*rows: dict[str, Any], **headers: str) -> list[Event]:
    """The events of one webhook with these rows."""
    delivery = Delivery("POST", "https://hooks.example/x", headers, json.dumps(rows).encode(), NOW)
    return list(Esputnik.read_hook("marketing", delivery))


def asked(service: EsputnikService) -> list[str]:
    """The paths of all requests."""
    return [line["path"] for line in service.lines()]


def test_a_full_page_is_halved_until_the_cursor_has_to_lead_on(
    empty: EsputnikService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows in bursts and all in one second: every one of them comes, once."""
    monkeypatch.setattr(esputnik, "ACTIVITY_PAGE", 5)
    for number in range(40):
        empty.store.happen(f"spread{number}@example.com", "READ", None, AT + timedelta(minutes=number))
    for number in range(23):
        empty.store.happen(f"burst{number}@example.com", "READ", None, AT)
    events = list(empty.adapter().events(AT))
    assert len(events) == len({event.email for event in events}) == 63
    assert {event.event_type for event in events} == {"opened"}


def test_a_service_that_gives_less_than_asked_for_loses_nothing(
    empty: EsputnikService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short page is no end: only an empty one is."""
    esp = empty.adapter()
    for number in range(12):
        empty.store.happen(f"p{number}@example.com", "READ", None, AT)
    page = esp._activity_page
    monkeypatch.setattr(esp, "_activity_page", lambda params: page(params)[:5])
    assert len(list(esp.events(AT))) == 12


def test_a_cursor_that_stands_still_comes_to_an_end(empty: EsputnikService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that passes over the offset must not keep us for ever."""
    esp = empty.adapter()
    empty.store.happen("a@example.com", "READ", None, AT)
    page = esp._activity_page
    monkeypatch.setattr(
        esp, "_activity_page", lambda params: page({name: params[name] for name in params if name != "offset"})
    )
    assert len(list(esp.events(AT))) == 1


def test_quiet_years_take_few_calls(empty: EsputnikService) -> None:
    """Three years without a letter are not asked about day by day; a letter in them is found."""
    empty.store.happen("old@example.com", "READ", None, NOW - timedelta(days=700))
    assert [event.email for event in empty.adapter().events(None)] == ["old@example.com"]
    assert len(asked(empty)) < 80
    before = len(asked(empty))
    assert list(empty.adapter(history_days=30).events(None)) == []
    assert len(asked(empty)) - before < 10


def test_an_hourly_reading_asks_about_two_days(empty: EsputnikService) -> None:
    """The overlap of a day, and what is left of today."""
    list(empty.adapter().events(NOW - timedelta(hours=1)))
    assert len(asked(empty)) <= 3


def test_activity_that_is_off_says_whom_to_ask(service: EsputnikService) -> None:
    """In the check and in the reading; the answer is no JSON."""
    service.store.configure(activity="off")
    steps = list(service.adapter().check())
    assert [step.ok for step in steps] == [True, True, True, False]
    assert "support" in steps[-1].message
    with pytest.raises(RequestRejected, match="ContactActivity") as caught:
        list(service.adapter().events(None))
    assert caught.value.code == NO_ACTIVITY


def test_a_key_that_opens_less_is_named(service: EsputnikService) -> None:
    """A key for events alone cannot read contacts."""
    service.store.configure(scope="events")
    with pytest.raises(AuthenticationError):
        list(service.adapter().contacts(None))


def test_a_letter_that_came_or_came_back_was_sent(service: EsputnikService) -> None:
    """Sendings have no row: they are derived, marked, and one per letter and person."""
    campaign, more = BROADCASTS[1], {"hardBounce": False}
    service.store.happen("a@example.com", "UNDELIVERED", campaign, AT, **more)
    service.store.happen("a@example.com", "DELIVERED", campaign, AT + timedelta(hours=1))
    service.store.happen("b@example.com", "UNDELIVERED", campaign, AT, hardBounce=True)
    events = sorted(
        (event for event in service.adapter().events(AT) if event.email[0] in "ab"), key=lambda event: event.email
    )
    assert [(event.email[0], event.event_type, event.bounce_kind, event.source) for event in events] == [
        ("a", "sent", None, "snapshot"),
        ("a", "bounced", "soft", "poll"),
        ("a", "delivered", None, "poll"),
        ("b", "sent", None, "snapshot"),
        ("b", "bounced", "hard", "poll"),
    ]
    assert {event.campaign_id for event in events} == {str(MESSAGES[1])}
    assert {event.campaign_id for event in events} <= {one.external_id for one in service.adapter().campaigns(None)}


def test_times_are_read_in_the_zone_of_the_account(empty: EsputnikService) -> None:
    """Kyiv unless told otherwise; an hour that comes twice is the first of the two."""
    twice = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 03:30 in summer; an hour later it is 03:30 again
    empty.store.happen("a@example.com", "READ", None, AT)
    empty.store.happen("b@example.com", "READ", None, twice + timedelta(hours=1))
    found = {event.email: event.occurred_at for event in empty.adapter().events(twice)}
    assert found == {"a@example.com": AT, "b@example.com": twice}
    elsewhere = {event.email: event.occurred_at for event in empty.adapter(timezone="UTC").events(twice)}
    assert elsewhere["a@example.com"] == AT + timedelta(hours=2)


def test_a_webhook_has_the_keys_of_the_reading(service: EsputnikService) -> None:
    """So that the same row by both ways is one event."""
    service.store.add_webhook("https://hooks.example/x", headers={"x-timezone": "Europe/Kyiv"})
    service.store.happen("a@example.com", "CLICKED", BROADCASTS[1], AT, clickEventLink="https://shop.example/a")
    service.store.happen("a@example.com", "DELIVERED", BROADCASTS[1], AT)
    (request,) = service.store.hook_requests(AT)
    delivery = Delivery(request.method, request.url, request.headers, request.body, NOW)
    hooks = {event.external_id: event for event in Esputnik.read_hook("marketing", delivery)}
    polls = {event.external_id: event for event in service.adapter().events(AT)}
    assert len(hooks) == 3
    assert hooks.keys() <= polls.keys()
    assert {event.source for event in hooks.values()} == {"webhook", "snapshot"}
    assert all(hooks[key].occurred_at == polls[key].occurred_at for key in hooks)


def test_the_zone_of_a_webhook_comes_in_its_header() -> None:
    """The webhook's body has naive times and no zone; without the header it is Kyiv."""
    row = {"activityStatus": "READ", "activityDateTime": "2026-07-01T12:00:00", "email": "a@example.com", "iid": "1"}
    (kyiv,), (moscow,) = hooked(row), hooked(row, **{"x-timezone": "Europe/Moscow"})
    assert (kyiv.occurred_at, moscow.occurred_at) == (
        datetime(2026, 7, 1, 9, tzinfo=UTC),
        datetime(2026, 7, 1, 9, tzinfo=UTC),
    )
    (utc,) = hooked(row, **{"x-timezone": "UTC"})
    assert utc.occurred_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    with pytest.raises(ContractError, match="X-Timezone"):
        hooked(row, **{"x-timezone": "Kiew"})


@pytest.mark.parametrize("body", [b"", b"no json", b'"text"', b"[1]", b'[{"email": "a@example.com"}]'])
def test_a_body_that_is_no_webhook_breaks_the_contract(body: bytes) -> None:
    """It is parked with a reason, not read as nothing."""
    with pytest.raises(ContractError, match="esputnik"):
        list(Esputnik.read_hook("marketing", Delivery("POST", "https://hooks.example/x", {}, body, NOW)))


def test_other_media_are_passed_over() -> None:
    """A text message is no letter."""
    row = {"activityStatus": "DELIVERED", "activityDateTime": "2026-07-01T12:00:00", "email": "a@example.com"}
    assert hooked({**row, "mediaType": "sms"}) == []
    assert len(hooked({**row, "mediaType": "email"})) == 2


def test_contacts_carry_fields_groups_and_status(service: EsputnikService) -> None:
    """Custom fields by name, groups as tags, the status as far as the service shows it."""
    with service.store.transaction() as db:
        db.execute("update contacts set fields = ? where key = ?", (f'{{"{CITY_FIELD}": "Kyiv"}}', service.subscribed))
    found = {one.email: one for one in service.adapter().contacts(None)}
    first = found[service.subscribed]
    assert (first.fields["City"], first.fields["firstName"], first.tags) == ("Kyiv", "Анна", ("Newsletter",))
    assert [found[f"person{n}@example.com"].status for n in (1, 4, 5)] == ["subscribed", "unsubscribed", "cleaned"]
    service.store.configure(email_status="off")
    assert {one.status for one in service.adapter().contacts(None)} == {"unknown"}


def test_lists_are_the_base_and_the_groups(service: EsputnikService) -> None:
    """Contacts belong to the base; groups come with their names."""
    found = {one.external_id: one.name for one in service.adapter().lists()}
    assert found == {"contacts": "Contacts", str(GROUP): "Newsletter"}


@pytest.mark.parametrize(
    ("connection", "complaint"),
    [
        (AccountConnection("esputnik__b"), "no password"),
        (AccountConnection("esputnik__b", password="x", extra={"timezone": "Kiew"}), "timezone"),
        (AccountConnection("esputnik__b", "https://evil.example", password="x"), "not an allowed outbound host"),
    ],
)
def test_a_connection_that_cannot_work_says_why(connection: AccountConnection, complaint: str) -> None:
    """At once, and by the option's name."""
    with pytest.raises(ConfigurationError, match=complaint):
        Esputnik.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[])


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ({"failedContacts": []}, set()),
        ({"failedContacts": ["A@example.com"]}, {"a@example.com"}),
        ({"failedContacts": [{"email": "a@example.com", "message": "x"}]}, {"a@example.com"}),
        ({"failedContacts": [{"channels": [{"type": "email", "value": "a@example.com"}]}]}, {"a@example.com"}),
        ({"failedContacts": [{"contact": {"channels": [{"type": "email", "value": "a@b.c"}]}}]}, {"a@b.c"}),
        ({"failedContacts": [{"channels": [{"type": "sms", "value": "1"}]}, 7]}, set()),
        ("FINISHED", set()),
    ],
)
def test_failed_contacts_are_read_in_every_shape(answer: object, failed: set[str]) -> None:
    """The documentation names the field and not what is in it."""
    assert set(failed_contacts(answer)) == failed


def test_names_of_fields_and_categories_are_read_with_or_without_a_wrapper() -> None:
    """Both are seen; an answer that has neither breaks the contract."""
    book = {"fieldGroups": [{"fields": [{"id": "7", "name": "City"}]}]}
    assert field_names(book) == field_names({"addressBook": book}) == {7: "City"}
    assert category_names(["News"]) == category_names({"subscriptions": [{"name": "News"}]}) == ["News"]
    with pytest.raises(ContractError):
        field_names({})
