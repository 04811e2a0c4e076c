"""A load is killed at every stage; the next run leaves nothing lost, doubled, different or undeleted."""

from __future__ import annotations

from itertools import cycle

import pytest
from tests.faults.conftest import MakeScene
from tests.faults.loading import Action, Loading, run, strike

from lettertrail.warehouse.load import STAGES

ONCE_A_RUN = {"planned", "copied", "compared"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_first_copy_killed_at_a_stage_goes_on(fresh: MakeScene, stage: str) -> None:
    """Killed in the third of six ranges, with changes before and after."""
    scene = fresh("recipients", "opens")
    loading = Loading(scene.job("load"))
    for _ in range(0 if stage in ONCE_A_RUN else 2):
        loading.reach(f"recipients: {stage}")
    loading.reach(f"recipients: {stage}")
    scene.change(1)
    loading.kill()
    scene.some_hours_pass()
    scene.recover()  # the copy goes on from marks taken when it began; the next run reads what changed since
    scene.must_recover()


def test_a_range_that_is_done_before_its_rows_are_there_stays_empty(fresh: MakeScene) -> None:
    """The same kill, with the range marked in a transaction of its own."""
    scene = fresh("opens", "recipients")
    assert run(scene.job("load", "opens")).is_well
    loading = Loading(scene.job("load", "recipients", broken=("range first",)))
    loading.reach("recipients: rows landed")
    loading.kill()
    scene.must_show_the_loss(broken=("range first",))


@pytest.mark.parametrize("is_protected", [True, False])
def test_what_changes_while_a_copy_runs_is_read_again(fresh: MakeScene, *, is_protected: bool) -> None:
    """In a range that was copied already; watermarks taken at the end would pass over it."""
    scene = fresh("deals")
    job = scene.job("load", broken=() if is_protected else ("marks last",))
    assert strike(job, "deals: committed", lambda _: scene.some_hours_pass(keys_stay=True)).is_well
    assert scene.recover().is_clean is is_protected


@pytest.mark.parametrize(
    ("stage", "table"),
    [
        *zip((stage for stage in STAGES if stage != "copied"), cycle(["recipients", "deals"])),
        # These two in both ways: many rows land otherwise than few.
        ("rows landing", "deals"),
        ("before commit", "recipients"),
    ],
)
def test_an_increment_killed_at_a_stage_is_made_up_for(copied: MakeScene, stage: str, table: str) -> None:
    """Changes before the kill, during it and after it all arrive."""
    scene = copied("recipients", "opens", "deals")
    scene.some_hours_pass()
    strike(scene.job("load"), f"{table}: {stage}", lambda loading: (scene.change(4), loading.kill()))
    scene.change(5)
    scene.must_recover()


@pytest.mark.parametrize("stage", ["source opened", "before commit"])
def test_a_cursor_that_moves_before_its_rows_loses_them(copied: MakeScene, stage: str) -> None:
    """The same kills, with the cursor in a transaction of its own: the checker must see it."""
    scene = copied("deals")
    scene.some_hours_pass(keys_stay=True)
    job = scene.job("load", broken=("cursor first",))
    strike(job, f"deals: {stage}", Loading.kill)
    scene.must_show_the_loss()


def test_rows_that_come_before_their_ledger_row_are_accounted_for_by_nobody(copied: MakeScene) -> None:
    """Killed between the two."""
    scene = copied("recipients")
    scene.some_hours_pass()
    strike(scene.job("load", broken=("rows first",)), "recipients: merged", Loading.kill)
    scene.must_show_the_loss()


@pytest.mark.parametrize(
    ("action", "stage"),
    [
        *(("verify", stage) for stage in STAGES if stage != "copied"),
        *(("reload", stage) for stage in ("planned", "rows landing", "merged", "committed")),
    ],
)
def test_a_repair_killed_at_a_stage_is_made_up_for(copied: MakeScene, action: Action, stage: str) -> None:
    """Nothing of a load that was not committed is there, and what it would have repaired the next one does."""
    scene = copied("recipients")
    scene.silent_edits()
    before = scene.check().counts.different
    assert before > 50
    strike(scene.job(action), f"recipients: {stage}", Loading.kill)
    report = scene.check()
    assert not report.books
    assert stage in {"committed", "compared"} or report.counts.different == before
    assert scene.verify().is_clean
    scene.must_be_proven()


def test_a_repair_that_is_committed_before_its_ledger_row_is_seen(copied: MakeScene) -> None:
    """The books do not know the load that the repaired rows name."""
    scene = copied("recipients")
    scene.silent_edits()
    strike(scene.job("verify", broken=("rows first",)), "recipients: merged", Loading.kill)
    assert scene.check().books
