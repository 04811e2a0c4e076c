"""Loads in processes of their own, watched stage by stage, so that anything may happen to them at any stage."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.forkserver import set_forkserver_preload
from typing import Any, Literal, cast

from tests.faults.broken import Broken
from tests.faults.tables import TABLES, entries
from tests.source_site import ZONE

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import Source
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import system_clock
from lettertrail.errors import LetterTrailError
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.ranges import copy_range, finish_copy, plan_copy
from lettertrail.warehouse.reload import reload_table
from lettertrail.warehouse.verify import verify_table

Action = Literal["load", "verify", "reload", "copy"]
ALL = tuple(table.name for table in TABLES)
RANGE_ROWS = 700
"""Small, so that a first copy has several ranges."""

_context = multiprocessing.get_context("forkserver")
# Everything slow to import, once, in the process the loads are forked from.
set_forkserver_preload(["tests.faults.loading", "connectorx"])


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do; `broken` names the protections to switch off (see `broken.py`)."""

    action: Action
    source_dsn: str
    warehouse_dsn: str
    tables: tuple[str, ...] = ALL
    run_id: str = "run"
    broken: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """How a process ended."""

    stages: list[str] = field(default_factory=list)
    """`table: stage`, in the order they were reached."""
    error: str | None = None
    """The error it ended with, beginning with its class; None when it ended well or was killed."""
    was_killed: bool = False

    @property
    def is_well(self) -> bool:
        return self.error is None and not self.was_killed


class Loading:
    """A process at work on a job. It stops at every stage until it is told to go on."""

    def __init__(self, job: Job) -> None:
        ours, theirs = _context.Pipe()
        self._pipe = cast(Connection, ours)
        self._process = _context.Process(target=_work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.job = job
        self.outcome = Outcome()
        self.is_over = False
        self._is_waiting = False

    def until(self, stage: str | None, *, seconds: float = 60.0) -> bool:
        """Lets it work until it reaches a stage (it then waits), or ends, or time is over; whether it is there.

        A stage it waits at already is behind it.

        Args:
            stage: the end of `table: stage`; None for the process' end.
        """
        if self.is_over:
            return stage is None
        if self._is_waiting:
            self.go_on()
        deadline = time.monotonic() + seconds
        while self._pipe.poll(max(0.0, deadline - time.monotonic())):
            try:
                kind, said = self._pipe.recv()
            except EOFError:
                self._process.join()
                raise AssertionError(f"the load's process died by itself: {self._process.exitcode}") from None
            assert kind != "crash", f"{self.outcome.stages[-3:]}: {said}"
            if kind == "end":
                self.outcome.error = said
                self._process.join()
                self.is_over = True
                return stage is None
            self.outcome.stages.append(said)
            self._is_waiting = True
            if stage is not None and said.endswith(stage):
                return True
            self.go_on()
        return False

    def reach(self, stage: str) -> None:
        """`until`, when it has to get there."""
        assert self.until(stage), f"it does not come to {stage!r}: {self.outcome}"

    def go_on(self) -> None:
        """Past the stage it waits at."""
        self._is_waiting = False
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(None)

    def kill(self) -> Outcome:
        """SIGKILL, and waits for its end."""
        self._process.kill()
        self._process.join()
        self.outcome.was_killed = self.outcome.was_killed or not self.is_over
        self.is_over = True
        self._pipe.close()
        return self.outcome

    def end(self) -> Outcome:
        """Lets it work to its end."""
        assert self.until(None, seconds=120), f"it does not come to an end: {self.outcome}"
        self._pipe.close()
        return self.outcome


def run(job: Job) -> Outcome:
    """A job, undisturbed."""
    return Loading(job).end()


def strike(job: Job, stage: str, blow: Callable[[Loading], object]) -> Outcome:
    """A job that something happens to at a stage; it must get there."""
    loading = Loading(job)
    loading.reach(stage)
    blow(loading)
    return loading.outcome if loading.is_over else loading.end()


def _work(job: Job, pipe: Connection) -> None:
    logging.disable(logging.CRITICAL)
    broken = Broken(job.broken, job.warehouse_dsn)
    broken.switch_off()
    try:
        for name in job.tables:
            _one(job, name, pipe, broken)
        check_balance(job.warehouse_dsn, run_id=job.run_id)
    except LetterTrailError as error:
        pipe.send(("end", f"{type(error).__name__}: {error}"))
    except BaseException as error:  # noqa: BLE001  # told to the test, which fails by it
        # Nothing else may come out of a load, whatever happens to the servers; unless somebody broke the load itself.
        pipe.send(("end", f"{type(error).__name__}: {error}") if job.broken else ("crash", traceback.format_exc()))
    else:
        pipe.send(("end", None))


def _one(job: Job, name: str, pipe: Connection, broken: Broken) -> None:
    entry = broken.entry(entries()[name])
    source = broken.source(SqlSource(job.source_dsn, ZONE))

    def on_stage(stage: str) -> None:
        broken.on_stage(stage, source, entry)
        pipe.send(("stage", f"{name}: {stage}"))
        pipe.recv()

    options: dict[str, Any] = {"run_id": job.run_id, "clock": system_clock, "on_stage": on_stage}
    match job.action:
        case "load":
            load_table(source, entry, job.warehouse_dsn, chunk_rows=RANGE_ROWS, **options)
        case "verify":
            verify_table(source, entry, job.warehouse_dsn, **options)
        case "reload":
            reload_table(source, entry, job.warehouse_dsn, dry_run=False, range_rows=RANGE_ROWS, **options)
        case "copy":
            _copy(source, entry, job.warehouse_dsn, **options)


def _copy(source: Source, entry: TableEntry, dsn: str, *, on_stage: Callable[[str], None], **options: Any) -> None:
    """As Airflow does it: a plan, tasks for its ranges, an end."""
    tasks = plan_copy(source, entry, dsn, range_rows=RANGE_ROWS, **options)
    on_stage("planned")
    for task in tasks:
        copy_range(source, entry, dsn, task.key_range, on_stage=on_stage, **options)
    finish_copy(source, entry, dsn, **options)
    on_stage("copied")
