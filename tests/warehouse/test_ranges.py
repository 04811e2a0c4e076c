"""A copy in ranges: several workers, killed anywhere, nothing twice and nothing missing."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.port import KeyRange
from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError
from lettertrail.warehouse import deliver
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.ranges import copy_range, cut, finish_copy, plan_copies, plan_copy

RUN: dict[str, Any] = {"run_id": "run", "clock": fixed_clock(NOW)}


@pytest.fixture
def letters(site: Site) -> Site:
    """A thousand letters, and addresses enough to be large."""
    site.run(
        "create table letters (id int primary key, title varchar(20))",
        "insert into letters select seq, concat('letter ', seq) from seq_1_to_1000",
    )
    return site


def held(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """How many rows, and whether any is there twice."""
    return warehouse.rows("select count(*), count(distinct id) from raw_bitrix.letters")


def test_workers_copy_the_planned_ranges_side_by_side(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Each range once, whoever comes first; then the watermarks from before the first one."""
    append = entry("letters", "append", tail=0)
    tasks = plan_copy(letters.source, append, warehouse.dsn, range_rows=100, **RUN)
    assert [task.number for task in tasks] == list(range(1, 11))
    assert (tasks[0].low, tasks[-1].high) == (None, None)
    letters.run("insert into letters values (5000, 'while it ran')")
    done: list[Any] = []

    def work() -> None:
        for task in tasks:
            done.append(copy_range(letters.source, append, warehouse.dsn, task.key_range, **RUN))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(done) == 30
    assert sum(result.inserted for result in done) == 1001
    assert held(warehouse) == [(1001, 1001)]
    finish_copy(letters.source, append, warehouse.dsn, **RUN)
    assert warehouse.rows("select state -> 'marks' ->> 'id' from ops.cursors") == [("1000",)]
    assert check_balance(warehouse.dsn, run_id="run") == 10
    assert warehouse.load(letters, append, run_id="later").read == 1


