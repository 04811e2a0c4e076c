"""`python -m bench.extract --rows 5000000 20000000`: measures, five runs each, and writes results.md beside this file.

Everything runs on this machine: a MariaDB and a PostgreSQL of its own below --work, which stay there (with the tables)
for the next time. Contenders take turns, so that what the machine does meanwhile hits all of them. Wants it quiet.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from bench.extract.peers import Figure, Missing, Places, dlt, forget_ours, ours, pgloader, pipe
from bench.extract.results import describe, render
from bench.extract.site import Site
from bench.program import argument_parser, log_to_stderr
from lettertrail.sandbox.mariadb import MariaDb
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate

log = logging.getLogger("bench")

FIXED_CHANGES = 5_000


def main() -> int:
    """Measures what was asked for."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(".lettertrail/bench"))
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out: dlt pgloader pipe pipe_hash")
    parser.add_argument("--mariadb-cache", type=int, default=2048, metavar="MB", help="the site's buffer pool")
    parser.add_argument("--postgres-cache", type=int, default=256, metavar="MB", help="the warehouse's shared_buffers")
    parser.add_argument("--pgloader-up-to", type=int, default=20_000_000, help="rows; it is slow")
    options = parser.parse_args()
    log_to_stderr()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    mariadb, postgres = MariaDb(work / "mariadb"), EmbeddedPostgres(work / "postgres")
    mariadb.start()
    _start(postgres, options.postgres_cache)
    missing: dict[str, str] = dict.fromkeys(options.without, "left out by --without")
    figures: dict[int, dict[str, list[Figure]]] = {}
    try:
        for rows in sorted(options.rows):
            site = Site(mariadb, rows, options.mariadb_cache)
            log.info("%s rows: making the table", rows)
            site.prepare()
            target = postgres.ensure_database(f"bench_{rows}")
            migrate(target)
            places = Places(site.dsn, target, work)
            left_out = {*missing, *(["pgloader"] if rows > options.pgloader_up_to else [])}
            figures[rows] = _full_copies(site, places, options.runs, missing, left_out)
            figures[rows] |= _keeping_up(site, places, options.runs)
            facts = describe(mariadb.dsn, target, work / "dlt-env" / "bin" / "python")
            # After every size: the next one may take an hour.
            page = render(figures, missing=missing, fixed=FIXED_CHANGES, facts=facts)
            options.out.write_text(page, encoding="utf-8")
    finally:
        postgres.stop()
        mariadb.stop()
    sys.stdout.write(page)
    return 0


def _start(postgres: EmbeddedPostgres, cache_mb: int) -> None:
    """With a cache of that size, which is given to a server when it starts."""
    postgres.start()
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("alter system set shared_buffers = {}").format(sql.Literal(f"{cache_mb}MB")))
    postgres.stop()
    postgres.start()


def _full_copies(
    site: Site, places: Places, runs: int, missing: dict[str, str], left_out: set[str]
) -> dict[str, list[Figure]]:
    contenders: dict[str, tuple[str, Callable[[], Figure]]] = {
        "ours": ("raw_bitrix", partial(_full, places)),
        "dlt": ("bench_dlt", partial(dlt, places)),
        "pgloader": ("bench_pgloader", partial(pgloader, places)),
        "pipe": ("bench_pipe", partial(pipe, places, with_hash=False)),
        "pipe_hash": ("bench_pipe", partial(pipe, places, with_hash=True)),
    }
    found: dict[str, list[Figure]] = {name: [] for name in contenders}
    site.warm_up()
    for run in range(1, runs + 1):
        for name, (schema, copy) in contenders.items():
            if name in left_out:
                continue
            try:
                figure = copy()
            except Missing as reason:
                missing[name] = str(reason)
                left_out.add(name)
                log.warning("%s", reason)
                continue
            places.check(schema, site.count())
            found[name].append(figure)
            log.info("run %s, %s: %.2f s %s", run, name, figure.seconds, figure.done)
    places.execute(
        *(f"drop schema if exists {schema} cascade" for schema in ("bench_dlt", "bench_pgloader", "bench_pipe"))
    )
    return {name: figures for name, figures in found.items() if figures}


def _full(places: Places) -> Figure:
    forget_ours(places)
    return ours(places, "full")


def _keeping_up(site: Site, places: Places, runs: int) -> dict[str, list[Figure]]:
    """Increments and comparisons of the copy that the last full one left."""
    found: dict[str, list[Figure]] = {"increment": [], "increment_fixed": [], "verify": [], "verify_100": []}
    share = site.rows // 1_000
    places.execute("vacuum analyze raw_bitrix.b_sender_posting_recipient", "checkpoint")
    ours(places, "postings")
    for run in range(1, runs + 1):
        for name, changes in (("increment", share), ("increment_fixed", FIXED_CHANGES)):
            if name == "increment_fixed" and changes == share:
                found[name].append(found["increment"][-1])
                continue
            site.an_hour_passes(changes, seed=run * 10 + len(name))
            found[name].append(ours(places, "increment"))
        found["verify"].append(ours(places, "verify"))
        site.silent_edits(100, seed=run)
        found["verify_100"].append(ours(places, "verify"))
        for name, figures in found.items():
            log.info("run %s, %s: %.2f s %s", run, name, figures[-1].seconds, figures[-1].done)
    return found


if __name__ == "__main__":
    sys.exit(main())
