"""The figures as a page: versions, machine, every run, medians, ratios, and which bars hold."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psycopg

from bench.extract.peers import Figure
from bench.machine import machine
from lettertrail.sandbox.mariadb import connect

Figures = Mapping[int, Mapping[str, Sequence[Figure]]]
"""Rows of the table -> what was measured -> the runs."""
LABELS = {
    "ours": "LetterTrail, full copy (primary key, row hash, ledger)",
    "dlt": "dlt, ConnectorX → Parquet → ADBC (no primary key, no hash)",
    "pgloader": "pgloader (primary key, no hash)",
    "pipe": "`mariadb --quick \\| psql COPY` (primary key, no hash)",
    "pipe_hash": "the same pipe with our row hash in the select",
    "increment": "LetterTrail, increment, 0.1 % of the rows changed",
    "increment_fixed": "LetterTrail, increment, {fixed} rows changed",
    "verify": "LetterTrail, verify, nothing changed",
    "verify_100": "LetterTrail, verify, 100 scattered changes",
}


def render(figures: Figures, *, missing: Mapping[str, str], fixed: int, facts: Sequence[str]) -> str:
    """The whole page in Markdown."""
    lines = ["# Copying a recipients table: measured", ""]
    lines += ["Made by `python -m bench.extract`. Contenders take turns; every figure is one run, in seconds.", ""]
    lines += [*(f"- {fact}" for fact in facts), ""]
    for name, why in missing.items():
        lines += [f"**{LABELS[name]} was not measured**: {why}", ""]
    for rows, measured in figures.items():
        runs = max(len(found) for found in measured.values())
        lines += [f"## {rows:,} rows".replace(",", " "), ""]
        lines.append(f"| | {' | '.join(str(run) for run in range(1, runs + 1))} | median | rows/s | peak memory, MB |")
        lines.append(f"|---|{'---:|' * (runs + 3)}")
        for name, found in measured.items():
            lines.append(_row(LABELS[name].format(fixed=fixed), found, rows, runs))
        lines.append("")
    lines += ["## Bars", "", "| Bar | Measured | Holds |", "|---|---:|---|"]
    lines += [f"| {bar} | {value} | {'yes' if holds else '**no**'} |" for bar, value, holds in bars(figures)]
    return "\n".join(lines) + "\n"


def bars(figures: Figures) -> list[tuple[str, str, bool]]:
    """Every bar of the issue: what it asks, what was measured, whether it holds."""
    found: list[tuple[str, str, bool]] = []
    for rows, measured in figures.items():
        mid = {name: median(figure.seconds for figure in runs) for name, runs in measured.items() if runs}
        size = f"{rows / 1e6:g} M rows: "
        full = mid["ours"]
        for peer, least in (("dlt", 2.0), ("pgloader", 3.0), ("pipe", 0.9)):
            if peer in mid:
                ratio = mid[peer] / full
                found.append(
                    (f"{size}full copy ≥ {least:g} × {LABELS[peer].split(' (')[0]}", f"{ratio:.2f} ×", ratio >= least)
                )
        if "increment" in mid:
            share = mid["increment"] / full
            found.append((f"{size}increment of 0.1 % ≤ 3 % of the full copy", f"{share:.1%}", share <= 0.03))
        if "verify" in mid:
            share = mid["verify"] / full
            found.append((f"{size}verify, nothing changed ≤ 40 % of the full copy", f"{share:.0%}", share <= 0.4))
            ratio = mid["verify_100"] / mid["verify"]
            found.append((f"{size}verify, 100 changes ≤ 1.3 × nothing changed", f"{ratio:.2f} ×", ratio <= 1.3))
        peak = max(figure.peak_mb or 0 for name in measured if name in OURS for figure in measured[name])
        found.append((f"{size}peak memory of our process ≤ 250 MB", f"{peak:.0f} MB", peak <= 250))
    sizes = sorted(figures)
    if len(sizes) > 1 and all("increment_fixed" in figures[rows] for rows in sizes):
        small, large = (
            median(figure.seconds for figure in figures[rows]["increment_fixed"]) for rows in (sizes[0], sizes[-1])
        )
        growth = large / small
        bar = f"increment of as many rows ≤ 1.3 × from {sizes[0] / 1e6:g} M to {sizes[-1] / 1e6:g} M rows of history"
        found.append((bar, f"{growth:.2f} ×", growth <= 1.3))
    return found


OURS = ("ours", "increment", "increment_fixed", "verify", "verify_100")


def describe(source_dsn: str, target_dsn: str, dlt_environment: Path) -> list[str]:
    """Versions and machine."""
    connection = connect(source_dsn)
    cursor = connection.cursor()
    cursor.execute("select version(), @@innodb_buffer_pool_size div 1048576")
    ((mariadb, pool),) = cursor.fetchall()
    connection.close()
    with psycopg.connect(target_dsn) as target:
        ((postgres, fsync, buffers),) = target.execute(
            "select current_setting('server_version'), current_setting('fsync'), current_setting('shared_buffers')"
        ).fetchall()
    packages = ", ".join(f"{name} {version(name)}" for name in ("connectorx", "pyarrow", "psycopg"))
    peers = []
    if dlt_environment.exists():
        peers.append(_said([str(dlt_environment), "-c", "import dlt; print('dlt', dlt.__version__)"]))
    if shutil.which("pgloader"):
        peers.append(_said(["pgloader", "--version"]))
    return [
        machine(),
        f"MariaDB {mariadb} with a buffer pool of {pool} MB, PostgreSQL {postgres} with fsync {fsync} and"
        f" shared_buffers {buffers}, on the same machine",
        f"Python {platform.python_version()}, {packages}",
        "; ".join(filter(None, peers)),
    ]


def _row(label: str, found: Sequence[Figure], rows: int, runs: int) -> str:
    if not found:
        return f"| {label} |{' |' * (runs + 3)}"
    seconds = [f"{figure.seconds:.2f}" for figure in found] + [""] * (runs - len(found))
    mid = median(figure.seconds for figure in found)
    peaks = [figure.peak_mb for figure in found if figure.peak_mb is not None]
    rate = f"{rows / mid / 1e6:.2f} M"
    return f"| {label} | {' | '.join(seconds)} | **{mid:.2f}** | {rate} | {f'{max(peaks):.0f}' if peaks else ''} |"


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""
