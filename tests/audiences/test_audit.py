"""Reading back: drift is seen, kept, and mended by the next plan; what others made is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from lettertrail.audiences.audit import AuditResult, audit_members, audit_suppressions, oldest_first, read_drift
from lettertrail.audiences.plan import FLAGGED
from lettertrail.errors import BrakeApplied
from lettertrail.esps.port import Record
from lettertrail.status import audits_as_text
from lettertrail.warehouse.load_esp import load_account

ONE, _, THREE, *_, EIGHT = (f"person{number}@example.com" for number in range(1, 9))
PEOPLE = [f"{number}@example.com" for number in range(60)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[MailchimpService]:
    """1, 3 and 8 are subscribed."""
    with mailchimp_service(tmp_path) as running:
        yield running


def members(warehouse: Warehouse, esp: object) -> AuditResult | None:
    return audit_members("lapsed", esp, warehouse.dsn, run_id="run", clock=lambda: warehouse.now)


def suppressions(warehouse: Warehouse, esp: object, **options: str) -> AuditResult | None:
    return audit_suppressions(esp, warehouse.dsn, run_id="run", clock=lambda: warehouse.now, **options)


def test_drift_at_a_service_is_found_and_mended(warehouse: Warehouse, service: MailchimpService) -> None:
    """Somebody takes a member out, adds a stranger and subscribes a person again; the next plan mends the first and
    the last, and the stranger stays."""
    mailchimp = service.adapter()
    load_account(mailchimp, warehouse.dsn, run_id="run", clock=lambda: warehouse.now)
    warehouse.suppress(EIGHT)
    warehouse.fill_segment(ONE, THREE)
    warehouse.sync_suppressions(mailchimp)
    warehouse.sync_segment(mailchimp)
    list(mailchimp.remove_members("lapsed", [Record(ONE, ONE)]))
    service.enrol(["stranger@example.com"])
    list(mailchimp.add_members("lapsed", [Record("s", "stranger@example.com")]))
    with service.store.transaction() as db:
        db.execute("update members set status = 'subscribed', compliance = null where email_address = ?", (EIGHT,))
    seen = len(service.writes())

    found = [suppressions(warehouse, mailchimp), members(warehouse, mailchimp)]

    assert len(service.writes()) == seen
    assert found[0] is not None
    assert (found[0].missing, found[0].repaired) == (1, 1)
    assert found[1] == AuditResult("mailchimp", "mailchimp", "lapsed", 2, 2, 1, 1, 1)
    assert warehouse.sync_suppressions(mailchimp).applied == 1
    assert warehouse.sync_segment(mailchimp).applied == 1
    assert service.status_of(EIGHT) == "unsubscribed"
    assert set(mailchimp.members("lapsed")) == {ONE, THREE, "stranger@example.com"}
    again = members(warehouse, mailchimp)
    assert again is not None
    assert (again.expected, again.missing, again.strangers) == (3, 0, 0)
    drift = read_drift(warehouse.dsn)
    assert [(one.audience, one.missing) for one in drift] == [("lapsed", 0), ("suppressions", 1)]
    assert audits_as_text(drift, at=warehouse.now).splitlines() == [
        "read back 0 s ago: mailchimp lapsed: as confirmed (3)",
        f"read back 0 s ago: mailchimp suppressions: 1 of {drift[1].expected} missing, 1 repaired, "
        f"{drift[1].strangers} strangers",
    ]


def test_a_stranger_that_was_seen_is_never_taken_for_ours(warehouse: Warehouse) -> None:
    """Noted as found, so that joining and leaving the segment later does not end a membership others made."""
    esp = FakeDestination()
    warehouse.fill_segment(*PEOPLE)
    warehouse.sync_segment(esp)
    esp.audiences["lapsed"].add("stranger@example.com")

    members(warehouse, esp)
    warehouse.fill_segment(*PEOPLE, "stranger@example.com")
    assert warehouse.sync_segment(esp).planned == 0
    warehouse.fill_segment(*PEOPLE)

    assert warehouse.sync_segment(esp).planned == 0
    assert "stranger@example.com" in esp.audiences["lapsed"]


@pytest.mark.parametrize("audience", FLAGGED)
def test_a_flag_a_manager_changed_is_set_again(warehouse: Warehouse, audience: str) -> None:
    """The CRM's flag of somebody who must not be mailed comes back with the next plan, and is still ours to release."""
    warehouse.suppress("somebody@example.com")
    warehouse.cards(audience, c1=False, c2=False, c3=True)
    bitrix = FakeCrm()
    warehouse.sync_suppressions(bitrix, audience=audience)
    bitrix.marked = {"2", "3"}

    found = suppressions(warehouse, bitrix, audience=audience)

    assert found is not None
    assert (found.expected, found.missing, found.strangers, found.repaired) == (2, 1, 1, 1)
    assert warehouse.sync_suppressions(bitrix, audience=audience).applied == 1
    assert bitrix.marked == {"1", "2", "3"}
    warehouse.cards(audience, c1=True, c2=False, c3=True)
    assert warehouse.sync_suppressions(bitrix, audience=audience).applied == 1
    assert bitrix.marked == {"2", "3"}


def test_another_list_repairs_nothing(warehouse: Warehouse) -> None:
    """When most of what was confirmed is not there, a person has to look; the ledger stays, and so does the drift."""
    esp = FakeDestination()
    warehouse.fill_segment(*PEOPLE)
    warehouse.sync_segment(esp)
    esp.audiences["lapsed"] = set(PEOPLE[:5])

    with pytest.raises(BrakeApplied, match="55 of 60 confirmed records are not there"):
        members(warehouse, esp)

    assert len(warehouse.acknowledged("lapsed")) == 60
    assert [(one.missing, one.repaired) for one in read_drift(warehouse.dsn)] == [(55, 0)]
    assert warehouse.sync_segment(esp).planned == 0


def test_an_audit_does_not_hide_a_lost_ledger(warehouse: Warehouse) -> None:
    """Rows that vanished are the next push's to find; the audit leaves them as they are."""
    esp = FakeDestination()
    warehouse.fill_segment(*PEOPLE)
    assert members(warehouse, esp) is None
    warehouse.sync_segment(esp)
    warehouse.execute("delete from ops.acknowledged where record_key = %s", [PEOPLE[0]])

    assert members(warehouse, esp) is None

    warehouse.fill_segment(*PEOPLE[:59])
    with pytest.raises(BrakeApplied, match="the last push left 60"):
        warehouse.sync_segment(esp)


def test_the_longest_unread_come_first(warehouse: Warehouse) -> None:
    """A part of the audiences at a time still reaches all of them."""
    esp = FakeDestination()
    warehouse.fill_segment(*PEOPLE)
    warehouse.sync_segment(esp)
    members(warehouse, esp)

    assert oldest_first(warehouse.dsn, "mailchimp", ["lapsed", "new", "suppressions"], most=2) == [
        "new",
        "suppressions",
    ]
    assert oldest_first(warehouse.dsn, "mailchimp", ["lapsed"], most=None) == ["lapsed"]
