"""mart_segment_lift against worlds in which everybody's two fates are known."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RepeatedDbt

from lettertrail.sandbox.world_trial import TrialWorld, try_out
from lettertrail.warehouse.embedded import EmbeddedPostgres

WORLDS = range(1, 101)
PEOPLE, DAYS, LETTERS, HELD_OUT_PCT = 2_000, 60, 8, 20
DRAWN_AT = datetime(2026, 8, 1, tzinfo=UTC)
Row = dict[str, Any]


def segment_of(seed: int) -> str:
    """One segment per world; its people are nobody else's."""
    return f"seg_world_{seed:03d}"


def is_held_out(segment: str, person: str) -> bool:
    """The product's draw, calculated here by itself: the first 8 hex digits of an MD5, in 10 000 steps."""
    digest = hashlib.md5(f"{segment}:{person}".encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % 10_000 < HELD_OUT_PCT * 100


def purchases(world: TrialWorld, segment: str) -> Iterator[tuple[str, bool, list[tuple[datetime, float]]]]:
    """Per person of a world: id, side, and what was spent when, as the side has it."""
    for number, (before, without, sent) in enumerate(
        zip(world.before, world.without_letters, world.with_letters, strict=True), start=1
    ):
        person = f"{segment}-{number}"
        held_out = is_held_out(segment, person)
        spent = [(DRAWN_AT - timedelta(days=DAYS / 2), before), (DRAWN_AT + timedelta(days=1), without)]
        if not held_out:
            # the letters' own part comes late, still within the days that count
            spent.append((DRAWN_AT + timedelta(days=DAYS, seconds=-1), sent - without))
        # outside the days that count, however much it is
        spent += [(DRAWN_AT + timedelta(days=DAYS), 1e6), (DRAWN_AT - timedelta(days=DAYS, seconds=1), 1e6)]
        yield person, held_out, [(at, amount) for at, amount in spent if amount]


def write(dsn: str, worlds: dict[int, TrialWorld]) -> None:
    """Draws and purchases of all worlds, in place of the sample world's."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create table marts.written as select * from marts.fct_conversions where false;"
            "drop view marts.fct_conversions cascade; alter table marts.written rename to fct_conversions"
        )
        connection.execute(
            "insert into ops.sync_runs (run_id, destination, account, audience, dry_run, started_at)"
            " values ('tests', 'mailchimp', 'mailchimp', 'worlds', false, %s)",
            [DRAWN_AT],
        )
        cursor = connection.cursor()
        people = [
            (segment_of(seed), *one) for seed, world in worlds.items() for one in purchases(world, segment_of(seed))
        ]
        draws = "copy ops.holdouts (segment, holdout_pct, person_id, is_held_out, assigned_at, sync_run_id) from stdin"
        (run,) = connection.execute("select max(sync_run_id) from ops.sync_runs").fetchone() or (0,)
        with cursor.copy(draws) as copy:
            for segment, person, held_out, _ in people:
                copy.write_row((segment, HELD_OUT_PCT, person, held_out, DRAWN_AT, run))
        sales = (
            "copy marts.fct_conversions (conversion_id, conversion_type, source_id, person_id, converted_at, amount,"
            " refunded_amount, is_revenue) from stdin"
        )
        rows = [(person, at, amount) for _, person, _, spent in people for at, amount in spent]
        with cursor.copy(sales) as copy:
            for number, (person, at, amount) in enumerate(rows):
                copy.write_row((f"order_paid:{number}", "order_paid", number, person, at, round(amount, 2), 0, True))


@pytest.fixture(scope="module")
def worlds() -> dict[int, TrialWorld]:
    """A hundred seeded worlds."""
    return {seed: try_out(seed, people=PEOPLE, days=DAYS, letters=LETTERS) for seed in WORLDS}


@pytest.fixture(scope="module")
def lifts(
    built: Built, postgres: EmbeddedPostgres, worlds: dict[int, TrialWorld], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Row]:
    """The mart over all of them, by segment and outcome."""
    with copy_of_the_built(postgres) as dsn:
        write(dsn, worlds)
        names = ["stg_ops__holdouts", "fct_segment_trials", "mart_segment_lift"]
        dbt = RepeatedDbt(dsn, tmp_path_factory.mktemp("lift"))
        dbt.do("build", "--select", *names, "--indirect-selection", "empty")
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            rows = connection.execute("select * from marts.mart_segment_lift").fetchall()
    return {(row["segment"], row["outcome"]): row for row in rows}


def test_the_truth_lies_in_the_interval(
    worlds: dict[int, TrialWorld], lifts: dict[tuple[str, str], Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a hundred 95 % intervals at least ninety hold the true effect, plain and after CUPED."""
    held = {"lift": 0, "cuped_lift": 0}
    for seed, world in worlds.items():
        row = lifts[segment_of(seed), "revenue"]
        for name in held:
            held[name] += float(row[f"{name}_low"]) <= world.true_lift <= float(row[f"{name}_high"])
    with capsys.disabled():
        sys.stdout.write(
            f"\ntrue effect within the 95 % interval: {held['lift']} of {len(worlds)}, CUPED {held['cuped_lift']}\n"
        )
    assert min(held.values()) >= 90
    # Intervals that hold everything prove nothing: most of them do not hold 0.
    assert sum(float(lifts[segment_of(seed), "revenue"]["lift_low"]) > 0 for seed in WORLDS) >= 80


def test_each_mean_is_the_mean_of_its_side(worlds: dict[int, TrialWorld], lifts: dict[tuple[str, str], Row]) -> None:
    """Calculated again from the fates: purchases outside the days count on neither side."""
    for seed, world in worlds.items():
        segment = segment_of(seed)
        held = [is_held_out(segment, f"{segment}-{number + 1}") for number in range(PEOPLE)]
        of_sent = [spent for spent, out in zip(world.with_letters, held, strict=True) if not out]
        of_held = [spent for spent, out in zip(world.without_letters, held, strict=True) if out]
        row = lifts[segment, "revenue"]
        assert (row["sent_count"], row["held_out_count"]) == (len(of_sent), len(of_held))
        assert float(row["sent_mean"]) == pytest.approx(sum(of_sent) / len(of_sent), abs=1e-3)
        assert float(row["held_out_mean"]) == pytest.approx(sum(of_held) / len(of_held), abs=1e-3)
        bought = lifts[segment, "bought"]
        assert float(bought["held_out_mean"]) == pytest.approx(sum(map(bool, of_held)) / len(of_held), abs=1e-6)
