"""dbt over a world, timed: the whole command by the wall clock, and each model as dbt itself counts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.transform.world import TEMPLATE, World
from lettertrail.settings import DBT_PROJECT_DIR

THREADS = 2
NO_TESTS = ("--exclude-resource-type", "test", "unit_test")


@dataclass(frozen=True, slots=True)
class Build:
    """One dbt command."""

    seconds: float
    models: Mapping[str, float]
    """Seconds by model, seeds included."""
    failed: tuple[str, ...] = ()
    """What did not succeed."""


class BuildFailed(Exception):
    """A model could not be built; the message ends with what dbt said last."""


def models(world: World, work: Path, *arguments: str) -> Build:
    """Seeds and models without tests.

    Raises:
        BuildFailed: when one of them fails; there is nothing to time then.
    """
    build, output = _dbt(world, work, "build", *NO_TESTS, *arguments)
    if build.failed:
        raise BuildFailed(f"{', '.join(build.failed)}: {output[-3000:]}")
    return build


def tests(world: World, work: Path) -> Build:
    """All data tests and unit tests over what is built; those that fail are told, not raised."""
    return _dbt(world, work, "test")[0]


def compiled(world: World, work: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The manifest's entries of these models with the SQL that builds them from nothing."""
    # In a database without any model: some are never built from nothing where they stand.
    _dbt(replace(world, database_name=TEMPLATE), work, "compile", "--select", *names)
    found: dict[str, Any] = json.loads((work / "target" / "manifest.json").read_text(encoding="utf-8"))
    return {name: found["nodes"][f"model.lettertrail.{name}"] for name in names}


def _dbt(world: World, work: Path, command: str, *arguments: str) -> tuple[Build, str]:
    work.mkdir(parents=True, exist_ok=True)
    results = work / "target" / "run_results.json"
    results.unlink(missing_ok=True)
    where = urlsplit(world.dsn)
    environment = {
        **os.environ,
        "LETTERTRAIL_WAREHOUSE_HOST": where.hostname or "",
        "LETTERTRAIL_WAREHOUSE_PORT": str(where.port),
        "LETTERTRAIL_WAREHOUSE_USER": unquote(where.username or ""),
        "LETTERTRAIL_WAREHOUSE_PASSWORD": unquote(where.password or ""),
        "LETTERTRAIL_WAREHOUSE_DBNAME": world.database,
        "LETTERTRAIL_DBT_THREADS": str(THREADS),
        "LETTERTRAIL_RUN_AT": world.run_at,
        "DBT_LOG_LEVEL_FILE": "none",
        "DO_NOT_TRACK": "1",
    }
    options = [
        f"--project-dir={DBT_PROJECT_DIR}", f"--profiles-dir={DBT_PROJECT_DIR}", f"--target-path={work / 'target'}",
        f"--log-path={work / 'logs'}",
    ]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dbt")), command, *arguments, *options],
        check=False, cwd=work, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.monotonic() - began
    output = done.stdout + done.stderr
    if not results.exists():
        raise BuildFailed(output[-3000:])
    rows = json.loads(results.read_text(encoding="utf-8"))["results"]
    taken = {row["unique_id"].split(".", 2)[2]: float(row["execution_time"]) for row in rows}
    failed = [row["unique_id"] for row in rows if row["status"] not in ("success", "pass", "no-op")]
    return Build(seconds, taken, tuple(failed)), output
