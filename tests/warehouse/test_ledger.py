"""Sums that must add up."""

from __future__ import annotations

import pytest
from tests.warehouse.conftest import Warehouse

from lettertrail.errors import LedgerImbalance
from lettertrail.warehouse.ledger import check_balance

SYNC_RUN = (
    "insert into ops.sync_runs (sync_run_id, run_id, destination, account, audience, dry_run, planned, applied, held,"
    " started_at, finished_at) values (1, 'run', 'mailchimp', 'mailchimp', 'inactive', false, 2, 1, 1, now(), now())"
)
RECORD = "insert into ops.sync_records values (1, '{key}', 'add', '{outcome}', null, now())"


def test_a_balanced_run_is_counted(warehouse: Warehouse) -> None:
    """Two records, two outcomes: fine. Other runs are not looked at."""
    warehouse.run(SYNC_RUN)
    warehouse.run(RECORD.format(key="a", outcome="applied"))
    warehouse.run(RECORD.format(key="b", outcome="held"))
    assert check_balance(warehouse.dsn, run_id="run") == 1
    assert check_balance(warehouse.dsn, run_id="another run") == 0


@pytest.mark.parametrize("outcomes", [["applied"], ["applied", "applied"], ["applied", "held", "rejected"]])
def test_records_that_do_not_match_their_run_are_named(warehouse: Warehouse, outcomes: list[str]) -> None:
    """A record too few, one with another outcome, or one too many."""
    warehouse.run(SYNC_RUN)
    for number, outcome in enumerate(outcomes):
        warehouse.run(RECORD.format(key=f"secret{number}@example.com", outcome=outcome))
    with pytest.raises(LedgerImbalance, match="sync run 1 to mailchimp/mailchimp of inactive") as caught:
        check_balance(warehouse.dsn, run_id="run")
    assert "@" not in str(caught.value)


def test_an_unfinished_sync_is_named(warehouse: Warehouse) -> None:
    """A push that died in the middle must not look fine."""
    warehouse.run(SYNC_RUN)
    warehouse.run("update ops.sync_runs set finished_at = null")
    with pytest.raises(LedgerImbalance, match="not finished"):
        check_balance(warehouse.dsn, run_id="run")


def test_a_quarantine_without_its_records_is_named(warehouse: Warehouse) -> None:
    """A count of refused rows without the rows proves nothing."""
    warehouse.run(
        "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,"
        " started_at, finished_at) values ('run', 'raw_bitrix.b', 'full', 3, 1, 1, 0, 1, 0, now(), now())"
    )
    with pytest.raises(LedgerImbalance, match="1 quarantined, 0 records kept"):
        check_balance(warehouse.dsn, run_id="run")


def test_a_load_that_does_not_add_up_is_named(warehouse: Warehouse) -> None:
    """Also when somebody took the constraint away."""
    warehouse.run("alter table ops.loads drop constraint loads_balance")
    warehouse.run(
        "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,"
        " started_at, finished_at) values ('run', 'raw_bitrix.b', 'full', 3, 1, 1, 0, 0, 0, now(), now())"
    )
    with pytest.raises(LedgerImbalance, match=r"load 1 of raw_bitrix\.b: read 3, accounted for 2"):
        check_balance(warehouse.dsn, run_id="run")
