"""Plan → brake → push against a real Postgres and a destination that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse
from tests.push_ledger import Killed

from lettertrail.audiences import push
from lettertrail.audiences.push import SyncResult
from lettertrail.errors import (
    BrakeApplied,
    ComplianceRefusal,
    ConfigurationError,
    ContractError,
    LedgerImbalance,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps.port import Outcome, Record
from lettertrail.warehouse.ledger import check_balance

PEOPLE = [f"{name}@example.com" for name in ("ann", "bob", "cid", "dan", "eve")]


def test_suppresses_only_whom_the_account_can_mail(warehouse: Warehouse) -> None:
    """Of three suppressed addresses, the mailable one is called, the absent and the unsubscribed are not."""
    warehouse.suppress("ann@example.com", "bob@example.com", "cid@example.com")
    warehouse.contact("ann@example.com")
    warehouse.contact("bob@example.com", status="unsubscribed")
    mailchimp = FakeDestination()

    result = warehouse.sync_suppressions(mailchimp)

    assert (result.planned, result.applied) == (1, 1)
    assert mailchimp.marked == {"ann@example.com"}
    assert warehouse.acknowledged("suppressions") == {"ann@example.com": "suppressed"}
    assert warehouse.query("select seq, method, path, status, records from ops.sync_calls") == [
        {"seq": 1, "method": "POST", "path": "/suppress", "status": 200, "records": 1}
    ]


def test_second_run_makes_no_call(warehouse: Warehouse) -> None:
    """With nothing changed both syncs plan nothing and write nothing at the destination."""
    warehouse.suppress("ann@example.com")
    warehouse.contact(*PEOPLE)
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination()
    warehouse.sync_suppressions(mailchimp)
    warehouse.sync_segment(mailchimp)
    before = dict(mailchimp.writes)
    warehouse.later(hours=1)

    results = [warehouse.sync_suppressions(mailchimp), warehouse.sync_segment(mailchimp)]

    assert before == {"suppress": 1, "add": 1}
    assert dict(mailchimp.writes) == before
    assert [result.planned for result in results] == [0, 0]
    assert warehouse.unbalanced() == []


def test_first_run_adopts_what_the_destination_reports(warehouse: Warehouse) -> None:
    """What is suppressed and in the audience already is recorded, not called for."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    warehouse.fill_segment("bob@example.com", "cid@example.com")
    mailchimp = FakeDestination()
    mailchimp.marked = {"ann@example.com"}
    mailchimp.audiences["lapsed"] = {"bob@example.com"}

    suppressions = warehouse.sync_suppressions(mailchimp)
    segment = warehouse.sync_segment(mailchimp)

    assert suppressions.planned == 0
    assert segment.planned == 1
    assert warehouse.acknowledged("suppressions") == {"ann@example.com": "found"}
    assert mailchimp.audiences["lapsed"] == {"bob@example.com", "cid@example.com"}


def test_suppressed_people_are_never_added_and_are_taken_out(warehouse: Warehouse) -> None:
    """The plan subtracts dim_suppression whatever the segment's author forgot, and whatever the spelling."""
    warehouse.fill_segment("Ann@Example.com ", "bob@example.com")
    warehouse.suppress("ann@example.com", state="complaint")
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    assert mailchimp.audiences["lapsed"] == {"bob@example.com"}

    warehouse.suppress("bob@example.com")
    result = warehouse.sync_segment(mailchimp)

    assert mailchimp.audiences["lapsed"] == set()
    assert "ann@example.com" not in mailchimp.ever_added
    assert warehouse.outcomes(result.sync_run_id) == {
        "bob@example.com": ("remove", "applied", "suppressed: unsubscribed")
    }


