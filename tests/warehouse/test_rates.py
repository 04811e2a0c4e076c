"""Rate limits counted by several processes together."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing

import pytest
from tests.warehouse.conftest import Warehouse

from lettertrail import throttle
from lettertrail.throttle import shared_throttle
from lettertrail.warehouse.rates import WarehouseBucket

TWO_PROCESSES = """
import sys
from lettertrail.warehouse.rates import WarehouseBucket
bucket = WarehouseBucket(sys.argv[1], "unisender", 10.0, 5)
print([bucket.reserve() for _ in range(20)])
"""


def test_the_burst_is_free_and_the_rest_waits_its_turn(warehouse: Warehouse) -> None:
    """Each call behind the burst is due one share of the rate after the one before."""
    with closing(WarehouseBucket(warehouse.dsn, "esputnik", 2.0, 3)) as bucket:
        waits = [bucket.reserve() for _ in range(6)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3:] == [pytest.approx(wait, abs=0.3) for wait in (0.5, 1.0, 1.5)]


def test_unused_calls_are_kept_up_to_the_burst(warehouse: Warehouse) -> None:
    """An hour without a call does not allow a thousand at once."""
    with closing(WarehouseBucket(warehouse.dsn, "esputnik", 1.0, 2)) as bucket:
        bucket.reserve()
        warehouse.run("update ops.rates set due_at = due_at - 3600")
        assert [bucket.reserve() for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0, abs=0.3)]


def test_processes_count_together(warehouse: Warehouse) -> None:
    """Two processes with 20 calls each wait as long as one with 40; counting alone they would be twice too fast."""
    command = [sys.executable, "-c", TWO_PROCESSES, warehouse.dsn]
    began = time.time()
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    longest = max(float(wait) for line in said for wait in line.strip("[]\n").split(","))
    assert longest >= (40 - 5) / 10 - (time.time() - began) - 0.1
    assert longest > (20 - 5) / 10


def test_limits_of_different_names_do_not_meet(warehouse: Warehouse) -> None:
    """Another account has calls of its own."""
    a, b = (WarehouseBucket(warehouse.dsn, name, 1.0, 1) for name in "ab")
    with closing(a), closing(b):
        assert (a.reserve(), b.reserve()) == (0.0, 0.0)
        assert a.reserve() > 0.5


def test_without_the_warehouse_a_process_counts_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The calls go on at their rate, the warehouse's address is not told."""
    bucket = WarehouseBucket("postgresql://somebody:secret@127.0.0.1:1/none", "unisender", 1.0, 1)
    assert bucket.reserve() == 0.0
    assert bucket.reserve() == pytest.approx(1.0, abs=0.5)
    assert "secret" not in caplog.text
    assert "this process alone" in caplog.text


def test_shared_throttles_take_the_shared_bucket(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """What adapters ask for counts in the warehouse once it was told so; without a rate there is nothing to count."""
    monkeypatch.setattr(throttle, "_shared", {})
    monkeypatch.setattr(throttle, "_make_bucket", [])
    made: list[WarehouseBucket] = []

    def make(name: str, rate: float, burst: int) -> WarehouseBucket:
        made.append(WarehouseBucket(warehouse.dsn, name, rate, burst))
        return made[-1]

    throttle.share_buckets(make)
    with shared_throttle("unisender shop", rate=20.0).slot(), shared_throttle("mailchimp", rate=None).slot():
        pass
    (bucket,) = made
    bucket.close()
    assert warehouse.rows("select name from ops.rates") == [("unisender shop",)]
