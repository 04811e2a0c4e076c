"""Sums that must add up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.clock import fixed_clock
from lettertrail.errors import LedgerImbalance
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.ranges import plan_copy
from lettertrail.warehouse.verify import verify_table

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


COPY = (
    "insert into ops.loads (load_id, run_id, target, strategy, cursor_from, cursor_to, read, inserted, updated,"
    " unchanged, quarantined, deleted, started_at, finished_at)"
    " select n, 'run', 'raw_bitrix.b', 'first_copy', case n when 2 then '10' end, case n when 1 then '10' end,"
    " 5, 5, 0, 0, 0, 0, now(), now() from generate_series(1, 2) as n;"
    "insert into ops.copies (copy_id, target, kind, run_id, columns, was_empty, planned_at, outcome, finished_at)"
    " values (1, 'raw_bitrix.b', 'first_copy', 'run', 'x', true, now(), 'finished', now());"
    "insert into ops.copy_ranges (copy_id, number, target, low, high, expected_rows, status, load_id)"
    " select 1, n, 'raw_bitrix.b', case n when 2 then 10 end, case n when 1 then 10 end, 5, 'done', n"
    " from generate_series(1, 2) as n"
)


def test_a_copy_in_ranges_balances(warehouse: Warehouse) -> None:
    """Every range was done by a load of just that range."""
    warehouse.run(COPY)
    assert check_balance(warehouse.dsn, run_id="run") == 2


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("update ops.copy_ranges set low = 11 where number = 2", "range 2 is of load 2, .* another range"),
        ("update ops.loads set strategy = 'verify' where load_id = 1", "range 1 is of load 1"),
        ("update ops.loads set target = 'raw_bitrix.c' where load_id = 1", "load 1, which is of raw_bitrix.c"),
        ("update ops.copy_ranges set status = 'planned', load_id = null where number = 1", "with 1 of 2 ranges done"),
    ],
)  # fmt: skip
def test_a_range_that_no_load_did_is_named(warehouse: Warehouse, damage: str, told: str) -> None:
    """A finished copy with a hole in it is the worst kind of stale."""
    warehouse.run(COPY)
    warehouse.run(damage)
    with pytest.raises(LedgerImbalance, match=told):
        check_balance(warehouse.dsn, run_id="run")


def test_a_value_that_was_not_parsed_is_not_counted(warehouse: Warehouse) -> None:
    """Its row is stored; only whole rows are quarantined."""
    warehouse.run(
        "insert into ops.loads (load_id, run_id, target, strategy, read, inserted, updated, unchanged, quarantined,"
        " deleted, started_at, finished_at) values (1, 'run', 'raw_bitrix.b', 'full', 3, 3, 0, 0, 0, 0, now(), now())"
    )
    warehouse.run(
        "insert into ops.quarantine (load_id, target, reason, record, column_name, raw, quarantined_at)"
        " values (1, 'raw_bitrix.b', 'no PHP', '{\"id\": 1}', 'fields', '{\"fields\": \"00\"}', now())"
    )
    assert check_balance(warehouse.dsn, run_id="run") == 1


def test_the_status_adds_up_what_happened_to_a_table(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Rows counted by a comparison and moved since, the last load, the last proof, and what was said."""
    site.run("create table t (id int primary key, a int)", "insert into t select seq, 0 from seq_1_to_100")
    table = entry("t", "append", tail=0)
    plan_copy(site.source, table, warehouse.dsn, run_id="r", clock=fixed_clock(NOW), range_rows=50)
    status = "select rows, ranges_done, ranges, proven_at, loaded_at from ops.table_status"
    assert warehouse.rows(status) == [(0, 0, 2, None, None)]
    warehouse.load(site, table, run_id="first")
    assert warehouse.rows(status) == [(100, None, None, None, NOW)]
    site.run("insert into t values (101, 1)", "delete from t where id in (5, 6)")
    later = NOW + timedelta(hours=1)
    warehouse.load(site, table, run_id="second", clock=fixed_clock(later))
    assert warehouse.rows(status) == [(99, None, None, None, later)]
    proven = NOW + timedelta(hours=2)
    verify_table(site.source, table, warehouse.dsn, run_id="v", clock=fixed_clock(proven))
    site.run("alter table t add b int")
    last = NOW + timedelta(hours=3)
    warehouse.load(site, table, run_id="third", clock=fixed_clock(last))
    assert warehouse.rows(status) == [(99, None, None, proven, last)]
    ((notices, run_id, counted_at),) = warehouse.rows("select notices, last_run_id, counted_at from ops.table_status")
    assert run_id == "third"
    assert counted_at == last
    assert "column b integer is new in the source; added" in notices[0]["notices"]
    assert notices[-1]["notices"][0] == "table created with 2 columns"
