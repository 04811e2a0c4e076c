"""Runs dbt against a database, with everything it writes in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import psycopg
import pytest
from dbt.cli.main import dbtRunner
from tests.conftest import WORLD_AS_OF

from lettertrail.settings import DBT_PROJECT_DIR

RUN_AT = datetime.combine(WORLD_AS_OF, time(), ZoneInfo("Europe/Moscow")).isoformat()
"""When the sample world ends."""
THREADS = "2"
PARSED = "partial_parse.msgpack"
NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
"""For builds of other data: unit tests bring their own, so that once is enough."""
_parsed: dict[tuple[Path, str], Path] = {}
"""What dbt keeps of a project it has read, by project and database: for any other it reads all of it again."""
_manifests: dict[str, Any] = {}
"""The project as dbt has read it in this process, by database."""


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
    run_at: str = RUN_AT,
) -> DbtRun:
    """Runs a dbt command; never raises for a failed build, the caller looks at the result."""
    target = work_dir / "target"
    target.mkdir(parents=True, exist_ok=True)
    _bring_what_was_parsed(project, dsn, target)
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            *arguments,
            f"--project-dir={project}",
            f"--profiles-dir={project}",
            f"--target-path={target}",
            f"--log-path={work_dir / 'logs'}",
        ],
        check=False,
        cwd=work_dir,
        env={**dbt_environment(dsn), "LETTERTRAIL_RUN_AT": run_at},
        capture_output=True,
        text=True,
    )
    _keep_what_was_parsed(project, dsn, target)
    return DbtRun(finished.returncode, finished.stdout + finished.stderr, target)


def _bring_what_was_parsed(project: Path, dsn: str, target: Path) -> None:
    """Reading the project takes dbt longer than most runs. It keeps what it read, and checks it itself."""
    earlier = _parsed.get((project, _database(dsn)))
    if earlier and earlier.exists() and not (target / PARSED).exists():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(earlier, target / PARSED)


def _keep_what_was_parsed(project: Path, dsn: str, target: Path) -> None:
    if (target / PARSED).exists():
        _parsed[project, _database(dsn)] = target / PARSED


def _database(dsn: str) -> str:
    return urlsplit(dsn).path.lstrip("/")


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
        "LETTERTRAIL_WAREHOUSE_DBNAME": _database(dsn),
        "LETTERTRAIL_DBT_THREADS": THREADS,
        "LETTERTRAIL_RUN_AT": RUN_AT,
        "DBT_LOG_LEVEL_FILE": "none",
        "DO_NOT_TRACK": "1",
    }


def copy_project(destination: Path) -> Path:
    """A copy of the project without what earlier runs left in it."""
    return Path(
        shutil.copytree(DBT_PROJECT_DIR, destination, ignore=shutil.ignore_patterns("target", "logs", ".user.yml"))
    )


class RepeatedDbt:
    """Works on one warehouse in this process: dbt is loaded and the project read once, not with every command."""

    def __init__(self, dsn: str, work_dir: Path) -> None:
        self.dsn = dsn
        work_dir.mkdir(parents=True, exist_ok=True)
        self._options = [
            f"--project-dir={DBT_PROJECT_DIR}",
            f"--profiles-dir={DBT_PROJECT_DIR}",
            f"--target-path={work_dir}",
            f"--log-path={work_dir}",
        ]
        self._target = work_dir

    def run(
        self, *selection: str, run_at: str = RUN_AT, variables: Mapping[str, object] | None = None
    ) -> dict[str, str]:
        """`dbt run --select` with these models, and options after them; see `do`."""
        return self.do("run", "--select", *selection, run_at=run_at, variables=variables)

    def do(
        self, *arguments: str, run_at: str = RUN_AT, variables: Mapping[str, object] | None = None
    ) -> dict[str, str]:
        """One dbt command; gives status by unique id. An AssertionError tells what failed."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**dbt_environment(self.dsn), "LETTERTRAIL_RUN_AT": run_at}.items():
                patch.setenv(name, value)
            # dbt goes to the project's folder and stays there
            patch.chdir(self._target)
            results = self._invoke(self._manifest(), *arguments, "--vars", json.dumps(variables or {}))
        return {each.node.unique_id: str(each.status) for each in results}

    def _manifest(self) -> Any:
        database = _database(self.dsn)
        if database not in _manifests:
            _bring_what_was_parsed(DBT_PROJECT_DIR, self.dsn, self._target)
            _manifests[database] = self._invoke(None, "parse")
            _keep_what_was_parsed(DBT_PROJECT_DIR, self.dsn, self._target)
        return _manifests[database]

    def _invoke(self, manifest: Any, *arguments: str) -> Any:
        done = dbtRunner(manifest=manifest).invoke(["--quiet", *arguments, *self._options])
        assert done.success, done.exception or [
            (each.node.name, each.message) for each in done.result if each.status not in ("success", "pass", "skipped")
        ]
        return done.result
