"""Letters through kills, lost answers and failing services: none lost, none twice. See `python -m bench.relay`."""

from __future__ import annotations

from pathlib import Path

from bench.relay.place import place
from bench.relay.storm import storm

from lettertrail.warehouse.embedded import EmbeddedPostgres


def test_nothing_is_lost_and_nothing_is_sent_twice(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Seed 6. Who complained gets nothing; every letter is settled and booked as it was."""
    with place(postgres, tmp_path, database="relay_storm") as at:
        calm = storm(at, 60, kills=0, faults=0, seed=6, rate=30, first=1_000, patience=60)
        found = storm(at, 200, kills=3, faults=25, seed=6, rate=60, patience=60)
        assert [worker.stop() for worker in at.workers] == [0, 0]
    for each, count in ((calm, 60), (found, 200)):
        assert (each.acknowledged, each.lost, each.twice, each.wrongly, each.untrue) == (count, 0, 0, 0, 0)
    assert set(calm.by_state) == {"sent", "suppressed"}
    # What nobody can say is held, and nothing else is.
    assert set(found.by_state) - {"unknown"} == {"sent", "suppressed"}
    assert found.by_state.get("unknown", 0) == found.untold < found.unanswered
    assert found.unanswered > 3
    assert calm.p95 <= 5
    assert "@" not in at.log.read_text(encoding="utf-8", errors="replace")


def test_without_the_protection_letters_go_out_twice(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """The same storm: so it is not the storm that is mild."""
    with place(postgres, tmp_path, "--unprotected", database="relay_unprotected") as at:
        found = storm(at, 100, kills=2, faults=25, seed=6, rate=60, patience=60)
    assert found.lost == 0
    assert found.twice > 1
