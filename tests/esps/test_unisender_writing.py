"""How UniSender is written to: imports of 500, tags, opt-outs, deletions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from tests.contract.cases import AUDIENCE, FOREVER, by_key, records
from tests.contract.unisender_service import UnisenderService, unisender_service

from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import Record
from lettertrail.sandbox.esps.unisender import LIST_ID


@pytest.fixture
def service(tmp_path: Path) -> Iterator[UnisenderService]:
    """The small world."""
    with unisender_service(tmp_path) as running:
        yield running


def crowd(count: int) -> list[str]:
    return [f"crowd{number:05d}@example.com" for number in range(count)]


def columns(service: UnisenderService) -> set[str]:
    """Every column an import has named."""
    found: set[str] = set()
    for line in service.writes():
        if line["path"].endswith("/importContacts"):
            found |= {value for name, value in parse_qsl(line["body"]) if name.startswith("field_names")}
    return found


def field_of(service: UnisenderService, address: str, name: str) -> str | None:
    row = service.store.row(f"select json_extract(fields, '$.{name}') as value from contacts where email = ?", address)
    return None if row is None else row["value"]


def tags_of(service: UnisenderService, address: str) -> list[str]:
    rows = service.store.rows(
        "select t.name from contact_tags x join tags t on t.id = x.tag join contacts c using (contact) "
        "where c.email = ? order by t.name",
        address,
    )
    return [row["name"] for row in rows]


# Opt-outs


def test_many_are_silenced_in_full_bulks(service: UnisenderService) -> None:
    """1 001 people are three imports, read back once."""
    people = crowd(1_001)
    service.enrol(people)
    esp = service.adapter()
    sent = records(people)
    assert {outcome.status for outcome in by_key(esp.suppress(sent), sent).values()} == {"applied"}
    assert [call.records for call in esp.calls()] == [500, 500, 1]
    assert {service.status_of(address) for address in people} == {"unsubscribed"}
    exports = [line for line in service.lines() if line["path"].endswith("exportContacts")]
    assert len(exports) == 2


def test_an_import_that_changes_nothing_is_noticed(service: UnisenderService) -> None:
    """The answer counts rows and says nothing of statuses."""
    done = '{"result": {"total": 1, "inserted": 0, "updated": 1, "deleted": 0, "invalid": 0, "log": []}}'
    service.fault("refuse", status=200, body=done, path="importContacts")
    sent = records([service.subscribed])
    found = by_key(service.adapter().suppress(sent), sent)["key 0"]
    assert (found.status, found.reason) == ("rejected", "still subscribed")


def test_a_few_are_unsubscribed_one_by_one(service: UnisenderService) -> None:
    """The service books that as the person's own wish; who is on no list is switched off all the same."""
    service.enrol(["listless@example.com"])
    with service.store.transaction() as db:
        db.execute("delete from memberships where contact = (select max(contact) from contacts)")
    esp = service.adapter()
    sent = records([service.subscribed, "listless@example.com", service.left, service.absent])
    found = by_key(esp.unsubscribe(sent), sent)
    assert [found[f"key {number}"].status for number in range(4)] == ["applied", "applied", "already_ok", "already_ok"]
    assert [service.status_of(address) for address in (service.subscribed, "listless@example.com")] == [
        "unsubscribed",
        "unsubscribed",
    ]
    assert esp.calls()[0].path == "/unsubscribe"


def test_who_is_switched_off_is_unsubscribed_too(service: UnisenderService) -> None:
    """Somebody may switch the address on again."""
    service.enrol(["off@example.com"], status="inactive")
    esp, sent = service.adapter(), records(["off@example.com"])
    assert "off@example.com" not in set(esp.suppressed())
    assert by_key(esp.suppress(sent), sent)["key 0"].status == "applied"
    assert "off@example.com" in set(esp.suppressed())


