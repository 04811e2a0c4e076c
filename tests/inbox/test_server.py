"""The receiver as it really runs, under uvicorn: garbage on the wire, forgeries, and kills while a sender writes.

Short runs of what `python -m bench.inbox` does at length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.inbox import letters
from bench.inbox.runs import Place, forged, serving, soak, speed, thrown
from tests.faults.servers import free_port

from lettertrail.inbox.__main__ import main
from lettertrail.warehouse.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def own_postgres(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A durable server that may be killed."""
    server = EmbeddedPostgres(server_dir / "inbox-postgres", port=free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running(own_postgres: EmbeddedPostgres, server_dir: Path) -> Iterator[Place]:
    """One receiver for the tests that leave it alive."""
    with serving(own_postgres, 1, server_dir / "inbox.log") as place:
        yield place


def test_every_answer_is_kept(running: Place) -> None:
    """Over the wire, from many connections at once."""
    found = speed(running, 500, connections=16, first=1_000_000)
    assert (found.refused, found.missing) == (0, 0)


def test_garbage_on_the_wire(running: Place) -> None:
    """What no client of ours would send: never 410 or 5xx, and afterwards it still works. Seed 4."""
    found = thrown(running, 300, seed=4)
    assert (found.sent, found.worst, found.is_alive) == (300, {}, True)
    assert set(found.by_status) >= {0, 200, 400, 401, 404, 405, 413}
    assert found.outcomes["parked"] > 10
    assert "None" not in found.outcomes


def test_forgeries_on_the_wire(running: Place) -> None:
    """None accepted, none stored; genuine ones shown again add nothing. Seed 5."""
    found = forged(running, 300, seed=5)
    assert (found.accepted, found.added) == (0, 0)
    assert found.replays > 0


def test_the_log_holds_no_secret(running: Place, server_dir: Path) -> None:
    """Neither addresses nor bodies, whatever went wrong before."""
    said = (server_dir / "inbox.log").read_text(errors="replace")
    assert "refused with 401" in said
    for secret in (letters.TOKEN, "mc-secret", "md-key", "application-token", "person1"):
        assert secret not in said


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_acknowledged_survives_kills(own_postgres: EmbeddedPostgres, server_dir: Path, workers: int) -> None:
    """SIGKILL for workers and for PostgreSQL while a sender writes: nothing lost, nothing twice. Seed 6."""
    with serving(own_postgres, workers, server_dir / "soak.log", f"soak_{workers}") as place:
        found = soak(place, 1_500, worker_kills=2, postgres_kills=1, seed=6)
    assert (found.acknowledged, found.lost, found.doubled) == (1_500, 0, 0)
    assert found.attempts > 1_500, "the kills hit nobody"


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Before anything listens."""
    monkeypatch.delenv("LETTERTRAIL_INBOX_DSN", raising=False)
    monkeypatch.delenv("LETTERTRAIL_LOADER_DSN", raising=False)
    assert main([]) == 1
    assert main(["--reprocess-parked"]) == 1
    assert [record.message.partition(" ")[0] for record in caplog.records] == [
        "LETTERTRAIL_INBOX_DSN", "LETTERTRAIL_LOADER_DSN"
    ]  # fmt: skip
