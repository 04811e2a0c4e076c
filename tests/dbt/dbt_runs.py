"""Runs dbt against a database, with everything it writes in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from dbt.cli.main import dbtRunner

from lettertrail.settings import DBT_PROJECT_DIR

RUN_AT = "2026-11-01T00:00:00+03:00"
THREADS = "2"
PARSED = "partial_parse.msgpack"
_parsed: dict[tuple[Path, str], Path] = {}


@dataclass(frozen=True, slots=True)
class DbtRun:
    """What a dbt command left behind."""

    returncode: int
    output: str
    target: Path

    @property
    def results(self) -> dict[str, str]:
        """Status by unique id, from run_results.json."""
        rows = json.loads((self.target / "run_results.json").read_text(encoding="utf-8"))["results"]
        return {row["unique_id"]: row["status"] for row in rows}

    @property
    def manifest(self) -> dict[str, Any]:
        """manifest.json."""
        manifest: dict[str, Any] = json.loads((self.target / "manifest.json").read_text(encoding="utf-8"))
        return manifest


def dbt(
    *arguments: str,
    dsn: str,
    work_dir: Path,
    project: Path = DBT_PROJECT_DIR,
    variables: Mapping[str, object] | None = None,
) -> DbtRun:
    """Runs a dbt command; never raises for a failed build, the caller looks at the result."""
    target = work_dir / "target"
    target.mkdir(parents=True, exist_ok=True)
    asked = json.dumps(variables or {})
    _bring_what_was_parsed(project, asked, target)
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            *arguments,
            f"--project-dir={project}",
            f"--profiles-dir={project}",
            f"--target-path={target}",
            f"--log-path={work_dir / 'logs'}",
            "--vars",
            asked,
        ],
        check=False,
        cwd=work_dir,
        env=dbt_environment(dsn),
        capture_output=True,
        text=True,
    )
    if (target / PARSED).exists():
        _parsed[project, asked] = target / PARSED
    return DbtRun(finished.returncode, finished.stdout + finished.stderr, target)


def _bring_what_was_parsed(project: Path, variables: str, target: Path) -> None:
    """Reading the project takes dbt longer than most runs. It keeps what it read, and checks it itself."""
    earlier = _parsed.get((project, variables))
    if earlier and earlier.exists() and not (target / PARSED).exists():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(earlier, target / PARSED)


def new_load(connection: psycopg.Connection[Any], target: str = "raw_bitrix.tests") -> int:
    """A load in the ledger, for rows that a test writes as a loader would: models find what is new by its number."""
    row = connection.execute(
        "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,"
        " started_at, finished_at) values ('tests', %s, 'full', 0, 0, 0, 0, 0, 0, %s, %s) returning load_id",
        [target, RUN_AT, RUN_AT],
    ).fetchone()
    assert row is not None
    return int(row[0])


def dbt_environment(dsn: str) -> dict[str, str]:
    """What the project's profile reads from the environment."""
    where = urlsplit(dsn)
    return {
        **os.environ,
        "LETTERTRAIL_WAREHOUSE_HOST": where.hostname or "",
        "LETTERTRAIL_WAREHOUSE_PORT": str(where.port or 5432),
        "LETTERTRAIL_WAREHOUSE_USER": unquote(where.username or ""),
        "LETTERTRAIL_WAREHOUSE_PASSWORD": unquote(where.password or ""),
        "LETTERTRAIL_WAREHOUSE_DBNAME": where.path.lstrip("/"),
        "LETTERTRAIL_DBT_THREADS": THREADS,
        "LETTERTRAIL_RUN_AT": RUN_AT,
        "DO_NOT_TRACK": "1",
    }


def copy_project(destination: Path) -> Path:
    """A copy of the project without what earlier runs left in it."""
    return Path(
        shutil.copytree(DBT_PROJECT_DIR, destination, ignore=shutil.ignore_patterns("target", "logs", ".user.yml"))
    )


class RepeatedDbt:
    """Runs models of one warehouse again and again in this process: the project is read once, not at every run."""

    def __init__(self, dsn: str, work_dir: Path) -> None:
        self.dsn = dsn
        self._work_dir = work_dir
        self._options = [
            f"--project-dir={DBT_PROJECT_DIR}",
            f"--profiles-dir={DBT_PROJECT_DIR}",
            f"--target-path={work_dir}",
            f"--log-path={work_dir}",
        ]
        self._manifest: Any = None

    def run(self, *models: str, run_at: str = RUN_AT, variables: Mapping[str, object] | None = None) -> None:
        """One run of the models; an AssertionError tells what failed."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**dbt_environment(self.dsn), "LETTERTRAIL_RUN_AT": run_at}.items():
                patch.setenv(name, value)
            if self._manifest is None:
                _bring_what_was_parsed(DBT_PROJECT_DIR, json.dumps({}), self._work_dir)
                self._manifest = self._invoke("parse")
            self._invoke("run", "--select", *models, "--vars", json.dumps(variables or {}))

    def _invoke(self, *arguments: str) -> Any:
        done = dbtRunner(manifest=self._manifest).invoke(["--quiet", *arguments, *self._options])
        assert done.success, done.exception or [(each.node.name, each.message) for each in done.result]
        return done.result