def test_somebody_seen_mailable_after_the_confirmation_is_suppressed_again(warehouse: Warehouse) -> None:
    """A stale sighting changes nothing, a newer one is acted upon."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    mailchimp = FakeDestination()
    warehouse.sync_suppressions(mailchimp)
    warehouse.later(hours=1)
    assert warehouse.sync_suppressions(mailchimp).planned == 0

    mailchimp.marked.clear()
    warehouse.contact("ann@example.com")
    result = warehouse.sync_suppressions(mailchimp)

    assert result.applied == 1
    assert mailchimp.marked == {"ann@example.com"}
    assert warehouse.sync_suppressions(mailchimp).planned == 0


def test_changed_attributes_are_sent_again(warehouse: Warehouse) -> None:
    """Extra columns of the segment travel as attributes; only who changed is sent."""
    warehouse.execute("alter table segments.seg_lapsed add column city text")
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    warehouse.execute("update segments.seg_lapsed set city = 'Omsk'")
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    warehouse.execute("update segments.seg_lapsed set city = 'Perm' where email like 'ann%'")

    result = warehouse.sync_segment(mailchimp)

    assert result.planned == 1
    assert mailchimp.attributes == {"ann@example.com": {"city": "Perm"}, "bob@example.com": {"city": "Omsk"}}
    assert warehouse.sync_segment(mailchimp).planned == 0


def test_attributes_change_nothing_where_nobody_takes_them(warehouse: Warehouse) -> None:
    """A destination without attributes is not called when only they changed."""
    warehouse.execute("alter table segments.seg_lapsed add column city text")
    warehouse.fill_segment("ann@example.com")
    mailchimp = FakeDestination()
    mailchimp.sends_attributes = False
    warehouse.sync_segment(mailchimp)
    warehouse.execute("update segments.seg_lapsed set city = 'Perm'")

    assert warehouse.sync_segment(mailchimp).planned == 0


@pytest.mark.parametrize(("mode", "left"), [("mirror", {"bob@example.com"}), ("upsert", set(PEOPLE[:2]))])
def test_mode_decides_who_is_removed_for_leaving(warehouse: Warehouse, mode: str, left: set[str]) -> None:
    """Mirror takes out who left the segment, upsert does not."""
    warehouse.segment = replace(warehouse.segment, mode=mode, max_removed_pct=100)
    warehouse.fill_segment(*PEOPLE[:2])
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    warehouse.fill_segment("bob@example.com")

    warehouse.sync_segment(mailchimp)

    assert mailchimp.audiences["lapsed"] == left


def test_suppress_only_adds_nobody(warehouse: Warehouse) -> None:
    """In suppress_only, members of ours are only taken out for suppression evidence, and nobody joins."""
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    mailchimp = FakeDestination()
    mailchimp.audiences["lapsed"] = {"dan@example.com"}
    warehouse.sync_segment(mailchimp)
    warehouse.segment = replace(warehouse.segment, mode="suppress_only")
    warehouse.fill_segment("cid@example.com")
    warehouse.suppress("ann@example.com", "dan@example.com")

    warehouse.sync_segment(mailchimp)

    assert mailchimp.audiences["lapsed"] == {"bob@example.com", "dan@example.com"}


def test_a_membership_we_did_not_make_is_never_touched(warehouse: Warehouse) -> None:
    """Adopted on the first run, or found when we came to add: it stays when the person leaves the segment."""
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    mailchimp = FakeDestination()
    mailchimp.audiences["lapsed"] = {"ann@example.com", "dan@example.com"}
    warehouse.sync_segment(mailchimp)
    mailchimp.audiences["lapsed"].add("cid@example.com")
    warehouse.fill_segment("ann@example.com", "bob@example.com", "cid@example.com")
    assert warehouse.sync_segment(mailchimp).already_ok == 1
    warehouse.fill_segment("eve@example.com")
    warehouse.suppress("ann@example.com")

    warehouse.sync_segment(mailchimp, release_brake=True)

    assert mailchimp.audiences["lapsed"] == {f"{name}@example.com" for name in ("ann", "cid", "dan", "eve")}
    assert warehouse.acknowledged("lapsed") == {
        "ann@example.com": "found",
        "cid@example.com": "found",
        "dan@example.com": "found",
        "eve@example.com": "member",
    }


def test_a_changed_field_is_sent_alone(warehouse: Warehouse) -> None:
    """Of three fields one changed: the record brings that one, and the others stay known as confirmed."""
    warehouse.execute("alter table segments.seg_lapsed add column city text, add column step int, add column name text")
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    warehouse.execute("update segments.seg_lapsed set city = 'Omsk', step = 1")
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    warehouse.execute("update segments.seg_lapsed set step = 2 where email like 'bob%'")

    result = warehouse.sync_segment(mailchimp)

    assert warehouse.outcomes(result.sync_run_id) == {"bob@example.com": ("update", "already_ok", "fields changed")}
    assert mailchimp.attributes["bob@example.com"] == {"step": 2}
    assert warehouse.sync_segment(mailchimp).planned == 0


def test_a_member_whose_field_is_refused_stays_a_member(warehouse: Warehouse) -> None:
    """The refused value is not sent again at every run, the next value is, and the membership can still be ended."""
    warehouse.execute("alter table segments.seg_lapsed add column city text")
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    mailchimp.refusing = {"ann@example.com"}
    warehouse.execute("update segments.seg_lapsed set city = 'Omsk' where email like 'ann%'")
    assert warehouse.sync_segment(mailchimp).rejected == 1
    assert warehouse.sync_segment(mailchimp).planned == 0

    mailchimp.refusing = set()
    warehouse.execute("update segments.seg_lapsed set city = 'Perm' where email like 'ann%'")
    assert warehouse.sync_segment(mailchimp).planned == 1
    warehouse.execute("delete from segments.seg_lapsed where email like 'ann%'")
    warehouse.sync_segment(mailchimp)

    assert mailchimp.audiences["lapsed"] == set(PEOPLE[1:])


def test_refusals_are_recorded_and_asked_again_only_after_a_week(warehouse: Warehouse) -> None:
    """A refusal is an answer: no call on the next run, one more after seven days."""
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    mailchimp = FakeDestination()
    mailchimp.refusing = {"ann@example.com"}

    first = warehouse.sync_segment(mailchimp)
    warehouse.later(hours=1)
    second = warehouse.sync_segment(mailchimp)
    warehouse.later(days=8)
    third = warehouse.sync_segment(mailchimp)

    assert (first.applied, first.rejected) == (1, 1)
    assert warehouse.outcomes(first.sync_run_id)["ann@example.com"] == (
        "add",
        "rejected",
        "joined the segment; compliance",
    )
    assert (second.planned, third.rejected) == (0, 1)


def test_what_a_refusal_says_of_the_person_is_kept(warehouse: Warehouse) -> None:
    """Only there can the warehouse learn that somebody left whom it had never seen on that service."""
    warehouse.fill_segment("ann@example.com", "bob@example.com")
    mailchimp = FakeDestination()
    mailchimp.refusing, mailchimp.evidence = {"ann@example.com"}, "complaint"
    warehouse.sync_segment(mailchimp)
    kept = warehouse.query("select record_key, evidence from ops.sync_records order by record_key")
    assert kept == [
        {"record_key": "ann@example.com", "evidence": "complaint"},
        {"record_key": "bob@example.com", "evidence": None},
    ]


def test_dry_run_records_the_plan_and_writes_nothing(warehouse: Warehouse) -> None:
    """Every record of a dry run is held, and the next real run does the work."""
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination()

    result = warehouse.sync_segment(mailchimp, dry_run=True)

    assert (result.planned, result.held) == (5, 5)
    assert not mailchimp.writes
    assert set(warehouse.outcomes(result.sync_run_id).values()) == {("add", "held", "joined the segment; dry run")}
    assert warehouse.sync_segment(mailchimp).applied == 5
    assert warehouse.unbalanced() == []


@pytest.mark.parametrize("fault", ["down", "lose"])
def test_a_passing_fault_leaves_the_batch_to_the_next_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The other batches go through, the run raises at the end, and the next run completes it."""
    monkeypatch.setattr(push, "BATCH_SIZE", 2)
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination(batch_faults=["", fault])

    with pytest.raises(TemporaryApiError, match="2 of 5 records"):
        warehouse.sync_segment(mailchimp)
    interrupted = warehouse.query("select * from ops.sync_runs")[0]
    result = warehouse.sync_segment(mailchimp)

    assert (interrupted["applied"], interrupted["retry_pending"]) == (3, 2)
    assert (result.planned, result.applied + result.already_ok) == (2, 2)
    assert mailchimp.audiences["lapsed"] == set(PEOPLE)
    assert warehouse.unbalanced() == []


