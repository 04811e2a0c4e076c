"""Suppressing and segments at Mailchimp: full bulks, every refusal an outcome, and nobody brought back."""

from __future__ import annotations

import pytest
from tests.contract.cases import AUDIENCE, FOREVER, by_key, records
from tests.contract.mailchimp_service import MailchimpService
from tests.sandbox.small import LIST

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.mailchimp import subscriber_hash

OTHER_LIST = "f0f0f0f0f0"


def crowd(count: int) -> list[str]:
    return [f"crowd{number:05d}@example.com" for number in range(count)]


def add_list(service: MailchimpService) -> None:
    with service.store.transaction() as db:
        db.execute("insert into lists values (?, 2, 'Second', ?, 0)", (OTHER_LIST, service.store.now()))


# Suppressing


def test_suppresses_in_full_bulks(service: MailchimpService) -> None:
    """1 100 people are three writes of at most 500, and each says unsubscribed and nothing else."""
    people = crowd(1_100)
    service.enrol(people)
    sent_ = records(people)
    found = by_key(service.adapter().suppress(sent_), sent_)
    assert {outcome.status for outcome in found.values()} == {"applied"}
    bodies = [line["body"] for line in service.writes()]
    assert [len(body["members"]) for body in bodies] == [500, 500, 100]
    assert {member["status"] for body in bodies for member in body["members"]} == {"unsubscribed"}
    assert all(body["update_existing"] for body in bodies)


def test_asks_one_by_one_only_when_that_is_cheaper(service: MailchimpService) -> None:
    """Two people of three thousand are two questions; a thousand of them are a few pages."""
    people = crowd(3_000)
    service.enrol(people)
    before = len(service.lines())
    few = records(people[:2])
    by_key(service.adapter(list_id=LIST).suppress(few), few)
    assert len(service.lines()) - before == 1 + 2 + 1
    before = len(service.lines())
    many = records(people[1_000:2_000])
    by_key(service.adapter(list_id=LIST).suppress(many), many)
    assert len(service.lines()) - before <= 1 + 4 + 1 + 2


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("unsubscribed", "unsubscribed"),
        ("cleaned", "cleaned"),
        ("transactional", "transactional"),
        ("archived", "archived"),
    ],
)
def test_who_gets_no_newsletter_anyway_is_left_alone(service: MailchimpService, status: str, told: str) -> None:
    """No write; the reason says how they stand."""
    service.enrol(["quiet@example.com"], status=status)
    sent_ = records(["quiet@example.com"])
    outcome = by_key(service.adapter().suppress(sent_), sent_)["key 0"]
    assert (outcome.status, outcome.reason) == ("already_ok", told)
    assert service.writes() == []
    assert service.status_of("quiet@example.com") == status


def test_who_was_asked_to_confirm_is_suppressed_too(service: MailchimpService) -> None:
    """A confirmation would make them a subscriber."""
    service.enrol(["waiting@example.com"], status="pending")
    sent_ = records(["waiting@example.com"])
    assert by_key(service.adapter().suppress(sent_), sent_)["key 0"].status == "applied"
    assert service.status_of("waiting@example.com") == "unsubscribed"


def test_a_required_field_does_not_keep_anybody_from_leaving(service: MailchimpService) -> None:
    """The audience may ask for a company name; an opt-out has none."""
    service.enrol(["bare@example.com"])
    with service.store.transaction() as db:
        db.execute(
            "update merge_fields set payload = json_set(payload, '$.required', json('true')) where tag = 'LNAME'"
        )
    sent_ = records(["bare@example.com"])
    assert by_key(service.adapter().suppress(sent_), sent_)["key 0"].status == "applied"


def test_an_account_with_two_audiences_is_silenced_in_both(service: MailchimpService) -> None:
    """Suppression is the account's: whoever can still be mailed through one audience is not suppressed."""
    add_list(service)
    service.enrol(["both@example.com", "first@example.com"])
    service.enrol(["both@example.com"], list_id=OTHER_LIST)
    service.enrol(["half@example.com"], status="unsubscribed")
    service.enrol(["half@example.com"], list_id=OTHER_LIST)
    esp = service.adapter()
    assert "half@example.com" not in set(esp.suppressed())
    sent_ = records(["both@example.com", "first@example.com", "half@example.com", "nobody@example.com"])
    found = by_key(esp.suppress(sent_), sent_)
    assert [found[f"key {number}"].status for number in range(4)] == ["applied", "applied", "applied", "already_ok"]
    assert found["key 3"].reason == "not on the audience"
    rows = service.store.rows(
        "select status from members where email_address in ('both@example.com', 'half@example.com')"
    )
    assert {row["status"] for row in rows} == {"unsubscribed"}
    assert {"both@example.com", "first@example.com", "half@example.com"} <= set(esp.suppressed())
    with pytest.raises(ConfigurationError, match="list_id"):
        list(esp.members(AUDIENCE))
    assert list(service.adapter(list_id=LIST).members(AUDIENCE)) == []


# Segments


def test_a_segment_is_made_once(service: MailchimpService) -> None:
    """A static segment of the audience's name; a second push finds it."""
    esp = service.adapter()
    for _ in range(2):
        list(esp.add_members(AUDIENCE, records([service.subscribed])))
    made = [line for line in service.writes() if line["path"].endswith("/segments")]
    assert [line["body"] for line in made] == [{"name": AUDIENCE, "static_segment": []}]


@pytest.mark.parametrize("kind", ["drop_after_write", "truncate"])
def test_a_segment_is_not_made_twice_when_its_answer_is_lost(service: MailchimpService, kind: str) -> None:
    """It is looked for before it is given up."""
    service.fault(kind, method="POST", path="/segments$")
    sent_ = records([service.subscribed])
    assert by_key(service.adapter().add_members(AUDIENCE, sent_), sent_)["key 0"].status == "applied"
    assert len([line for line in service.writes() if line["path"].endswith("/segments")]) == 1


