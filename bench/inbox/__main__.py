"""`python -m bench.inbox`: the inbox's figures, printed and written to results.md beside this file. Wants it quiet.

Sender, receiver and a durable PostgreSQL share this machine. Takes about four minutes; `--share 0.05` gives a taste.
"""

from __future__ import annotations

import logging
import os
import platform
import sys

from bench.inbox.runs import Forged, Soak, Speed, Thrown, forged, place, soak, speed, thrown
from bench.machine import machine
from bench.program import argument_parser, log_to_stderr

log = logging.getLogger("bench")


def main() -> int:
    """Runs what was asked for; the exit status is 1 when a figure is missed."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--only", choices=["speed", "soak", "forged", "garbage"], nargs="+", default=None)
    parser.add_argument("--share", type=float, default=1.0, help="of the full length")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3_000.0, help="deliveries a second for the latency")
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    log_to_stderr()
    wanted = options.only or ["speed", "soak", "forged", "garbage"]
    lines, missed = [_machine(), ""], False
    for name in wanted:
        log.info("%s", name)
        with place(options.workers) as at:
            match name:
                case "speed":
                    speed(at, 2_000, connections=32)  # warm
                    peak = speed(at, int(200_000 * options.share), connections=64, first=10_000)
                    paced = speed(
                        at, int(options.rate * 60 * options.share), connections=256, rate=options.rate, first=1_000_000
                    )
                    found, ok = _speed(peak, paced, options.rate)
                case "soak":
                    kills = {"worker_kills": 10, "postgres_kills": 3}
                    found, ok = _soak(soak(at, int(200_000 * options.share), seed=options.seed, **kills))
                case "forged":
                    found, ok = _forged(forged(at, int(20_000 * options.share), seed=options.seed))
                case _:
                    found, ok = _thrown(thrown(at, int(20_000 * options.share), seed=options.seed))
        lines += [f"- {name}, {'met' if ok else 'MISSED'}: {found}"]
        missed = missed or not ok
        log.info("%s", lines[-1])
    page = "\n".join(["# Figures of the inbox", "", *lines, ""])
    if options.share == 1.0 and options.only is None:
        options.out.write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return int(missed)


def _speed(peak: Speed, paced: Speed, rate: float) -> tuple[str, bool]:
    ok = peak.per_second >= 3_000 and paced.p99 <= 0.1 and not (peak.missing or paced.missing or paced.refused)
    return (
        f"{peak.per_second:,.0f} durable events/s from 64 connections (p99 {1e3 * peak.p99:.0f} ms); at a steady"
        f" {rate:,.0f}/s p50 {1e3 * paced.p50:.1f} ms, p99 {1e3 * paced.p99:.1f} ms, slowest"
        f" {1e3 * paced.slowest:.0f} ms; refused {peak.refused + paced.refused}, acknowledged and not there"
        f" {peak.missing + paced.missing}"
    ), ok


def _soak(found: Soak) -> tuple[str, bool]:
    return (
        f"{found.acknowledged:,} acknowledged through {found.worker_kills} SIGKILLs of a worker and"
        f" {found.postgres_kills} of PostgreSQL in {found.seconds:.0f} s; {found.unanswered:,} attempts without an"
        f" answer, {found.put_off:,} put off with 503; acknowledged and lost {found.lost}, stored twice {found.doubled}"
    ), not (found.lost or found.doubled)


def _forged(found: Forged) -> tuple[str, bool]:
    return (
        f"{found.sent:,} forged, replayed or mutated, answers {found.by_status}; accepted {found.accepted};"
        f" {found.replays:,} of them the genuine content again, rows added {found.added}"
    ), not (found.accepted or found.added)


def _thrown(found: Thrown) -> tuple[str, bool]:
    return (
        f"{found.sent:,} pieces of garbage, answers {found.by_status} (0: hung up or waiting for the rest); 410 or 5xx"
        f" {sum(found.worst.values())} {found.worst or ''}; still takes webhooks: {'yes' if found.is_alive else 'no'};"
        f" of those let in (no signature to check) {found.outcomes}"
    ), not found.worst and found.is_alive and "None" not in found.outcomes


def _machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{machine()}, Python {platform.python_version()}; load before {load}."
        " Sender, receiver and PostgreSQL (fsync on) on the same machine."
    )


if __name__ == "__main__":
    sys.exit(main())
