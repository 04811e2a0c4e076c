"""The rule-based attribution alone: the models' own SQL as dbt compiles it, once in PostgreSQL and once in DuckDB.

Both get copies of the same input tables first, which is not timed; then both make the same tables in the same order.
The text differs only where the dialects do, in `TRANSLATION`.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.machine import peer_environment
from bench.transform.builds import THREADS, compiled
from bench.transform.world import HERE, World

SCHEMA = "bench_beside"
CHAIN = ("int_touches_ranked", "fct_attribution_ledger")
"""The models from touches and conversions to credits, in order."""
TRANSLATION = (
    # DuckDB's bare numeric has three decimals
    (re.compile(r"\bas numeric\)"), "as double)"),
    (re.compile(r"\bdouble precision\b"), "double"),
)
SUMS = f"select count(*), sum(credit), sum(amount) from {SCHEMA}.{CHAIN[-1]}"
MEMORY = "8GB"


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds per run of either engine, and what both counted."""

    postgres: list[float]
    duckdb: list[float]
    rows: int
    peak_mb: float
    version: str


class Disagreement(Exception):
    """The engines gave different results, so there is nothing to compare."""


def attribution(world: World, work: Path, *, runs: int) -> Beside:
    """Times both, one after the other, and sees that they agree."""
    python = peer_environment(work.parent / "duckdb-env", HERE / "peers-requirements.txt")
    steps, inputs = _plan(world, work)
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {SCHEMA} cascade".encode())
        connection.execute(f"create schema {SCHEMA}".encode())
        for table, relation in inputs.items():
            connection.execute(f"create table {SCHEMA}.{table} as select * from {relation}".encode())
        connection.execute("vacuum analyze")
        seconds = [_run_postgres(connection, steps) for _ in range(runs)]
        found = [float(value) for value in connection.execute(SUMS.encode()).fetchone() or ()]
        files = {table: _export(connection, table, work / "duckdb") for table in inputs}
    said = _run_duckdb(python, steps, files, work, runs)
    if not _agree(found, said["sums"]):
        raise Disagreement(f"PostgreSQL {found}, DuckDB {said['sums']}")
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(f"drop schema {SCHEMA} cascade".encode())
    version = subprocess.run(
        [str(python), "-c", "import duckdb; print(duckdb.__version__)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return Beside(seconds, said["seconds"], int(found[0]), said["peak_mb"], version)


def _plan(world: World, work: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Select by table of the chain, and relation by table that they read."""
    nodes = compiled(world, work, CHAIN)
    steps: dict[str, str] = {}
    inputs: dict[str, str] = {}
    for name in CHAIN:
        node = nodes[name]
        text = str(node["compiled_code"])
        for relation in set(re.findall(r'"[^"\s]+"\."[^"\s]+"\."[^"\s]+"', text)):
            table = relation.split(".")[2].strip('"')
            text = text.replace(relation, f"{SCHEMA}.{table}")
            if table not in CHAIN:
                # Compiled for another database.
                inputs[table] = relation.partition(".")[2]
        steps[name] = text
    return steps, inputs


def _run_postgres(connection: psycopg.Connection[tuple[Any, ...]], steps: dict[str, str]) -> float:
    for table in steps:
        connection.execute(f"drop table if exists {SCHEMA}.{table}".encode())
    connection.execute("checkpoint")
    began = time.monotonic()
    for table, select in steps.items():
        connection.execute(f"create table {SCHEMA}.{table} as {select}".encode())
        connection.execute(f"analyze {SCHEMA}.{table}".encode())
    return time.monotonic() - began


def _export(connection: psycopg.Connection[tuple[Any, ...]], table: str, folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    columns = connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0",
        [f"{SCHEMA}.{table}"],
    ).fetchall()
    file = folder / f"{table}.csv"
    with (
        file.open("wb") as out,
        connection.cursor().copy(f"copy {SCHEMA}.{table} to stdout (format csv, header)".encode()) as rows,
    ):
        for block in rows:
            out.write(block)
    return {"columns": ", ".join(f'"{name}" {_duck_type(kind)}' for name, kind in columns), "file": str(file)}


def _duck_type(kind: str) -> str:
    # A bare numeric has any number of decimals in PostgreSQL and three in DuckDB.
    return {"numeric": "decimal(38, 10)", "text": "varchar", "jsonb": "varchar"}.get(kind, kind)


def _run_duckdb(
    python: Path, steps: dict[str, str], inputs: dict[str, dict[str, str]], work: Path, runs: int
) -> dict[str, Any]:
    def own(text: str) -> str:
        for pattern, words in TRANSLATION:
            text = pattern.sub(words, text)
        return text.replace(f"{SCHEMA}.", "")

    database = work / "duckdb" / "beside.duckdb"
    database.unlink(missing_ok=True)
    plan = {
        "database": str(database),
        "threads": THREADS,
        "memory": MEMORY,
        "runs": runs,
        "inputs": inputs,
        "steps": {table: own(select) for table, select in steps.items()},
        "sums": own(SUMS),
    }
    done = subprocess.run(
        [str(python), str(HERE / "duck.py")], input=json.dumps(plan), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"DuckDB: {done.stderr[-3000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _agree(ours: list[float], theirs: list[float]) -> bool:
    """The same rows; sums may differ by what DuckDB's floating point loses."""
    return ours[0] == theirs[0] and all(abs(a - b) <= 1e-6 * max(abs(a), 1) for a, b in zip(ours, theirs, strict=True))
