"""Mailchimp's lists, totals, links, fields and webhooks, and what is written beyond segments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.contract.cases import AUDIENCE, FOREVER, by_key, records
from tests.contract.mailchimp_service import INTEREST, MailchimpService
from tests.sandbox.small import FIRST, LIST, SECOND

from lettertrail.errors import ComplianceRefusal, Duplicate
from lettertrail.esps._mailchimp_rows import contact, totals
from lettertrail.esps.mailchimp import Mailchimp, _judge
from lettertrail.esps.port import Delivery, Event, Outcome, Record
from lettertrail.http import Answer
from lettertrail.sandbox.esps.mailchimp import subscriber_hash


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hook(**fields: str) -> list[Event]:
    body = urlencode({name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in fields.items()})
    return list(Mailchimp.read_hook("marketing", Delivery("POST", "https://x", {}, body.encode(), at("2026-11-01"))))


def wrote(service: MailchimpService) -> list[dict[str, Any]]:
    return [line["body"] for line in service.writes()]


def field_of(service: MailchimpService, address: str, tag: str) -> str:
    row = service.store.row("select merge_fields from members where id = ?", subscriber_hash(address))
    assert row is not None
    return str(json.loads(row["merge_fields"]).get(tag))


# Reading


def test_audiences_are_lists(service: MailchimpService) -> None:
    """Name, time and everybody in it; only the chosen one when one is chosen."""
    (audience,) = service.adapter().lists()
    assert (audience.external_id, audience.name, audience.contacts) == (LIST, "Newsletter", 6)
    assert audience.created_at is not None
    assert list(service.adapter(list_id="ffffffffff").lists()) == []


def test_totals_come_from_reports(service: MailchimpService) -> None:
    """Deliveries are worked out; opens without proxies stand beside all opens."""
    found = {total.external_id: total for total in service.adapter().totals(None)}
    first = found[FIRST]
    assert set(found) == {FIRST, SECOND}
    assert (first.sent, first.delivered, first.bounced_hard, first.bounced_soft, first.bounced) == (6, 4, 1, 1, 2)
    assert (first.opens, first.opened, first.opened_without_proxies) == (4, 3, 2)
    assert (first.clicks, first.clicked, first.unsubscribed, first.complained) == (4, 2, 1, 0)
    assert found[SECOND].complained == 1
    assert "timeseries" not in first.payload


def test_totals_of_old_letters_are_not_asked_again(service: MailchimpService) -> None:
    """They keep to the window of the events."""
    assert [total.external_id for total in service.adapter().totals(at("2026-06-20"))] == [SECOND]
    assert [total.external_id for total in service.adapter(list_id="ffffffffff").totals(None)] == []


def test_a_report_that_says_little() -> None:
    """What it does not say is unknown, not zero."""
    row = totals({"id": "c", "emails_sent": 5})
    assert (row.sent, row.delivered, row.bounced, row.opens, row.clicked) == (5, None, None, None, None)


def test_links_come_with_their_clicks(service: MailchimpService) -> None:
    """Per letter and address of the link."""
    found = {link.url: link for link in service.adapter().links(None)}
    assert {url: (link.clicks, link.clicked) for url, link in found.items()} == {
        "https://shop.example/a": (3, 2),
        "https://shop.example/c": (1, 1),
    }
    assert {link.campaign_id for link in found.values()} == {FIRST}


def test_a_member_brings_its_fields(service: MailchimpService) -> None:
    """Merge fields by tag, interests by name, empty fields not at all."""
    found = {member.email: member for member in service.adapter().contacts(None)}
    first = found["person1@example.com"]
    assert first.fields["FNAME"] == "Анна"
    assert first.fields["Sales"] is False
    row = {"id": "m", "email_address": "a@b.c", "merge_fields": {"FNAME": ""}, "interests": {"x": True}}
    assert contact(row, "l1").fields == {"x": True}


# Webhooks


@pytest.mark.parametrize(
    ("words", "kind", "bounce"),
    [
        ({"type": "unsubscribe", "data__reason": "manual", "data__action": "unsub"}, "unsubscribed", None),
        ({"type": "unsubscribe", "data__reason": "abuse", "data__action": "delete"}, "complained", None),
        ({"type": "unsubscribe"}, "unsubscribed", None),
        ({"type": "cleaned", "data__reason": "hard"}, "bounced", "hard"),
        ({"type": "cleaned", "data__reason": "abuse"}, "complained", None),
        ({"type": "teleported"}, "unknown", None),
    ],
)
def test_a_webhook_is_an_event(words: dict[str, str], kind: str, bounce: str | None) -> None:
    """With the identity that the polled contact has, whatever `data[id]` says."""
    more = {"fired_at": "2026-11-01 10:00:00", "data__email": "Anna@Example.com", "data__list_id": LIST}
    (event,) = hook(**words, **more, data__id="8a25ff1d98", data__campaign_id=FIRST)
    assert (event.event_type, event.bounce_kind, event.source) == (kind, bounce, "webhook")
    assert (event.email, event.campaign_id, event.occurred_at) == ("anna@example.com", FIRST, at("2026-11-01 10:00"))
    assert event.contact_id == f"{LIST}:{subscriber_hash('anna@example.com')}"
    assert event.payload["data[id]"] == "8a25ff1d98"


@pytest.mark.parametrize("word", ["subscribe", "profile", "upemail", "campaign"])
def test_a_webhook_of_another_kind_tells_of_no_letter(word: str) -> None:
    """Contacts are read anyway."""
    assert hook(type=word, fired_at="2026-11-01 10:00:00", data__email="a@b.c", data__list_id=LIST) == []


def test_whom_the_account_deleted_has_not_left() -> None:
    """A clean-up by hand must not become an opt-out everywhere."""
    more = {"data__action": "delete", "data__reason": "manual", "data__email": "a@b.c"}
    assert hook(type="unsubscribe", fired_at="2026-11-01 10:00:00", **more) == []


# Writing fields


def test_fields_are_found_by_tag_or_label(service: MailchimpService) -> None:
    """In any case; a null clears."""
    esp = service.adapter()
    by_key(esp.upsert([Record("key 0", service.subscribed, {"lname": "Brown", "First Name": None})]), records("1"))
    assert field_of(service, service.subscribed, "LNAME") == "Brown"
    assert field_of(service, service.subscribed, "FNAME") == ""


def test_an_attribute_without_a_field_is_refused(service: MailchimpService) -> None:
    """Mailchimp would drop it without a word."""
    sent = [Record("a", service.subscribed, {"SHOE": 43}), Record("b", service.left, {})]
    found = by_key(service.adapter().upsert(sent), sent)
    assert (found["a"].status, found["a"].reason) == ("rejected", "the audience has no field 'SHOE'")
    assert (found["b"].status, found["b"].reason) == ("already_ok", "nothing to write")
    assert service.writes() == []


def test_missing_fields_are_made_when_allowed(service: MailchimpService) -> None:
    """Once, as text; the next push finds it by its label."""
    esp = service.adapter(add_fields="true")
    for value in ("43", "44"):
        sent = [Record("a", service.subscribed, {"shoe_size": value})]
        assert by_key(esp.upsert(sent), sent)["a"].status == "applied"
    made = [line["body"] for line in service.writes() if line["path"].endswith("/merge-fields")]
    assert made == [{"name": "shoe_size", "type": "text"}]
    (member,) = [one for one in esp.contacts(None) if one.email == service.subscribed]
    assert "44" in member.fields.values()


def test_writing_fields_never_sends_a_status(service: MailchimpService) -> None:
    """A status with `update_existing` is how opt-outs get lost."""
    service.enrol(["archived@example.com"], status="archived")
    people = [service.subscribed, service.left, "archived@example.com", "new@example.com"]
    sent = [Record(address, address, {"LNAME": "Brown"}) for address in people]
    found = by_key(service.adapter(add_missing=True).upsert(sent), sent)
    assert [found[address].status for address in people] == ["applied", "applied", "rejected", "applied"]
    for body in wrote(service):
        statuses = {"status" in member for member in body["members"]}
        assert statuses == {not body["update_existing"]}
    assert service.status_of("new@example.com") == "subscribed"
    assert field_of(service, "new@example.com", "LNAME") == "Brown"
    assert service.status_of("archived@example.com") == "archived"


@pytest.mark.parametrize(("kind", "status"), [("drop_after_write", "applied"), ("drop_before", "retry_pending")])
def test_lost_fields_are_read_back(service: MailchimpService, kind: str, status: str) -> None:
    """Applied when they are there, pending when they are not."""
    service.fault(kind, method="POST", times=FOREVER)
    sent = [Record("a", service.subscribed, {"LNAME": "Brown"})]
    assert by_key(service.adapter().upsert(sent), sent)["a"].status == status


def test_a_refusal_that_proves_something_is_evidence(service: MailchimpService) -> None:
    """An erased person is evidence, whoever erased him."""
    with service.store.transaction() as db:
        db.execute("insert into forgotten values (?, ?)", (LIST, subscriber_hash("erased@example.com")))
    sent = [Record("a", "erased@example.com", {"LNAME": "Brown"}), Record("b", "fake@nowhere", {"LNAME": "Brown"})]
    for outcomes in (
        service.adapter(add_missing=True).upsert(sent),
        service.adapter(add_missing=1).add_members("s", sent),
    ):
        found = by_key(outcomes, sent)
        assert (found["a"].status, found["a"].evidence) == ("rejected", "erased")
        assert (found["b"].status, found["b"].evidence) == ("rejected", None)


@pytest.mark.parametrize(
    ("title", "kind", "evidence"),
    [
        ("Member In Compliance State", ComplianceRefusal, "unsubscribed"),
        ("Forgotten Email Not Subscribed", ComplianceRefusal, "erased"),
        ("Member Exists", Duplicate, None),
    ],
)
def test_refusals_have_their_kind(title: str, kind: type[Exception], evidence: str | None) -> None:
    """By the title, without the detail and its address."""
    error = _judge(Answer("mailchimp", 400, {}, {"title": title, "detail": "a@b.c is gone"}))
    assert isinstance(error, kind)
    assert getattr(error, "evidence", None) == evidence
    assert "a@b.c" not in str(error)


# Attributes of a segment


def test_a_segment_brings_its_attributes(service: MailchimpService) -> None:
    """Tag and field in one call; what the audience has no field for is left out and told."""
    assert Mailchimp.sends_attributes
    esp = service.adapter()
    sent = [Record("a", service.subscribed, {"LNAME": "Brown", "shoe": 43}), Record("b", "person3@example.com")]
    assert {outcome.status for outcome in by_key(esp.add_members(AUDIENCE, sent), sent).values()} == {"applied"}
    assert field_of(service, service.subscribed, "LNAME") == "Brown"
    assert sorted(esp.members(AUDIENCE)) == [service.subscribed, "person3@example.com"]
    again = [Record("a", service.subscribed, {"LNAME": "Green"})]
    before = len(service.writes())
    by_key(esp.add_members(AUDIENCE, again), again)
    assert field_of(service, service.subscribed, "LNAME") == "Green"
    assert len(service.writes()) == before + 1


def test_a_bulk_that_passes_over_tags_is_made_good(service: MailchimpService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old specification knows no tags there: the segment is changed after all."""
    monkeypatch.setattr("lettertrail.sandbox.esps.mailchimp.writing.set_tags", lambda *given, **more: None)
    esp, sent = service.adapter(), [Record("a", service.subscribed, {"LNAME": "Brown"})]
    assert by_key(esp.add_members(AUDIENCE, sent), sent)["a"].status == "applied"
    assert field_of(service, service.subscribed, "LNAME") == "Brown"
    assert list(esp.members(AUDIENCE)) == [service.subscribed]


