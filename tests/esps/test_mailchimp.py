"""What is true of Mailchimp only: its words, its reports, its address, its errors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.contract.cases import FOREVER
from tests.contract.mailchimp_service import MailchimpService
from tests.sandbox.small import FIRST, KEY, LIST, SECOND

from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError, ContractError, RateLimited, RequestRejected
from lettertrail.esps._mailchimp_rows import active, campaign, contact, opened, sent
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.esps.mailchimp import subscriber_hash


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def paths(service: MailchimpService, since: int = 0) -> list[str]:
    return [f"{line['method']} {line['path'].removeprefix('/3.0')}" for line in service.lines()[since:]]


def crowd(count: int) -> list[str]:
    return [f"crowd{number:05d}@example.com" for number in range(count)]


# Reading


def test_letters_are_campaigns() -> None:
    """Every column from its place in the nested answer; an empty text is no value."""
    row: dict[str, Any] = {
        "id": "c1",
        "status": "sent",
        "send_time": "2026-03-01T12:00:00+03:00",
        "emails_sent": 6,
        "archive_url": "https://short.example",
        "long_archive_url": "",
        "recipients": {"list_id": "l1"},
        "settings": {"title": "Spring", "subject_line": "Весна 🌞"},
        "tracking": {"google_analytics": ""},
    }
    letter = campaign(row)
    assert (letter.external_id, letter.list_id, letter.title, letter.subject) == ("c1", "l1", "Spring", "Весна 🌞")
    assert (letter.status, letter.sent_at, letter.emails_sent) == ("sent", at("2026-03-01 09:00"), 6)
    assert (letter.utm_campaign, letter.url, letter.updated_at) == (None, "https://short.example", None)
    assert letter.payload is row
    assert campaign({"id": "c2", "status": "dreaming", "send_time": ""}).status == "unknown"
    assert campaign({"id": "c2", "status": "save", "send_time": ""}).sent_at is None


def test_members_are_contacts(service: MailchimpService) -> None:
    """Lower-cased address, our words, absent times as None, the reason of leaving."""
    found = {member.email: member for member in service.adapter().contacts(None)}
    assert set(found) == {f"person{number}@example.com" for number in (1, 2, 3, 4, 5, 8)}
    first, left = found["person1@example.com"], found["person4@example.com"]
    assert first.external_id == f"{LIST}:{subscriber_hash('person1@example.com')}"
    assert (first.status, first.status_reason, first.list_id) == ("subscribed", None, LIST)
    assert first.opted_in_at == at("2026-01-01 10:00")
    assert first.payload["email_address"] == "Person1@Example.com"
    assert (left.status, left.changed_at) == ("unsubscribed", at("2026-03-01 12:00"))
    assert left.status_reason
    assert found["person5@example.com"].status == "cleaned"


def test_a_member_in_a_state_we_do_not_know() -> None:
    """Unknown words and empty times are kept as such; tags are sorted."""
    row = {"id": "m", "email_address": " A@B.c ", "status": "frozen", "timestamp_opt": "", "last_changed": "",
           "tags": [{"id": 2, "name": "b"}, {"id": 1, "name": "a"}]}  # fmt: skip
    member = contact(row, "l1")
    assert (member.email, member.status, member.opted_in_at, member.changed_at) == ("a@b.c", "unknown", None, None)
    assert member.tags == ("a", "b")


def test_only_changed_members_come_with_since(service: MailchimpService) -> None:
    """Sorted by the time of change, an hour below what was asked."""
    found = list(service.adapter().contacts(at("2026-03-01 13:00")))
    assert [member.email for member in found] == ["person4@example.com", "person2@example.com"]
    asked = service.lines()[-2]["query"]
    assert (asked["sort_field"], asked["sort_dir"], asked["count"]) == ("last_changed", "ASC", "1000")
    assert asked["since_last_changed"] == "2026-03-01T12:00:00+00:00"


def test_archived_members_come_too(service: MailchimpService) -> None:
    """They are listed only when asked for by that status."""
    service.enrol(["gone@example.com"], status="archived")
    found = [member for member in service.adapter().contacts(None) if member.email == "gone@example.com"]
    assert [member.status for member in found] == ["archived"]


def test_what_happened_to_the_letters(service: MailchimpService) -> None:
    """Every send, bounce, open, click, opt-out and complaint of the small world, once, with its true time."""
    events = list(service.adapter().events(None))
    assert Counter(event.event_type for event in events) == {
        "sent": 8, "bounced": 2, "opened": 4, "clicked": 4, "unsubscribed": 1, "complained": 1,
    }  # fmt: skip
    told = {
        kind: [event for event in events if event.event_type == kind] for kind in Counter(e.event_type for e in events)
    }
    assert sorted(event.is_proxy for event in told["opened"]) == [False, False, True, True]
    assert {event.is_proxy for event in told["clicked"]} == {None}
    assert sorted((event.email, event.bounce_kind, event.occurred_at) for event in told["bounced"]) == [
        ("person3@example.com", "soft", at("2026-03-01 09:10")),
        ("person5@example.com", "hard", at("2026-03-01 09:10")),
    ]
    assert sorted((event.occurred_at, event.url) for event in told["clicked"]) == [
        (at("2026-03-01 09:00:05"), "https://shop.example/a"),
        (at("2026-03-01 09:00:06"), "https://shop.example/c"),
        (at("2026-03-01 12:01"), "https://shop.example/a"),
        (at("2026-03-02 12:01"), "https://shop.example/a"),
    ]
    (left,), (angry,) = told["unsubscribed"], told["complained"]
    assert (left.email, left.campaign_id, left.occurred_at) == ("person4@example.com", FIRST, at("2026-03-01 12:00"))
    assert left.reason
    assert (angry.email, angry.campaign_id, angry.occurred_at) == (
        "person2@example.com",
        SECOND,
        at("2026-06-01 15:00"),
    )
    assert {event.occurred_at for event in told["sent"]} == {at("2026-03-01 09:00"), at("2026-06-01 09:00")}
    members = {member.external_id for member in service.adapter().contacts(None)}
    assert {event.contact_id for event in events if event.email != "old8@example.com"} <= members


def test_letters_beyond_the_window_are_not_asked_again(service: MailchimpService) -> None:
    """Ninety days after sending, or what the option says; a settled letter needs no sent-to."""
    list(service.adapter().events(at("2026-06-20 00:00")))
    assert [path for path in paths(service) if FIRST in path] == []
    assert f"GET /reports/{SECOND}/open-details" in paths(service)
    assert f"GET /reports/{SECOND}/sent-to" not in paths(service)
    before = len(service.lines())
    list(service.adapter(activity_days=365).events(at("2026-06-02 00:00")))
    assert f"GET /reports/{FIRST}/open-details" in paths(service, before)
    assert f"GET /reports/{SECOND}/sent-to" in paths(service, before)
    with pytest.raises(ConfigurationError, match="activity_days"):
        list(service.adapter(activity_days="soon").events(at("2026-06-02 00:00")))


def test_news_is_asked_for_with_an_overlap(service: MailchimpService) -> None:
    """A day below, so that what came late is found; what lies before does not come again."""
    events = list(service.adapter().events(at("2026-03-03 00:00") + timedelta(days=30)))
    assert "opened" not in {event.event_type for event in events}
    asked = [line["query"] for line in service.lines() if line["path"].endswith("open-details")]
    assert {query["since"] for query in asked} == {"2026-04-01T00:00:00+00:00"}


def test_drafts_and_scheduled_letters_have_no_events(service: MailchimpService) -> None:
    """They are letters, but nothing happened to them yet."""
    with service.store.transaction() as db:
        for name, status, time in (("0000000001", "save", ""), ("0000000002", "schedule", "2026-12-01T00:00:00+00:00")):
            db.execute(
                "insert into campaigns values (?, 1, ?, 'regular', ?, 't', 's', '', ?, ?, '')",
                (name, LIST, status, "2026-10-01T00:00:00+00:00", time),
            )
    assert {letter.status for letter in service.adapter().campaigns(None)} == {"sent", "save", "schedule"}
    list(service.adapter().events(None))
    assert not [path for path in paths(service) if "/reports/0000000001" in path or "/reports/0000000002" in path]


LETTER = {"id": "c1", "send_time": "2026-03-01T09:00:00+00:00"}
WHO = {"email_id": "m1", "email_address": "a@b.c", "list_id": "l1"}


def test_two_opens_in_one_second_are_two() -> None:
    """And the flag that may be corrected later does not make a third."""
    once = {"timestamp": "2026-03-01T09:00:20+00:00", "is_proxy_open": True}
    two = list(opened(LETTER, WHO | {"opens": [once, once]}))
    assert len({event.external_id for event in two}) == 2
    (corrected,) = opened(LETTER, WHO | {"opens": [once | {"is_proxy_open": False}]})
    assert corrected.external_id == two[0].external_id
    (silent,) = opened(LETTER, WHO | {"opens": [{"timestamp": "2026-03-01T09:00:20+00:00"}]})
    assert silent.is_proxy is None


def test_a_bounce_is_one_event_whichever_report_tells_it() -> None:
    """The one with a time wins; the one without fills in when there is no other."""
    did = {"action": "bounce", "type": "hard", "timestamp": "2026-03-03T09:00:00+00:00"}
    (timed,) = active(LETTER, WHO | {"activity": [did]})
    _, untimed = sent(LETTER, WHO | {"status": "hard"}, dated=())
    assert timed.external_id == untimed.external_id
    assert timed.occurred_at == at("2026-03-03 09:00")
    assert untimed.occurred_at == at("2026-03-01 09:00")
    assert [event.event_type for event in sent(LETTER, WHO | {"status": "hard"}, dated={"m1"})] == ["sent"]
    (odd,) = active(LETTER, WHO | {"activity": [did | {"type": "blocked"}]})
    assert (odd.event_type, odd.bounce_kind) == ("bounced", None)


def test_a_delivery_state_we_do_not_know_is_kept() -> None:
    """It was sent, and something unknown happened to it."""
    known, unknown = sent(LETTER, WHO | {"status": "evaporated"}, dated=())
    assert (known.event_type, unknown.event_type, unknown.reason) == ("sent", "unknown", "evaporated")


@pytest.mark.parametrize(
    "row",
    [
        {"email_address": "a@b.c", "list_id": "l1"},
        WHO | {"activity": [{"action": "click"}]},
        WHO | {"activity": [{"action": "click", "timestamp": "yesterday"}]},
    ],
)
def test_a_row_without_what_we_rely_on_stops_the_reading(row: dict[str, Any]) -> None:
    """Rather than being counted under a wrong name."""
    activity = [{"action": "click", "timestamp": "2026-03-01T09:00:00+00:00"}]
    with pytest.raises(ContractError, match="mailchimp"):
        list(active(LETTER, {"activity": activity} | row))


# Connecting


def connect(**given: Any) -> Mailchimp:
    connection = AccountConnection("mailchimp__b2b", **given)
    return Mailchimp.connect(connection, clock=system_clock, allowed_hosts=[])


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (None, "https://us6.api.mailchimp.com/3.0"),
        ("", "https://us6.api.mailchimp.com/3.0"),
        ("api.mailchimp.com", "https://api.mailchimp.com/3.0"),
        ("https://us7.api.mailchimp.com/3.0/", "https://us7.api.mailchimp.com/3.0"),
    ],
)
def test_the_address_is_in_the_key_unless_it_is_given(address: str | None, url: str) -> None:
    """The part after the hyphen is the data centre."""
    esp = connect(base_url=address, password=KEY.replace("us1", "us6"))
    assert (esp.account, esp.api._base_url) == ("mailchimp__b2b", url)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "no password"),
        ({"password": "0123456789abcdef"}, "data centre"),
        ({"password": "0123-us1.evil.example/"}, "data centre"),
        ({"password": KEY, "base_url": "https://evil.example/3.0"}, "LETTERTRAIL_ALLOWED_HOSTS"),
        ({"password": KEY, "base_url": "http://us1.api.mailchimp.com/3.0"}, "LETTERTRAIL_ALLOWED_HOSTS"),
    ],
)
def test_a_connection_that_cannot_work_says_why(given: dict[str, str], complaint: str) -> None:
    """Before the key is sent anywhere."""
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        connect(**given)
    assert KEY not in str(caught.value)


def test_the_operators_hosts_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """LETTERTRAIL_ALLOWED_HOSTS, when the caller names none."""
    monkeypatch.setenv("LETTERTRAIL_ALLOWED_HOSTS", "127.0.0.1:8081")
    connection = AccountConnection("mailchimp", "http://127.0.0.1:8081/3.0", password=KEY)
    assert Mailchimp.connect(connection, clock=system_clock).name == "mailchimp"


def test_a_wrong_audience_is_found_by_the_check(service: MailchimpService) -> None:
    """Key and account are fine, the option is not."""
    assert [step.ok for step in service.adapter(list_id="0000000000").check()] == [True, True, False]
    with pytest.raises(ConfigurationError, match="list_id"):
        list(service.adapter(list_id="../account").suppressed())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, "", RateLimited),
        (429, "", RateLimited),
        (400, '{"title": "Invalid Resource", "detail": "anna@example.com looks fake"}', RequestRejected),
    ],
)
def test_errors_go_by_status_and_title(
    service: MailchimpService, status: int, body: str, error: type[Exception]
) -> None:
    """At high volume 403 means too fast and has no body; a detail may hold an address and is not repeated."""
    service.fault("refuse", status=status, body=body, times=FOREVER)
    with pytest.raises(error) as caught:
        list(service.adapter().campaigns(None))
    assert type(caught.value) is error
    assert "anna" not in str(caught.value)


def test_reading_takes_full_pages(service: MailchimpService) -> None:
    """A thousand rows a call: three for 2 500 members, one for the archived, three for interests and their groups."""
    service.enrol(crowd(2_500))
    before = len(service.lines())
    assert len(list(service.adapter(list_id=LIST).contacts(None))) == 2_506
    assert len(service.lines()) - before == 7