def test_gives_up_after_three_batches_in_a_row(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is down is not hammered: the rest stays pending without a call."""
    monkeypatch.setattr(push, "BATCH_SIZE", 1)
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination(batch_faults=["down"] * 9)

    with pytest.raises(TemporaryApiError, match="5 of 5 records"):
        warehouse.sync_segment(mailchimp)

    assert mailchimp.writes["add"] == 3
    assert warehouse.unbalanced() == []


def test_a_kill_between_call_and_commit_is_completed_by_the_next_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both runs account for every record exactly once, and the state is right at both ends."""
    monkeypatch.setattr(push, "BATCH_SIZE", 2)
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination(batch_faults=["", "die"])

    with pytest.raises(Killed):
        warehouse.sync_segment(mailchimp)
    result = warehouse.sync_segment(mailchimp)

    assert (result.planned, result.applied, result.already_ok) == (3, 1, 2)
    assert mailchimp.audiences["lapsed"] == set(PEOPLE)
    assert warehouse.acknowledged("lapsed") == dict.fromkeys(PEOPLE, "member")
    dead = warehouse.query("select * from ops.sync_runs order by sync_run_id")[0]
    assert (dead["planned"], dead["applied"], dead["retry_pending"]) == (5, 2, 3)
    assert warehouse.unbalanced() == []


def test_a_record_without_an_answer_is_an_error(warehouse: Warehouse) -> None:
    """A destination that forgets a record fails the run, and the record stays pending."""
    warehouse.fill_segment(*PEOPLE)

    with pytest.raises(ContractError, match="did not account for 1 record"):
        warehouse.sync_segment(FakeDestination(batch_faults=["forget"]))

    run = warehouse.query("select * from ops.sync_runs")[0]
    assert (run["applied"], run["retry_pending"]) == (4, 1)


class Poisoned(FakeDestination):
    """Refuses a whole call when one of its records is `poison`."""

    def __init__(self, *poison: str, refusal: Exception | None = None) -> None:
        super().__init__()
        self.poison = set(poison)
        self.refusal = refusal or RequestRejected("mailchimp", "bad request", status=400, code="INVALID")

    def _write(self, action: str, records: Sequence[Record], keys: set[str], *, present: bool) -> Iterator[Outcome]:
        if self.poison & {record.key for record in records}:
            self.writes[action] += 1
            raise self.refusal
        yield from super()._write(action, records, keys, present=present)


def test_a_poisoned_batch_is_cut_until_the_bad_row_is_alone(warehouse: Warehouse) -> None:
    """One bad row of two hundred is refused with the service's reason; all others go through, in few calls."""
    crowd = [f"crowd{number:03}@example.com" for number in range(200)]
    warehouse.fill_all(crowd)
    mailchimp = Poisoned(crowd[77])

    result = warehouse.sync_segment(mailchimp)

    assert (result.applied, result.rejected, result.retry_pending) == (199, 1, 0)
    assert warehouse.outcomes(result.sync_run_id)[crowd[77]] == (
        "add", "rejected", "joined the segment; the service refuses it (INVALID)"
    )  # fmt: skip
    assert mailchimp.writes["add"] <= 2 * 8 + 1
    assert warehouse.sync_segment(mailchimp).planned == 0


def test_a_refusal_for_the_person_is_evidence(warehouse: Warehouse) -> None:
    """A call refused because somebody left says so of that one."""
    warehouse.fill_segment(*PEOPLE)
    left = ComplianceRefusal("mailchimp", "left", evidence="unsubscribed", status=400)

    result = warehouse.sync_segment(Poisoned("bob@example.com", refusal=left))

    assert (result.applied, result.rejected) == (4, 1)
    assert warehouse.query("select record_key, evidence from ops.sync_records where evidence is not null") == [
        {"record_key": "bob@example.com", "evidence": "unsubscribed"}
    ]


def test_a_call_that_is_refused_whoever_is_in_it_refuses_nobody(warehouse: Warehouse) -> None:
    """The fault is a setting's: the run fails with it, every record stays pending, and the calls have an end."""
    crowd = [f"crowd{number:03}@example.com" for number in range(200)]
    warehouse.fill_all(crowd)
    mailchimp = Poisoned(*crowd)

    with pytest.raises(RequestRejected, match="bad request"):
        warehouse.sync_segment(mailchimp)

    run = warehouse.query("select * from ops.sync_runs")[0]
    assert (run["rejected"], run["retry_pending"]) == (0, 200)
    assert mailchimp.writes["add"] < 50
    assert warehouse.acknowledged("lapsed") == {}


def test_brake_holds_removals_over_the_limit_and_lets_the_rest_through(warehouse: Warehouse) -> None:
    """Additions and evidenced removals flow, the risky removals wait until a person releases them."""
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    warehouse.fill_segment("eve@example.com", "fay@example.com")
    warehouse.suppress("ann@example.com")

    with pytest.raises(BrakeApplied, match=r"3 of 5 records to remove \(60.0 %\).*release_brake"):
        warehouse.sync_segment(mailchimp)
    held = warehouse.query("select * from ops.sync_runs order by sync_run_id desc")[0]
    assert (held["planned"], held["applied"], held["held"]) == (5, 2, 3)
    assert mailchimp.audiences["lapsed"] == {*PEOPLE[1:], "fay@example.com"}

    warehouse.sync_segment(mailchimp, release_brake=True)

    assert mailchimp.audiences["lapsed"] == {"eve@example.com", "fay@example.com"}
    assert warehouse.unbalanced() == []


def test_an_empty_segment_removes_nobody(warehouse: Warehouse) -> None:
    """Even a segment without a limit does not empty its audience by accident."""
    warehouse.segment = replace(warehouse.segment, max_removed_pct=100)
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    warehouse.fill_segment()

    with pytest.raises(BrakeApplied, match="the segment is empty"):
        warehouse.sync_segment(mailchimp)

    assert mailchimp.audiences["lapsed"] == set(PEOPLE)


def test_stale_marts_still_suppress_but_add_nobody(warehouse: Warehouse) -> None:
    """Old knowledge is good enough to stop writing to somebody, not to start."""
    warehouse.fill_segment("bob@example.com")
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    mailchimp = FakeDestination()
    warehouse.now += timedelta(hours=30)

    warehouse.sync_suppressions(mailchimp)
    with pytest.raises(BrakeApplied, match="marts are 30 hours old"):
        warehouse.sync_segment(mailchimp)

    assert mailchimp.marked == {"ann@example.com"}
    assert mailchimp.writes["add"] == 0


def test_bitrix_releases_only_what_we_suppressed(warehouse: Warehouse) -> None:
    """A flag somebody else cleared stays cleared when consent comes back."""
    warehouse.suppress("somebody@example.com")
    warehouse.crm(c1=False, c2=False, c3=True)
    bitrix = FakeCrm()
    bitrix.marked = {"2"}
    warehouse.sync_suppressions(bitrix)
    assert bitrix.marked == {"1", "2"}
    warehouse.crm(c1=True, c2=True, c3=True)

    result = warehouse.sync_suppressions(bitrix)

    assert (result.planned, result.applied) == (1, 1)
    assert bitrix.marked == {"2"}
    assert warehouse.acknowledged("suppressions") == {"2": "found"}
    assert warehouse.sync_suppressions(bitrix).planned == 0


def test_bitrix_flag_cleared_by_a_killed_run_is_still_ours(warehouse: Warehouse) -> None:
    """The mark of a call in flight survives the kill, so the contact can be released later."""
    warehouse.suppress("somebody@example.com")
    warehouse.crm(c1=False)
    bitrix = FakeCrm(batch_faults=["die"])
    with pytest.raises(Killed):
        warehouse.sync_suppressions(bitrix)
    again = warehouse.sync_suppressions(bitrix)
    warehouse.crm(c1=True)

    released = warehouse.sync_suppressions(bitrix)

    assert (again.already_ok, released.applied) == (1, 1)
    assert bitrix.marked == set()


def test_many_releases_at_once_are_held(warehouse: Warehouse) -> None:
    """When consent seems to come back for everybody, a person has to look."""
    warehouse.suppress("somebody@example.com")
    warehouse.crm(**{f"c{number}": False for number in range(1, 31)})
    bitrix = FakeCrm()
    warehouse.sync_suppressions(bitrix)
    warehouse.crm(**{f"c{number}": True for number in range(1, 31)})

    with pytest.raises(BrakeApplied, match="30 of 30 records to release"):
        warehouse.sync_suppressions(bitrix)

    assert len(bitrix.marked) == 30


def test_an_emptied_suppression_list_adds_and_releases_nobody(warehouse: Warehouse) -> None:
    """A build that lost dim_suppression must not look like universal consent."""
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    warehouse.fill_segment("ann@example.com")
    mailchimp = FakeDestination()
    warehouse.sync_suppressions(mailchimp)
    warehouse.execute("truncate marts.dim_suppression")

    with pytest.raises(BrakeApplied, match="dim_suppression is empty"):
        warehouse.sync_segment(mailchimp)

    assert not mailchimp.ever_added


def test_a_segment_cannot_go_to_the_crm(warehouse: Warehouse) -> None:
    """Bitrix has no audiences; the error names the segment."""
    with pytest.raises(ConfigurationError, match="seg_lapsed"):
        warehouse.sync_segment(FakeCrm())


def test_missing_marts_are_named(warehouse: Warehouse) -> None:
    """Without dim_suppression nothing is pushed, and the message says what to do."""
    warehouse.execute("drop table marts.dim_suppression")

    with pytest.raises(ContractError, match=r"dim_suppression.*build the marts"):
        warehouse.sync_segment(FakeDestination())


def test_addresses_stay_out_of_logs_and_errors(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, no address reaches a log line or an error text."""
    caplog.set_level("DEBUG", logger="lettertrail")
    warehouse.fill_segment(*PEOPLE)

    with pytest.raises(TemporaryApiError) as caught:
        warehouse.sync_segment(FakeDestination(batch_faults=["lose"]))

    assert "planned=5" in caplog.text
    assert "@" not in caplog.text
    assert "@" not in str(caught.value)


def test_a_run_that_does_not_balance_fails(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planned record without a row in the ledger is an imbalance, whoever lost it."""
    lossy = push.statements.RECORD_PLAN + "where record_key <> 'ann@example.com'"
    monkeypatch.setattr(push.statements, "RECORD_PLAN", lossy)
    warehouse.fill_segment(*PEOPLE)

    with pytest.raises(LedgerImbalance, match="lapsed"):
        warehouse.sync_segment(FakeDestination())


def test_the_whole_ledger_balances(warehouse: Warehouse) -> None:
    """The check at the end of a DAG run agrees with pushes that were braked, refused and interrupted."""
    warehouse.fill_segment(*PEOPLE)
    mailchimp = FakeDestination(batch_faults=["down"])
    mailchimp.refusing = {"ann@example.com"}
    with pytest.raises(TemporaryApiError):
        warehouse.sync_segment(mailchimp)
    warehouse.sync_segment(mailchimp)
    warehouse.fill_segment()
    with pytest.raises(BrakeApplied):
        warehouse.sync_segment(mailchimp)

    assert check_balance(warehouse.dsn, run_id="run") == 3


def test_result_says_what_the_ledger_says(warehouse: Warehouse) -> None:
    """The returned counts are the ledger's row."""
    warehouse.fill_segment(*PEOPLE)

    result = warehouse.sync_segment(FakeDestination())

    assert result == SyncResult(result.sync_run_id, "mailchimp", "mailchimp", "lapsed", False, 5, 5, 0, 0, 0, 0, None)
