"""SIGKILL for the processing, at any moment: the next run finds every delivery either done or untouched."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time

from tests.inbox.conftest import NOW, Inside
from tests.inbox.test_store import use

from lettertrail.clock import fixed_clock
from lettertrail.inbox.process import process_deliveries
from lettertrail.inbox.store import Incoming, PostgresStore
from lettertrail.settings import PROJECT_ROOT
from lettertrail.warehouse.ledger import check_balance

DELIVERIES = 1_200
PROGRAM = """
import os, sys
from lettertrail import esps
from lettertrail.clock import system_clock
from lettertrail.inbox import process
esps.load("sendpulse")
process._GROUP = 5
print("ready", flush=True)
sys.stdin.readline()
process.process_deliveries(os.environ["DSN"], run_id=os.environ["RUN"], clock=system_clock)
"""


def killed(dsn: str, run_id: str, after: float) -> bool:
    """Runs the processing and kills it so many seconds after it began; whether it was still at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "include"), "DSN": dsn, "RUN": run_id},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(after)
        was_at_work = process.poll() is None
        process.kill()
        process.wait()
    return was_at_work


def test_kills_leave_nothing_undone_and_nothing_twice(inside: Inside) -> None:
    """Groups of five, so that a kill falls between two or into one. Seed 8."""
    rng = random.Random(8)
    letters = [[rng.randrange(400) for _ in range(rng.randrange(1, 4))] for _ in range(DELIVERIES)]

    async def put(store: PostgresStore) -> None:
        deliveries = []
        for number, events in enumerate(letters):
            rows = [
                {"event": "unsubscribe", "timestamp": 1_790_000_000, "task_id": 1, "email": f"p{event}@example.com"}
                for event in events
            ]
            body = json.dumps([*rows, {"event": "task_status_update", "task_id": number}]).encode()
            deliveries.append(Incoming("sendpulse", "marketing", body, "path", {}, body, NOW))
        await asyncio.gather(*map(store.put, deliveries))

    use(inside.dsn, put)
    hits = sum(killed(inside.dsn, f"killed {n}", rng.uniform(0.05, 0.25)) for n in range(3))
    ((left,),) = inside.rows("select count(*) from raw_inbox.deliveries where outcome is null")
    assert hits, "no kill hit the processing at work"
    assert left, "the kills came too late to leave anything"
    process_deliveries(inside.dsn, run_id="last", clock=fixed_clock(NOW))

    assert inside.rows("select distinct outcome is null from raw_inbox.deliveries") == [(False,)]
    expected = {f"p{event}@example.com" for events in letters for event in events}
    held = inside.rows("select email from raw_esp.events where event_type = 'unsubscribed'")
    assert sorted(email for (email,) in held) == sorted(expected)
    for (run_id,) in inside.rows("select distinct run_id from ops.loads"):
        check_balance(inside.dsn, run_id=run_id)
    told = "select sum(received), sum(applied), sum(duplicate), sum(superseded), sum(parked) from ops.inbox_loads"
    seen = "select count(*), {} from raw_inbox.deliveries".format(
        ", ".join(
            f"count(*) filter (where outcome = '{word}')" for word in ("applied", "duplicate", "superseded", "parked")
        )
    )
    assert inside.rows(told) == inside.rows(seen)
    assert inside.rows("select sum(inserted) from ops.loads") == inside.rows("select count(*) from raw_esp.events")