def test_a_worker_waits_for_the_one_that_has_its_range(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Both are told to copy it; the second finds it done and reads nothing."""
    append = entry("letters", "append", tail=0)
    (task,) = plan_copy(letters.source, append, warehouse.dsn, **RUN)
    has_rows, may_go_on = threading.Event(), threading.Event()
    results: list[Any] = []

    def hold(stage: str) -> None:
        if stage == "merged":
            has_rows.set()
            may_go_on.wait(30)

    def copy(on_stage: Any) -> None:
        results.append(copy_range(letters.source, append, warehouse.dsn, task.key_range, on_stage=on_stage, **RUN))

    first = threading.Thread(target=copy, args=[hold])
    first.start()
    assert has_rows.wait(30)
    second = threading.Thread(target=copy, args=[lambda _: None])
    second.start()
    second.join(1)
    assert second.is_alive()
    may_go_on.set()
    first.join()
    second.join()
    assert sorted(result.inserted for result in results) == [0, 1000]
    assert held(warehouse) == [(1000, 1000)]


@pytest.mark.parametrize(
    "stage", ["source opened", "rows landing", "rows landed", "merged", "before commit", "committed"]
)
@pytest.mark.parametrize("goes_direct", [True, False])
def test_a_range_that_was_cut_off_is_copied_again(
    letters: Site,
    warehouse: Warehouse,
    entry: EntryMaker,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    goes_direct: bool,
) -> None:
    """Nothing of it is there, or all of it; the others stay done."""
    if not goes_direct:
        monkeypatch.setattr(deliver, "_is_direct", lambda *_: False)
    append = entry("letters", "append", tail=0)
    tasks = plan_copy(letters.source, append, warehouse.dsn, range_rows=500, **RUN)
    copy_range(letters.source, append, warehouse.dsn, tasks[0].key_range, **RUN)

    def die(reached: str) -> None:
        if reached == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_range(letters.source, append, warehouse.dsn, tasks[1].key_range, on_stage=die, **RUN)
    is_done = stage == "committed"
    assert held(warehouse) == [(1000, 1000) if is_done else (500, 500)]
    left = plan_copy(letters.source, append, warehouse.dsn, **RUN)
    assert [task.number for task in left] == ([] if is_done else [2])
    result = warehouse.load(letters, append)
    assert f"first copy goes on: {2 if is_done else 1} of 2 ranges are done" in result.notices
    assert result.inserted == (0 if is_done else 500)
    assert held(warehouse) == [(1000, 1000)]
    assert plan_copy(letters.source, append, warehouse.dsn, **RUN) == []


def test_a_copy_is_not_finished_before_its_last_range(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """The watermarks would hide what is missing."""
    append = entry("letters", "append")
    tasks = plan_copy(letters.source, append, warehouse.dsn, range_rows=500, **RUN)
    copy_range(letters.source, append, warehouse.dsn, tasks[0].key_range, **RUN)
    with pytest.raises(ContractError, match="1 ranges of its copy are not done"):
        finish_copy(letters.source, append, warehouse.dsn, **RUN)
    assert warehouse.rows("select count(*) from ops.cursors") == [(0,)]
    with pytest.raises(ContractError, match="no range of its copy"):
        copy_range(letters.source, append, warehouse.dsn, KeyRange(3, 7), **RUN)


def test_columns_that_change_meanwhile_make_a_new_plan(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A range of the old plan stores nothing; the next load starts over and leaves no row without the new column."""
    append = entry("letters", "append")
    tasks = plan_copy(letters.source, append, warehouse.dsn, range_rows=500, **RUN)
    copy_range(letters.source, append, warehouse.dsn, tasks[0].key_range, **RUN)
    letters.run("alter table letters add colour varchar(9) default 'red'")
    late = copy_range(letters.source, append, warehouse.dsn, tasks[1].key_range, **RUN)
    assert late.read == 0
    assert late.notices[-1] == "the columns changed since this was planned; the next load plans anew"
    again = plan_copy(letters.source, append, warehouse.dsn, range_rows=400, **RUN)
    assert [task.number for task in again] == [1, 2, 3]
    letters.run("alter table letters add size int")
    warehouse.load(letters, append, chunk_rows=500)
    assert warehouse.rows("select distinct colour from raw_bitrix.letters") == [("red",)]
    outcomes = warehouse.rows("select outcome from ops.copies order by copy_id")
    assert outcomes == [("abandoned",), ("abandoned",), ("finished",)]


def test_only_large_tables_are_planned_ahead(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones, missing ones and those that were copied are left to their load."""
    letters.run(
        "create table large (id int primary key)", "insert into large select seq from seq_1_to_5000",
        "create table done (id int primary key)", "insert into done select seq from seq_1_to_5000",
    )  # fmt: skip
    entries = [entry(name, "append") for name in ("letters", "large", "done", "b_sender_posting")]
    warehouse.load(letters, entries[2])
    for _ in range(2):  # the second time the plan is taken up
        tasks = plan_copies(letters.source, entries, warehouse.dsn, range_rows=1_500, **RUN)
        assert [(task.table, task.number, task.of) for task in tasks] == [("large", n, 4) for n in (1, 2, 3, 4)]
    assert warehouse.rows("select target from ops.copies where outcome is null") == [("raw_bitrix.large",)]


@pytest.mark.parametrize(
    ("fill", "key", "range_by"),
    [
        # A few old ids far away from a crowd of new ones.
        ("select seq, 1 from seq_1_to_50 union select seq + 1000000, 1 from seq_1_to_1000", ("id",), "id"),
        # Many rows to few owners.
        ("select seq, seq div 20 from seq_1_to_1050", ("id", "owner"), "owner"),
    ],
)
def test_crowded_keys_are_cut_where_the_rows_are(
    site: Site, entry: EntryMaker, fill: str, key: tuple[str, ...], range_by: str
) -> None:
    """Cut evenly, one range would hold nearly all rows."""
    site.run("create table t (id int, owner int, primary key (id, owner), index (owner))", f"insert into t {fill}")
    table = entry("t", key=key, range_by=range_by)
    columns = site.source.columns(table)
    parts = cut(site.source, table, columns, range_rows=100)
    sizes = []
    for part, _ in parts:
        sizes.append(sum(batch.num_rows for batch in site.source.read_ranges(table, columns, [part])))
    assert sum(sizes) == 1050
    assert max(sizes) <= 250
    assert len(parts) >= 8


def test_the_marks_are_those_from_before_the_first_range(
    letters: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """What changes in a range that is done already is read by the next load."""
    letters.run("alter table letters add changed datetime default '2026-10-01 10:00:00'")
    modified = entry("letters", "modified", cursor="changed", overlap_minutes=0)
    tasks = plan_copy(letters.source, modified, warehouse.dsn, range_rows=500, **RUN)
    copy_range(letters.source, modified, warehouse.dsn, tasks[0].key_range, **RUN)
    letters.run("update letters set title = 'edited', changed = '2026-10-20 10:00:00' where id in (5, 900)")
    copy_range(letters.source, modified, warehouse.dsn, tasks[1].key_range, **RUN)
    finish_copy(letters.source, modified, warehouse.dsn, **RUN)
    warehouse.load(letters, modified, clock=fixed_clock(NOW + timedelta(hours=1)))
    assert warehouse.rows("select id from raw_bitrix.letters where title = 'edited' order by id") == [(5,), (900,)]
