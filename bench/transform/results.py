"""The figures as a page: versions, machine, every run, medians, ratios, and which bars hold."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median

import psycopg

from bench.machine import machine
from bench.transform.beside import Beside
from bench.transform.builds import Build
from bench.transform.world import World

SLOWEST = 15
GROWTH, DAY_SHARE, BESIDE, MARKOV_SHAPLEY = 12.0, 0.05, 10.0, 60.0
SETTINGS = ("server_version", "fsync", "shared_buffers", "work_mem", "max_parallel_workers_per_gather", "jit")


@dataclass
class Figures:
    """What was measured for one size."""

    counts: dict[str, int] = field(default_factory=dict)
    full: list[Build] = field(default_factory=list)
    tests: Build | None = None
    days: list[Build] = field(default_factory=list)
    idle: Build | None = None
    """A build when nothing new has been loaded."""
    beside: Beside | None = None
    rebuild: Build | None = None
    """A full refresh after the days."""
    differing: list[str] | None = None
    """Tables that the days led elsewhere than the full refresh; None when nobody looked."""


def render(figures: Mapping[int, Figures], facts: Sequence[str]) -> str:
    """The whole page in Markdown."""
    lines = ["# Building the models: measured", ""]
    lines += ["Made by `python -m bench.transform`; seconds by the wall clock, dbt's own start included.", ""]
    lines += [*(f"- {fact}" for fact in facts), ""]
    for events, measured in figures.items():
        lines += _size(events, measured)
    lines += ["## Bars", "", "| Bar | Measured | Holds |", "|---|---:|---|"]
    lines += [f"| {bar} | {value} | {'yes' if holds else '**no**'} |" for bar, value, holds in bars(figures)]
    return "\n".join(lines) + "\n"


def bars(figures: Mapping[int, Figures]) -> list[tuple[str, str, bool]]:
    """Every bar: what is asked, what was measured, whether it holds."""
    found: list[tuple[str, str, bool]] = []
    sizes = sorted(events for events, measured in figures.items() if measured.full)
    for events in sizes:
        found += _bars_of(f"{_millions(events)} events: ", figures[events])
    if len(sizes) > 1:
        small, large = (_middle(figures[events].full) for events in (sizes[0], sizes[-1]))
        bar = f"full build from {_millions(sizes[0])} to {_millions(sizes[-1])} events ≤ {GROWTH:g} ×"
        found.append((bar, f"{large / small:.1f} ×", large / small <= GROWTH))
    return found


def _bars_of(size: str, measured: Figures) -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = []
    if measured.days:
        share = _middle(measured.days) / _middle(measured.full)
        found.append(
            (f"{size}a day's increment ≤ {DAY_SHARE:.0%} of the full build", f"{share:.1%}", share <= DAY_SHARE)
        )
    if measured.beside:
        ratio = median(measured.beside.postgres) / median(measured.beside.duckdb)
        found.append((f"{size}rule-based attribution ≤ {BESIDE:g} × DuckDB", f"{ratio:.1f} ×", ratio <= BESIDE))
    for name in ("markov", "shapley"):
        seconds = median(sum(_named(build, name)) for build in measured.full)
        if seconds:
            found.append(
                (f"{size}{name.capitalize()} ≤ {MARKOV_SHAPLEY:g} s", f"{seconds:.1f} s", seconds <= MARKOV_SHAPLEY)
            )
    return found


def _size(events: int, measured: Figures) -> list[str]:
    lines = [f"## {_millions(events)} events", ""]
    lines += [", ".join(f"{_spaced(number)} {name}" for name, number in measured.counts.items()) + ".", ""]
    runs = max(len(measured.full), len(measured.days), len(measured.beside.postgres) if measured.beside else 0)
    lines.append(f"| | {' | '.join(str(run) for run in range(1, runs + 1))} | median |")
    lines.append(f"|---|{'---:|' * (runs + 1)}")
    lines.append(_row("full build, seeds and all models", [build.seconds for build in measured.full], runs))
    lines.append(_row("a day's increment of the same", [build.seconds for build in measured.days], runs))
    if measured.idle:
        lines.append(_row("the same with nothing new", [measured.idle.seconds], runs))
    if measured.rebuild:
        lines.append(_row("full refresh afterwards", [measured.rebuild.seconds], runs))
    if measured.tests:
        lines.append(_row("all data tests and unit tests", [measured.tests.seconds], runs))
    if measured.beside:
        rows = _spaced(measured.beside.rows)
        lines.append(_row(f"rule-based attribution alone, PostgreSQL ({rows} credits)", measured.beside.postgres, runs))
        lines.append(
            _row(f"the same select, DuckDB (peak {measured.beside.peak_mb:.0f} MB)", measured.beside.duckdb, runs)
        )
    lines.append("")
    if measured.tests and measured.tests.failed:
        lines += [f"Tests that failed: {', '.join(measured.tests.failed)}.", ""]
    if measured.differing is not None:
        told = ", ".join(measured.differing) or "none"
        lines += [f"Tables that the days left otherwise than a full refresh (count and row hashes): {told}.", ""]
    if measured.full:
        lines += _slowest(measured)
    return lines


def _slowest(measured: Figures) -> list[str]:
    """The models that take longest, and what they take of a day."""
    full = measured.full[-1].models
    day = measured.days[-1].models if measured.days else {}
    chosen = sorted(full, key=lambda name: -max(full[name], 10 * day.get(name, 0.0)))[:SLOWEST]
    lines = ["| Slowest models, seconds | full | a day |", "|---|---:|---:|"]
    lines += [f"| {name} | {full[name]:.1f} | {day.get(name, 0.0):.2f} |" for name in chosen]
    lines.append(f"| all {len(full)}, one after another | {sum(full.values()):.0f} | {sum(day.values()):.1f} |")
    return [*lines, ""]


def describe(world: World) -> list[str]:
    """Versions and machine."""
    with psycopg.connect(world.dsn) as connection:
        said = {name: connection.execute("select current_setting(%s)", [name]).fetchall()[0][0] for name in SETTINGS}
    postgres = said.pop("server_version")
    packages = ", ".join(f"{name} {version(name)}" for name in ("dbt-core", "dbt-postgres"))
    return [
        f"{machine()}; load when it ended {', '.join(f'{load:.1f}' for load in os.getloadavg())}",
        f"PostgreSQL {postgres}, embedded, with {', '.join(f'{name} {value}' for name, value in said.items())}",
        f"Python {platform.python_version()}, {packages}",
    ]


def _row(label: str, seconds: Sequence[float], runs: int) -> str:
    cells = [f"{second:.1f}" for second in seconds] + [""] * (runs - len(seconds))
    return f"| {label} | {' | '.join(cells)} | {f'**{median(seconds):.1f}**' if seconds else ''} |"


def _middle(builds: Iterable[Build]) -> float:
    return median(build.seconds for build in builds)


def _named(build: Build, part: str) -> list[float]:
    return [seconds for name, seconds in build.models.items() if part in name]


def _millions(events: int) -> str:
    return f"{events / 1e6:g} M"


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")