def test_a_thousand_with_attributes_are_two_calls(service: MailchimpService) -> None:
    """Not two for the fields and two for the tag."""
    people = [f"crowd{number}@example.com" for number in range(1_000)]
    service.enrol(people)
    esp = service.adapter()
    sent = [Record(address, address, {"LNAME": "Brown"}) for address in people]
    by_key(esp.add_members(AUDIENCE, sent), sent)
    assert [call.records for call in esp.calls()] == [500, 500]
    assert sorted(esp.members(AUDIENCE)) == sorted(people)


# Preferences


def test_interests_are_written_by_name(service: MailchimpService) -> None:
    """An unknown one is refused, and no status is sent."""
    sent = [Record("a", service.subscribed, {"Sales": True}), Record("b", service.left, {"Cats": True})]
    found = by_key(service.adapter().set_preferences(sent), sent)
    assert (found["a"].status, found["b"].reason) == ("applied", "the audience has no interest 'Cats'")
    (body,) = wrote(service)
    assert body["members"] == [{"email_address": service.subscribed, "interests": {INTEREST: True}}]


def test_two_groups_with_the_same_interest(service: MailchimpService) -> None:
    """The group tells them apart; the bare name is no answer."""
    with service.store.transaction() as db:
        db.execute("insert into interest_categories select 'c2', list_id, replace(payload, 'Topics', 'Shops') "
                   "from interest_categories where id = 'c1'")  # fmt: skip
        db.execute("update interest_categories set payload = replace(payload, '\"c1\"', '\"c2\"') where id = 'c2'")
        db.execute("insert into interests select 'ffffffffff', 'c2', list_id, replace(payload, ?, 'ffffffffff') "
                   "from interests where id = ?", (INTEREST, INTEREST))  # fmt: skip
    sent = [Record("a", service.subscribed, {"Sales": True}), Record("b", service.left, {"Topics: Sales": True})]
    found = by_key(service.adapter().set_preferences(sent), sent)
    assert (found["a"].status, found["b"].status) == ("rejected", "applied")
    assert service.prefers(service.left)