def test_nothing_but_an_opt_out_writes_a_status(service: UnisenderService) -> None:
    """No import names the column, whatever else is written."""
    esp = service.adapter(add_missing=True)
    people = [service.subscribed, service.left, service.absent]
    sent = [Record(address, address, {"LastName": "Brown"}) for address in people]
    for outcomes in (
        esp.upsert(sent),
        esp.add_members(AUDIENCE, sent),
        esp.remove_members(AUDIENCE, sent),
        esp.erase(records(["person3@example.com"])),
    ):
        list(outcomes)
    assert columns(service) == {"email", "LastName", "email_list_ids", "tags", "delete"}
    list(esp.suppress(records([service.subscribed])))
    assert "email_status" in columns(service)
    assert service.status_of(service.left) == "unsubscribed"


# Fields


def test_fields_are_found_in_any_case(service: UnisenderService) -> None:
    """Rows with other columns go in another import: a cell left out is not an empty cell."""
    esp = service.adapter()
    sent = [
        Record("a", service.subscribed, {"lastname": "Brown"}),
        Record("b", "person3@example.com", {"Name": None, "LastName": "Green"}),
        Record("c", "person2@example.com", {"SHOE": 43}),
    ]
    found = by_key(esp.upsert(sent), sent)
    assert (found["a"].status, found["b"].status) == ("applied", "applied")
    assert (found["c"].status, found["c"].reason) == ("rejected", "the account has no field 'SHOE'")
    assert (field_of(service, service.subscribed, "LastName"), field_of(service, service.subscribed, "Name")) == (
        "Brown",
        "Анна",
    )
    assert (field_of(service, "person3@example.com", "LastName"), field_of(service, "person3@example.com", "Name")) == (
        "Green",
        "",
    )
    assert [call.records for call in esp.calls()] == [1, 1]


def test_missing_fields_are_made_when_allowed(service: UnisenderService) -> None:
    """Once; a segment may bring them as well."""
    esp = service.adapter(add_fields="true")
    for value in ("43", "44"):
        sent = [Record("a", service.subscribed, {"shoe_size": value})]
        assert by_key(esp.add_members(AUDIENCE, sent), sent)["a"].status == "applied"
    assert field_of(service, service.subscribed, "shoe_size") == "44"
    assert [call.path for call in esp.calls()] == ["/createField", "/importContacts", "/importContacts"]


def test_a_refused_row_is_told_by_its_code(service: UnisenderService) -> None:
    """The others of the same import are written."""
    sent = [Record("a", "fake@nowhere", {"LastName": "x"}), Record("b", "new@example.com", {"LastName": "Brown"})]
    found = by_key(service.adapter(add_missing=True).upsert(sent), sent)
    assert (found["a"].status, found["a"].reason) == ("rejected", "invalid_email")
    assert found["b"].status == "applied"
    assert field_of(service, "new@example.com", "LastName") == "Brown"


def test_new_contacts_join_the_list(service: UnisenderService) -> None:
    """The one list, or the one that is named; among several somebody has to choose."""
    sent = [Record("a", "new@example.com", {"LastName": "Brown"})]
    by_key(service.adapter(add_missing=True).upsert(sent), sent)
    (row,) = service.store.rows(
        "select m.list_id from memberships m join contacts c using (contact) where c.email = 'new@example.com'"
    )
    assert row["list_id"] == LIST_ID
    with service.store.transaction() as db:
        db.execute("insert into lists (id, title) values (5, 'Other')")
    sent = [Record("a", "newer@example.com", {"LastName": "Brown"})]
    with pytest.raises(ConfigurationError, match="list_id"):
        list(service.adapter(add_missing=True).upsert(sent))
    with pytest.raises(ConfigurationError, match="list_id"):
        list(service.adapter(add_missing=True, list_id="77").upsert(sent))
    assert by_key(service.adapter(add_missing=True, list_id="5").upsert(sent), sent)["a"].status == "applied"


