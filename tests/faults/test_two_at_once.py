"""Two loads of one table, late commits, and locks of the dead."""

from __future__ import annotations

import itertools

import psycopg
import pytest
from tests.faults.conftest import MakeScene
from tests.faults.loading import Action, Loading, run, strike

from lettertrail.sandbox.mariadb import connect


@pytest.mark.parametrize(("second", "stage"), [("load", "rows landed"), ("verify", "merged"), ("reload", "planned")])
def test_a_second_load_of_a_table_waits_for_the_first(copied: MakeScene, second: Action, stage: str) -> None:
    """It gets no further than the lock, then does its work, and both are accounted for."""
    scene = copied("recipients", "deals")
    scene.some_hours_pass()
    first, other = Loading(scene.job("load", "deals")), Loading(scene.job(second, "deals", run_id="other"))
    # Whoever is first holds the lock; let one of them reach the stage and look at the other.
    pairs = itertools.cycle([(first, other), (other, first)])
    ahead, behind = next(pair for pair in pairs if pair[0].until(f"deals: {stage}", seconds=0.2))
    assert not behind.until("merged", seconds=0.3)
    assert not behind.outcome.stages
    assert ahead.end().is_well
    assert behind.end().is_well
    scene.must_recover()


def test_workers_share_the_ranges_of_a_copy(fresh: MakeScene) -> None:
    """One is killed in a range, two others end the copy together; every range is read by one of them."""
    scene = fresh("recipients")
    killed = Loading(scene.job("copy"))
    killed.reach("recipients: committed")
    killed.reach("recipients: rows landed")
    workers = [Loading(scene.job("copy", run_id=name)) for name in ("second", "third")]
    killed.kill()
    while not all(worker.is_over for worker in workers):
        for worker in workers:
            worker.until(None, seconds=0.02)
    assert all(worker.outcome.is_well for worker in workers), [worker.outcome for worker in workers]
    assert scene.check().is_clean
    with psycopg.connect(scene.warehouse_dsn) as warehouse:
        ranges = warehouse.execute("select status, count(*), count(distinct load_id) from ops.copy_ranges group by 1")
        assert ranges.fetchall() == [("done", 6, 6)]
    scene.must_recover()


def test_two_loads_without_a_lock_disturb_each_other(copied: MakeScene) -> None:
    """Both see the same new rows and write them: one of them fails, or a row is there twice."""
    scene = copied("deals")
    scene.some_hours_pass()
    loads = [Loading(scene.job("load", run_id=name, broken=("no lock",))) for name in ("first", "second")]
    loads[0].reach("deals: before commit")
    loads[1].reach("deals: rows landing")
    assert not loads[1].until("deals: merged", seconds=0.3), "the second load writes the rows of the first again"
    outcomes = [loading.end() for loading in loads]
    assert not all(outcome.is_well for outcome in outcomes) or not scene.check().is_clean


def test_the_lock_of_a_killed_load_is_free(copied: MakeScene) -> None:
    """PostgreSQL lets go of it with the connection."""
    scene = copied("deals")
    scene.some_hours_pass()
    strike(scene.job("load"), "deals: merged", Loading.kill)
    scene.must_recover()


def test_a_lock_kept_in_a_table_outlives_its_holder(copied: MakeScene) -> None:
    """The next load finds it taken by nobody, and the copy grows old."""
    scene = copied("deals")
    scene.some_hours_pass()
    strike(scene.job("load", broken=("lock in a table",)), "deals: merged", Loading.kill)
    outcome = run(scene.job("load", broken=("lock in a table",)))
    assert outcome.error == "SourceError: table deals is locked"
    assert scene.check().counts.total > 100


@pytest.mark.parametrize("is_protected", [True, False])
def test_ids_that_commit_late_are_found(copied: MakeScene, *, is_protected: bool) -> None:
    """A transaction holds ids below the watermark and commits after the load; without a tail they are lost."""
    scene = copied("opens")
    broken = () if is_protected else ("no tail",)
    late, prompt = connect(scene.source_dsn), connect(scene.source_dsn)
    insert = "insert into opens (recipient_id, date_insert) values (1, now())"
    try:
        late.cursor().execute(insert)
        prompt.cursor().execute(insert)
        prompt.commit()
        assert run(scene.job("load", broken=broken)).is_well
        late.commit()
    finally:
        late.close()
        prompt.close()
    report = scene.recover(broken=broken)
    assert report.is_clean is is_protected
    assert report.counts.lost == (0 if is_protected else 1)
    assert scene.verify().is_clean
