"""`python -m bench.transform --events 1000000 10000000`: builds the models, and writes results.md beside this file.

Everything runs on this machine, in a PostgreSQL of its own below --work, which stays there with the worlds for the next
time. Wants it quiet, and about 15 GB of disk for 10 M events.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

from bench.program import argument_parser, log_to_stderr
from bench.transform.beside import attribution
from bench.transform.builds import models, tests
from bench.transform.proof import differing, fingerprints
from bench.transform.results import Figures, describe, render
from bench.transform.world import Size, World
from lettertrail.warehouse.embedded import EmbeddedPostgres

log = logging.getLogger("bench")

COUNTS = {
    "e-mail events": "select count(*) from marts.fct_email_events",
    "people": "select count(*) from marts.dim_person",
    "touches": "select count(*) from intermediate.int_touches",
    "conversions": "select count(*) from marts.fct_conversions",
    "credits": "select count(*) from marts.fct_attribution_credits",
}


def main() -> int:
    """Measures what was asked for."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3, help="full builds, and runs of the attribution alone")
    parser.add_argument("--days", type=int, default=3, help="increments")
    parser.add_argument("--work", type=Path, default=Path(".lettertrail/bench"))
    parser.add_argument("--without", nargs="*", default=[], choices=["tests", "duckdb", "proof"])
    options = parser.parse_args()
    log_to_stderr()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    postgres = EmbeddedPostgres(work / "transform-postgres")
    postgres.start()
    figures: dict[int, Figures] = {}
    try:
        for events in sorted(options.events):
            world = World(postgres, Size(events))
            world.prepare()
            figures[events] = Figures()
            _measure(world, work / f"transform-{events}", figures[events], options)
            # After every size: the next one takes ten times as long.
            page = render(figures, describe(world))
            options.out.write_text(page, encoding="utf-8")
    finally:
        postgres.stop()
    sys.stdout.write(page)
    return 0


def _measure(world: World, work: Path, figures: Figures, options: argparse.Namespace) -> None:
    shutil.rmtree(work / "target", ignore_errors=True)
    for run in range(1, options.runs + 1):
        world.forget_models()
        figures.full.append(models(world, work))
        log.info("%s events, full build %s: %.1f s", world.size.events, run, figures.full[-1].seconds)
    figures.counts = {name: world.count(query) for name, query in COUNTS.items()}
    log.info("%s", figures.counts)
    if "tests" not in options.without:
        figures.tests = tests(world, work)
        log.info("tests: %.1f s, failed: %s", figures.tests.seconds, figures.tests.failed)
    for day in range(1, options.days + 1):
        world.another_day()
        figures.days.append(models(world, work))
        log.info("day %s: %.1f s", day, figures.days[-1].seconds)
    figures.idle = models(world, work)
    log.info("nothing new: %.1f s", figures.idle.seconds)
    if "duckdb" not in options.without:
        figures.beside = attribution(world, work, runs=options.runs)
        log.info("attribution alone: PostgreSQL %s, DuckDB %s", figures.beside.postgres, figures.beside.duckdb)
    if "proof" not in options.without:
        grown = fingerprints(world)
        figures.rebuild = models(world, work, "--full-refresh")
        figures.differing = differing(grown, fingerprints(world))
        log.info("rebuilt: %.1f s; differing: %s", figures.rebuild.seconds, figures.differing or "none")


if __name__ == "__main__":
    sys.exit(main())
