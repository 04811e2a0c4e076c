"""`python -m bench.relay`: 10 000 letters through a storm, printed and written to results.md beside this file.

Site, inbox, durable PostgreSQL, two workers and both services share this machine. Takes about seven minutes; `--share
0.05` gives a taste. Exit status 1 when a figure is missed.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.servers import free_port

from bench.machine import machine
from bench.program import argument_parser, log_to_stderr
from bench.relay.place import Place, place
from bench.relay.storm import Storm, storm
from lettertrail.warehouse.embedded import EmbeddedPostgres

log = logging.getLogger("bench")

LETTERS = 10_000
RATE = 40.0
CALM_RATE = 10.0
"""36 000 letters an hour: what a large shop sends on its busiest day."""


def main() -> int:
    """A calm part, the storm, and the same without protection."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full length")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    log_to_stderr()
    count = int(LETTERS * options.share)
    blows = {"kills": max(2, count // 800), "faults": max(10, count // 20), "seed": options.seed, "rate": RATE}
    with _running() as at:
        calm = storm(at, count // 10, kills=0, faults=0, seed=options.seed, rate=CALM_RATE, first=1_000_000)
        log.info("calm: %s", _said(calm))
        rough = storm(at, count, **blows)
        log.info("storm: %s", _said(rough))
    with _running("--unprotected") as at:
        bare = storm(at, count // 10, **{**blows, "kills": max(2, count // 2_500), "faults": max(10, count // 200)})
    is_met = not (rough.lost or rough.wrongly or rough.untrue) and rough.twice <= 1 and calm.p95 <= 5
    has_failed = bare.twice > 1
    page = "\n".join(
        [
            "# Figures of the relay",
            "",
            f"{machine()}. Site, inbox, PostgreSQL (fsync on), two workers and both services share the machine.",
            "",
            f"- storm, {'met' if is_met else 'MISSED'}: {_said(rough)}",
            f"- calm: {_said(calm)}",
            f"- the storm without protection, {'fails as it must' if has_failed else 'DOES NOT FAIL'}: {_said(bare)}",
            "",
        ]
    )
    if options.share == 1.0:
        options.out.write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return 0 if is_met and has_failed else 1


def _said(found: Storm) -> str:
    states = ", ".join(f"{number:,} {state}" for state, number in found.by_state.items())
    parts = [
        f"{found.acknowledged:,} letters at {found.rate:.0f} a second in {found.seconds:.0f} s",
        f"{found.kills} SIGKILLs of a worker, {found.faults} faults of services",
        f"{found.unanswered} calls without an answer",
        states,
        f"lost {found.lost}, sent twice {found.twice}, sent in spite of a complaint {found.wrongly}",
        f"booked untruly {found.untrue}",
        f"from the site's request to the first call to a service p50 {1e3 * found.p50:.0f} ms",
        f"p95 {1e3 * found.p95:.0f} ms, slowest {found.slowest:.1f} s",
    ]
    return "; ".join(parts)


@contextmanager
def _running(*arguments: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="lettertrail-relay-") as name:
        Path(name).chmod(0o711)
        postgres = EmbeddedPostgres(Path(name) / "postgres", port=free_port())
        postgres.start()
        try:
            with place(postgres, Path(name), *arguments) as at:
                yield at
        finally:
            postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
