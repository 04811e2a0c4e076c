"""Killed at every step of a push: the next run completes it, and every record has exactly one outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pytest
from tests.audiences.fakes import FakeDestination, Warehouse
from tests.push_ledger import Killed

from lettertrail.audiences import push
from lettertrail.warehouse.ledger import check_balance

BEFORE = [f"{name}@example.com" for name in ("ann", "bob", "cid", "dan")]
AFTER = [*BEFORE[:3], "eve@example.com", "fay@example.com", "gus@example.com"]


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process dies just after its statement number `step`; what was not committed is lost."""
    done = 0
    execute = psycopg.Connection.execute

    def counted(connection: Any, *given: Any, **options: Any) -> Any:
        nonlocal done
        cursor = execute(connection, *given, **options)
        done += 1
        if done == step:
            raise Killed
        return cursor

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", counted)
        yield


def test_a_push_killed_at_any_step_is_completed_by_the_next(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Additions, a changed field, removals with and without evidence, in batches of two; a kill after a statement.

    Here every fifth; `python -m bench.activation` takes each.
    """
    assert crash(warehouse, monkeypatch, stride=5) > 8


def crash(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, *, stride: int) -> int:
    """Kills pushes, each `stride` statements later than the one before; gives how many."""
    monkeypatch.setattr(push, "BATCH_SIZE", 2)
    warehouse.execute("alter table segments.seg_lapsed add column if not exists city text")
    warehouse.suppress("bob@example.com")
    for kills in count():
        step = 1 + kills * stride
        warehouse.segment = replace(warehouse.segment, audience=f"audience{step}", max_removed_pct=100.0)
        if not _killed_and_completed(warehouse, step, monkeypatch):
            break
    assert warehouse.unbalanced() == []
    check_balance(warehouse.dsn, run_id="run")
    return kills


def _killed_and_completed(warehouse: Warehouse, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there was such a step."""
    audience = warehouse.segment.audience
    esp = FakeDestination()
    esp.audiences[audience] = {"zoe@example.com"}
    warehouse.execute("update marts.dim_suppression set scope = 'nothing'")
    warehouse.fill_segment(*BEFORE)
    warehouse.sync_segment(esp)
    warehouse.execute("update marts.dim_suppression set scope = 'everything'")
    warehouse.fill_segment(*AFTER)
    warehouse.execute("update segments.seg_lapsed set city = 'Omsk' where email = 'ann@example.com'")
    was_killed = False
    with killed_at(step, monkeypatch):
        try:
            warehouse.sync_segment(esp)
        except Killed:
            was_killed = True
    warehouse.sync_segment(esp)

    wanted = set(AFTER) - {"bob@example.com"}
    assert esp.audiences[audience] == wanted | {"zoe@example.com"}, step
    assert esp.attributes["ann@example.com"] == {"city": "Omsk"}, step
    assert warehouse.acknowledged(audience) == {**dict.fromkeys(wanted, "member"), "zoe@example.com": "found"}, step
    assert warehouse.sync_segment(esp).planned == 0, step
    return was_killed