# Erasing


def test_a_few_are_erased_one_by_one(service: MailchimpService) -> None:
    """The way that tells at once; Mailchimp never takes the address again."""
    esp = service.adapter(add_missing=True)
    sent = records([service.subscribed, service.left])
    assert {outcome.status for outcome in by_key(esp.erase(sent), sent).values()} == {"applied"}
    assert len(service.writes()) == 2
    assert "@" not in "".join(line["path"] for line in service.writes())
    found = by_key(esp.add_members(AUDIENCE, sent), sent)
    assert {(outcome.status, outcome.evidence) for outcome in found.values()} == {("rejected", "erased")}


def test_many_are_erased_by_a_batch(service: MailchimpService) -> None:
    """One call for a thousand, then waiting; those who fail are found by reading back."""
    people = [f"crowd{number}@example.com" for number in range(30)]
    service.enrol(people)
    esp = service.adapter()
    esp.api._sleep = lambda seconds: service.pause()
    sent = records([*people, service.absent])
    found = by_key(esp.erase(sent), sent)
    assert [found[f"key {number}"].status for number in range(31)] == ["applied"] * 30 + ["already_ok"]
    assert [(call.path, call.records) for call in esp.calls()] == [("/batches", 30)]
    assert service.people() == 6


def test_who_survives_a_batch_is_told(service: MailchimpService) -> None:
    """A batch that finished with errors is read back."""
    people = [f"crowd{number}@example.com" for number in range(12)]
    service.enrol(people)
    esp = service.adapter()
    esp._run_batch = lambda operations: {"errored_operations": 1}  # type: ignore[method-assign]
    sent = records(people)
    assert {outcome.reason for outcome in by_key(esp.erase(sent), sent).values()} == {"not erased"}


def test_outcomes_keep_their_addresses_to_themselves() -> None:
    """The repr of an outcome ends in logs."""
    assert "a@b.c" not in repr(Outcome("a@b.c", "applied"))