def test_segments_change_in_full_bulks(service: MailchimpService) -> None:
    """1 001 in and out are three calls each way."""
    people = crowd(1_001)
    service.enrol(people)
    esp, sent_ = service.adapter(), records(people)
    by_key(esp.add_members(AUDIENCE, sent_), sent_)
    assert sorted(esp.members(AUDIENCE)) == people
    by_key(esp.remove_members(AUDIENCE, sent_), sent_)
    assert list(esp.members(AUDIENCE)) == []
    assert [call.records for call in esp.calls()] == [0, 500, 500, 1, 500, 500, 1]


def test_a_member_who_left_is_still_listed(service: MailchimpService) -> None:
    """Otherwise a mirror could never take them out again; Mailchimp shows only the subscribed by itself."""
    esp = service.adapter()
    list(esp.add_members(AUDIENCE, records([service.subscribed])))
    list(esp.suppress(records([service.subscribed])))
    assert list(esp.members(AUDIENCE)) == [service.subscribed]


def test_strangers_are_rejected_unless_they_may_be_added(service: MailchimpService) -> None:
    """By default nobody becomes a subscriber because a segment names them."""
    sent_ = records(["new@example.com", service.subscribed])
    found = by_key(service.adapter().add_members(AUDIENCE, sent_), sent_)
    assert (found["key 0"].status, found["key 0"].reason) == ("rejected", "not on the audience")
    assert service.status_of("new@example.com") is None
    esp = service.adapter(add_missing=True)
    found = by_key(esp.add_members(AUDIENCE, sent_), sent_)
    assert {outcome.status for outcome in found.values()} == {"applied"}
    assert service.status_of("new@example.com") == "subscribed"
    assert sorted(esp.members(AUDIENCE)) == ["new@example.com", service.subscribed]


def test_a_segment_of_strangers_writes_nothing(service: MailchimpService) -> None:
    """Neither the segment is made nor the strangers are tried, however often the same plan comes."""
    service.enrol(["archived@example.com"], status="archived")
    sent_ = records(["new@example.com", "archived@example.com"])
    found = by_key(service.adapter().add_members(AUDIENCE, sent_), sent_)
    assert [(found[f"key {number}"].status, found[f"key {number}"].reason) for number in range(2)] == [
        ("rejected", "not on the audience"),
        ("rejected", "archived"),
    ]
    assert service.writes() == []


def test_a_double_opt_in_audience_asks_the_stranger(service: MailchimpService) -> None:
    """`subscribed` would skip the confirmation."""
    with service.store.transaction() as db:
        db.execute("update lists set double_optin = 1")
    list(service.adapter(add_missing=True).add_members(AUDIENCE, records(["new@example.com"])))
    assert service.status_of("new@example.com") == "pending"


def test_people_who_may_not_be_added_are_rejected_with_the_reason(service: MailchimpService) -> None:
    """Archived, erased, misspelt: nobody comes back through the back door."""
    service.enrol(["archived@example.com"], status="archived")
    with service.store.transaction() as db:
        db.execute("insert into forgotten values (?, ?)", (LIST, subscriber_hash("erased@example.com")))
    sent_ = records(["archived@example.com", "erased@example.com", "fake@nowhere"])
    found = by_key(service.adapter(add_missing=True).add_members(AUDIENCE, sent_), sent_)
    assert {outcome.status for outcome in found.values()} == {"rejected"}
    assert [found[f"key {number}"].reason for number in range(3)] == [
        "archived",
        "Forgotten Email Not Subscribed",
        "ERROR_GENERIC",
    ]
    assert service.status_of("archived@example.com") == "archived"
    assert service.status_of("erased@example.com") is None


def test_a_compliance_refusal_is_an_outcome(service: MailchimpService) -> None:
    """Somebody who left between our question and our write: the row error names the state, not the person."""
    esp = service.adapter(add_missing=True)
    text = "late@example.com is in a compliance state due to unsubscribe and cannot be subscribed."
    error = {"email_address": "late@example.com", "error": text, "error_code": "ERROR_GENERIC"}
    assert esp._bulk_verdicts({"errors": [error]}) == {"late@example.com": ("rejected", "Member In Compliance State")}


def test_nothing_ever_subscribes_an_existing_contact(service: MailchimpService) -> None:
    """After every kind of push, no request held `subscribed` together with `update_existing`, nor touched a member."""
    esp = service.adapter(add_missing=True)
    everyone = records([f"person{number}@example.com" for number in range(1, 9)])
    for outcomes in (
        esp.add_members(AUDIENCE, everyone), esp.suppress(everyone), esp.add_members(AUDIENCE, everyone),
        esp.remove_members(AUDIENCE, everyone), esp.add_members(AUDIENCE, everyone),
    ):  # fmt: skip
        list(outcomes)
    for line in service.writes():
        statuses = {member["status"] for member in line["body"].get("members", ())}
        assert not (line["body"].get("update_existing") and statuses & {"subscribed", "pending"})
        assert "/members" not in line["path"]


@pytest.mark.parametrize("times", [1, FOREVER])
def test_a_lost_creation_is_not_repeated_blindly(service: MailchimpService, times: int) -> None:
    """Creating is not idempotent: sent once, then looked up."""
    service.fault("drop_after_write", method="POST", path=f"/lists/{LIST}$", times=times)
    sent_ = records(["new@example.com"])
    found = by_key(service.adapter(add_missing=True).add_members(AUDIENCE, sent_), sent_)
    assert found["key 0"].status == "applied"
    assert len([line for line in service.writes() if line["path"].endswith(f"/lists/{LIST}")]) == 1
