"""Is the ledger still what the last push left, and what happens when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse

from lettertrail.audiences.plan import Target
from lettertrail.audiences.state import Mark, Marks, forget_records
from lettertrail.errors import BrakeApplied, ConfigurationError
from lettertrail.warehouse.connect import connect

PEOPLE = [f"{name}@example.com" for name in ("ann", "bob", "cid", "dan", "eve")]
TARGET = Target("mailchimp", "mailchimp", "lapsed")


@pytest.fixture
def mailchimp(warehouse: Warehouse) -> FakeDestination:
    """Five members of ours and one of somebody else's."""
    esp = FakeDestination()
    esp.audiences["lapsed"] = {"zoe@example.com"}
    warehouse.fill_segment(*PEOPLE)
    warehouse.sync_segment(esp)
    return esp


def test_a_rebuilt_state_knows_ours_by_the_ledger(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Read from the destination: who was added by a call of ours is ours, the stranger is not; additions flow."""
    warehouse.execute("truncate ops.acknowledged")
    warehouse.fill_segment(*PEOPLE[:4], "fay@example.com")

    with pytest.raises(BrakeApplied, match="0 records are known as confirmed, and the last push left 6"):
        warehouse.sync_segment(mailchimp)

    assert warehouse.acknowledged("lapsed") == {
        **dict.fromkeys([*PEOPLE, "fay@example.com"], "member"),
        "zoe@example.com": "found",
    }
    assert mailchimp.audiences["lapsed"] == {*PEOPLE, "fay@example.com", "zoe@example.com"}


def test_the_doubt_stays_until_a_person_has_looked(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Every later run holds removals, too; released once, the ledger is believed again."""
    warehouse.execute("delete from ops.acknowledged where record_key = 'ann@example.com'")
    warehouse.fill_segment(*PEOPLE[:4])
    for _ in range(2):
        with pytest.raises(BrakeApplied, match="5 records are known as confirmed"):
            warehouse.sync_segment(mailchimp)

    warehouse.sync_segment(mailchimp, release_brake=True)
    warehouse.fill_segment(*PEOPLE[:3])
    result = warehouse.sync_segment(mailchimp)

    assert (result.planned, result.applied) == (1, 1)
    assert mailchimp.audiences["lapsed"] == {*PEOPLE[:3], "zoe@example.com"}


def test_a_kill_leaves_no_doubt(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Rows and checksum move in one transaction: what was cut off is a smaller push, not a lost ledger."""
    warehouse.fill_segment(*PEOPLE, "fay@example.com")
    mailchimp.faults = ["lose"]
    with pytest.raises(Exception, match="wait for the next run"):
        warehouse.sync_segment(mailchimp)
    warehouse.sync_segment(mailchimp)
    warehouse.fill_segment(*PEOPLE)

    assert warehouse.sync_segment(mailchimp).held == 0


def test_what_is_forgotten_on_purpose_is_no_loss(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Whoever erases a person from the ledger says so in the same transaction, and nothing is doubted."""
    forget(warehouse, "ann@example.com")
    mailchimp.audiences["lapsed"].discard("ann@example.com")
    warehouse.fill_segment(*PEOPLE[1:])

    assert warehouse.sync_segment(mailchimp).planned == 0


def test_a_loss_is_told_all_the_same(warehouse: Warehouse, mailchimp: FakeDestination) -> None:
    """Of somebody else's row in the audience that a person is erased from."""
    warehouse.execute("delete from ops.acknowledged where record_key = 'bob@example.com'")
    forget(warehouse, "ann@example.com")
    warehouse.fill_segment(*PEOPLE[1:4])

    with pytest.raises(BrakeApplied, match="4 records are known as confirmed, and the last push left 5"):
        warehouse.sync_segment(mailchimp)


def forget(warehouse: Warehouse, key: str) -> None:
    with connect(warehouse.dsn, purpose="test") as connection:
        places = connection.execute("select ctid::text from ops.acknowledged where record_key = %s", [key]).fetchall()
        assert forget_records(connection, [place for (place,) in places]) == len(places) == 1


def test_the_crm_keeps_what_is_ours_to_release(warehouse: Warehouse) -> None:
    """After a rebuild the contact we suppressed can be released, once a person agreed; the manager's cannot."""
    warehouse.suppress("somebody@example.com")
    warehouse.crm(c1=False, c2=False)
    bitrix = FakeCrm()
    bitrix.marked = {"2"}
    warehouse.sync_suppressions(bitrix)
    warehouse.execute("truncate ops.acknowledged")
    warehouse.crm(c1=True, c2=True)
    with pytest.raises(BrakeApplied, match="read from the destination anew"):
        warehouse.sync_suppressions(bitrix)
    assert bitrix.marked == {"1", "2"}

    warehouse.sync_suppressions(bitrix, release_brake=True)

    assert bitrix.marked == {"2"}


def test_a_mark_of_another_machine_may_be_old(warehouse: Warehouse, mailchimp: FakeDestination, tmp_path: Path) -> None:
    """Two workers with a directory each: neither doubts what the other has pushed."""
    one, two = Marks(tmp_path / "one"), Marks(tmp_path / "two")
    for number, marks in enumerate([one, two, two, one], start=1):
        warehouse.fill_segment(*PEOPLE, *(f"new{n}@example.com" for n in range(number)))
        assert warehouse.sync_segment(mailchimp, marks=marks).held == 0


def test_a_mark_that_cannot_be_read_is_named(warehouse: Warehouse, tmp_path: Path) -> None:
    """Nothing is pushed on a guess; the message names the file."""
    marks = Marks(tmp_path)
    marks.set(TARGET, Mark(1, warehouse.now, is_finished=True))
    (file,) = tmp_path.iterdir()
    file.write_text("{", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=file.name):
        marks.read(TARGET)