@pytest.mark.parametrize(("kind", "status"), [("drop_after_write", "applied"), ("drop_before", "retry_pending")])
def test_lost_fields_are_read_back(service: UnisenderService, kind: str, status: str) -> None:
    """Applied when they are there, pending when they are not."""
    service.fault(kind, method="POST", times=FOREVER)
    sent = [Record("a", service.subscribed, {"LastName": "Brown"})]
    assert by_key(service.adapter().upsert(sent), sent)["a"].status == status


def test_after_a_lost_import_no_other_is_sent(service: UnisenderService) -> None:
    """The service is in trouble: the rest waits for the next run."""
    people = crowd(1_001)
    service.enrol(people)
    service.fault("drop_before", method="POST", times=FOREVER)
    sent = [Record(address, address, {"LastName": "Brown"}) for address in people]
    found = by_key(service.adapter().upsert(sent), sent)
    assert {outcome.status for outcome in found.values()} == {"retry_pending"}
    assert sum(outcome.reason == "not attempted" for outcome in found.values()) == 501


# Audiences


def test_an_audience_is_a_tag_beside_others(service: UnisenderService) -> None:
    """Coming and going, it leaves the other tags alone; attributes travel in the same import."""
    esp = service.adapter()
    sent = [Record("a", service.subscribed, {"LastName": "Brown", "shoe": 43}), Record("b", "person3@example.com")]
    for audience in ("seg_other", AUDIENCE):
        by_key(esp.add_members(audience, sent), sent)
    assert tags_of(service, service.subscribed) == [AUDIENCE, "seg_other"]
    assert field_of(service, service.subscribed, "LastName") == "Brown"
    by_key(esp.remove_members(AUDIENCE, sent), sent)
    assert tags_of(service, service.subscribed) == ["seg_other"]
    assert list(esp.members(AUDIENCE)) == []
    assert sorted(esp.members("seg_other")) == [service.subscribed, "person3@example.com"]


def test_the_last_tag_can_be_taken_off(service: UnisenderService) -> None:
    """An empty cell, and not a missing one."""
    esp, sent = service.adapter(), records([service.subscribed])
    by_key(esp.add_members(AUDIENCE, sent), sent)
    assert by_key(esp.remove_members(AUDIENCE, sent), sent)["key 0"].status == "applied"
    assert tags_of(service, service.subscribed) == []


def test_audiences_change_in_full_bulks(service: UnisenderService) -> None:
    """1 001 in and out are three imports each way."""
    people = crowd(1_001)
    service.enrol(people)
    esp, sent = service.adapter(), records(people)
    by_key(esp.add_members(AUDIENCE, sent), sent)
    assert sorted(esp.members(AUDIENCE)) == people
    by_key(esp.remove_members(AUDIENCE, sent), sent)
    assert list(esp.members(AUDIENCE)) == []
    assert [call.records for call in esp.calls()] == [500, 500, 1] * 2


def test_strangers_are_rejected_unless_they_may_be_added(service: UnisenderService) -> None:
    """By default nobody becomes a subscriber because a segment names them."""
    sent = records(["new@example.com"])
    found = by_key(service.adapter().add_members(AUDIENCE, sent), sent)["key 0"]
    assert (found.status, found.reason) == ("rejected", "not in the account")
    assert service.writes() == []
    assert by_key(service.adapter(add_missing=True).add_members(AUDIENCE, sent), sent)["key 0"].status == "applied"
    assert service.status_of("new@example.com") == "subscribed"


# Deleting


def test_many_are_deleted_in_full_bulks(service: UnisenderService) -> None:
    """600 people are two imports; strangers are not made on the way."""
    people = crowd(600)
    service.enrol(people)
    esp, sent = service.adapter(), records([*people, service.absent])
    found = by_key(esp.erase(sent), sent)
    assert [found[f"key {number}"].status for number in (0, 599, 600)] == ["applied", "applied", "already_ok"]
    assert [call.records for call in esp.calls()] == [500, 100]
    assert service.status_of(service.absent) is None
