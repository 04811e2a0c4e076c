"""Random faults, for as long as one likes, while a shop keeps writing; the checker counts after every round.

    python -m tests.faults.soak --minutes 30 --seed 7        # exit code 1 when a round ended with a difference

A round: a writer at work, one to three faults, the writer's end, an ordinary run, a verification, the count. Every few
rounds the warehouse is a new one, so that first copies are hit as well.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults import scene as scenes
from tests.faults.checker import Counts, Report
from tests.faults.loading import Action, Job, Loading, Outcome, run
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.servers import Servers, limit_files, servers, through, writing

from lettertrail.warehouse.load import STAGES

ROUNDS_PER_WAREHOUSE = 4
PASSING_ERRORS = ("SourceError", "WarehouseError")
"""What a fault may end a load with: errors that are tried again. Any other one would stop a table for good."""
Fault = Callable[["Soak", Job], tuple[str, list[Outcome]]]


@dataclass
class Soak:
    """Rounds on servers of one's own."""

    servers: Servers
    rng: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    rows: int = 0
    failed: int = 0
    rounds: int = 0
    _scene: Scene | None = None

    def round(self) -> str:
        """One round; returns the line to print."""
        if self._scene is None or self.rounds % ROUNDS_PER_WAREHOUSE == 0:
            if self._scene is not None:
                self._scene.gone()
            self._scene = scenes.fresh(self.servers)
        self.rounds += 1
        scene, said = self._scene, list[str]()
        began = time.monotonic()
        with writing(scene.source_dsn, seed=self.rng.getrandbits(32), silent=True):
            for _ in range(self.rng.randint(1, 3)):
                said += self._one_fault(scene)
        report = self._recovered(scene)
        self.rows += report.rows
        self.counts += report.counts
        wrong = [line for line in said if "!" in line]
        self.failed += bool(wrong) or not report.is_clean
        return f"{self.rounds:4} {'; '.join(said)} | {report} | {time.monotonic() - began:.0f} s"

    def summary(self) -> str:
        """What all rounds came to."""
        kinds = ", ".join(f"{number} {name}" for name, number in sorted(self.faults.items()))
        return f"{self.rounds} rounds ({kinds}): {self.rows} rows compared, {self.counts}, {self.failed} rounds failed"

    def _one_fault(self, scene: Scene) -> list[str]:
        is_copied = run(scene.job("load", "postings")).is_well and self.rounds % ROUNDS_PER_WAREHOUSE != 1
        actions: list[Action] = ["load", "load", "load", "verify", "reload"] if is_copied else ["load", "copy"]
        job = scene.job(self.rng.choice(actions), run_id=f"round {self.rounds}")
        name = self.rng.choice(sorted(FAULTS))
        self.faults[name] += 1
        what, outcomes = FAULTS[name](self, job)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        strange = [error for error in errors if not error.startswith(PASSING_ERRORS) and "load it first" not in error]
        return [f"{job.action}: {what}", *(f"! {error}" for error in strange)]

    def _recovered(self, scene: Scene) -> Report:
        """After an ordinary run and a verification; a copy begun before the changes needs a second run."""
        for _ in range(2):
            outcome = run(scene.job("load", run_id=f"recovery {self.rounds}"))
            if not outcome.is_well:
                report = scene.check()
                report.books.append(f"the recovery ends with {outcome.error}")
                return report
        outcome = run(scene.job("verify", run_id=f"night {self.rounds}"))
        report = scene.check()
        if not outcome.is_well:
            report.books.append(f"the verification ends with {outcome.error}")
        return report

    def moment(self, loading: Loading) -> str:
        """Lets a load get to some stage of some table, or to some moment in between."""
        if self.rng.random() < 0.5:
            stage = f"{self.rng.choice(loading.job.tables)}: {self.rng.choice(STAGES)}"
            return f"at {stage}" if loading.until(stage, seconds=20) else f"at its end, without {stage}"
        seconds = self.rng.uniform(0.0, 1.2)
        loading.until(None, seconds=seconds)
        return f"after {seconds:.2f} s"

    def interrupted(self, job: Job, blow: Callable[[], object]) -> tuple[str, list[Outcome]]:
        """A load, something that happens to a server at some moment, and the load's end."""
        loading = Loading(job)
        when = self.moment(loading)
        blow()
        return when, [loading.end()]


def _killed(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    loading = Loading(job)
    when = soak.moment(loading)
    return f"killed {when}", [loading.kill()]


def _mariadb_killed(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    when, outcomes = soak.interrupted(job, soak.servers.restart_mariadb)
    return f"MariaDB killed {when}", outcomes


def _postgres_killed(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    when, outcomes = soak.interrupted(job, soak.servers.restart_postgres)
    return f"PostgreSQL killed {when}", outcomes


def _source_cut(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    size = int(10 ** soak.rng.uniform(2, 6))
    with Proxy(soak.servers.mariadb.port) as proxy:
        proxy.cut_after(size, "to client")
        outcome = run(replace(job, source_dsn=through(job.source_dsn, proxy.port)))
        return f"source cut {proxy.cuts} times after {size} bytes", [outcome]


def _warehouse_cut(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    size = int(10 ** soak.rng.uniform(2, 6))
    with Proxy(soak.servers.postgres.port) as proxy:
        proxy.cut_after(size, "to server")
        outcome = run(replace(job, warehouse_dsn=through(job.warehouse_dsn, proxy.port)))
        return f"warehouse cut {proxy.cuts} times after {size} bytes", [outcome]


def _two_at_once(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    """Two of them, and one of the two may be killed."""
    pair = [Loading(job), Loading(replace(job, run_id=f"{job.run_id}, the other"))]
    deadline = time.monotonic() + soak.rng.uniform(0.3, 3.0)
    while time.monotonic() < deadline:
        for loading in pair:
            loading.until(None, seconds=0.02)
    if soak.rng.random() < 0.5:
        pair.pop(0).kill()
    while not all(loading.is_over for loading in pair):
        for loading in pair:
            loading.until(None, seconds=0.02)
    return "two at once", [loading.end() for loading in pair]


def _disk_full(soak: Soak, job: Job) -> tuple[str, list[Outcome]]:
    """No file of the warehouse may grow any more: with 1 MB its log neither, and then it gives up."""
    loading = Loading(job)
    when = soak.moment(loading)
    size_mb = soak.rng.choice([1, 17])
    limit_files(soak.servers.postgres, size_mb)
    outcome = loading.end()
    soak.servers.free_files()
    return f"files of {size_mb} MB at most, {when}", [outcome]


FAULTS: dict[str, Fault] = {
    "kills": _killed,
    "kills of MariaDB": _mariadb_killed,
    "kills of PostgreSQL": _postgres_killed,
    "cuts of the source": _source_cut,
    "cuts of the warehouse": _warehouse_cut,
    "pairs": _two_at_once,
    "full disks": _disk_full,
}


def main(arguments: Sequence[str]) -> int:
    """Rounds until time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="lettertrail-soak-") as directory:
        Path(directory).chmod(0o711)
        with servers(Path(directory) / "servers") as running:
            soak = Soak(running, random.Random(options.seed))
            while time.monotonic() < deadline:
                sys.stdout.write(soak.round() + "\n")
                sys.stdout.flush()
    sys.stdout.write(f"seed {options.seed}: {soak.summary()}\n")
    return 1 if soak.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
