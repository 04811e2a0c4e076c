"""The demo's own services in a directory that goes away, on ports of their own: the pipeline as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lettertrail.demo.airflow_api import AirflowApi, DagRun
from lettertrail.demo.layout import PREFERRED_PORTS, DemoConfig, Layout
from lettertrail.demo.pipeline import run_pipeline
from lettertrail.demo.services import Services
from lettertrail.demo.summary import describe
from lettertrail.sandbox.bitrix_site import DATABASE, OWNER
from lettertrail.sandbox.mariadb import connect

SEED = 20
SCALE = 0.03
# So long ago that no touch leaves a window while the tests run: what the segment holds stands still.
AS_OF = date(2026, 6, 1)


class TestServices(Services):
    """As the demo, but a dead scheduler is missed within seconds."""

    __test__ = False

    def airflow_environment(self) -> dict[str, str]:
        """The demo's settings with shorter heartbeats."""
        return {
            **super().airflow_environment(),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        }


@dataclass(frozen=True)
class Run:
    """One run of the whole pipeline."""

    legs: dict[str, DagRun]
    last_load: int
    """The ledger's latest load when the run had ended."""
    writes: list[dict[str, Any]] = field(repr=False)
    """The write calls that the sandbox services received meanwhile; they hold addresses."""


class Demo:
    """Everything that runs, and ways to look at it that are not the product's."""

    def __init__(self, services: Services, api: AirflowApi) -> None:
        self.services = services
        self.layout = services.layout
        self.config = services.config
        self.api = api

    def run(self) -> Run:
        """Runs the pipeline to its end, told as the demo tells it."""
        already, dsn = len(self._requests()), self.services.warehouse_dsn()
        legs = run_pipeline(self.api, describe=lambda run: describe(run, dsn, self.layout.pages))
        new = self._requests()[already:]
        ((last_load,),) = self.warehouse("select max(load_id) from ops.loads")
        return Run(legs, last_load, [entry for entry in new if entry["is_write"]])

    def kill(self, program: str) -> None:
        """kill -9 for the program and all it started."""
        pid = int(json.loads((self.layout.run / f"{program}.pid").read_text(encoding="utf-8"))["pid"])
        os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.services.supervisor.is_running(program):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def warehouse(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows from the warehouse, as the superuser; what the query changed stays changed."""
        with psycopg.connect(self.services.postgres.dsn("warehouse")) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def airflow_database(self, query: str) -> list[tuple[Any, ...]]:
        """Rows from Airflow's own database; what the query changed stays changed."""
        with psycopg.connect(self.services.postgres.dsn("airflow")) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def site(self, query: str) -> list[tuple[Any, ...]]:
        """Rows straight from the Bitrix site's MariaDB."""
        dsn = self.services.mariadb.dsn_for(OWNER, self.config.secrets["bitrix_owner"], DATABASE)
        with closing(connect(dsn)) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall())

    def change_site(self, *statements: str) -> None:
        """Changes the site behind Bitrix' back, as an administrator with SQL would."""
        dsn = self.services.mariadb.dsn_for(OWNER, self.config.secrets["bitrix_owner"], DATABASE)
        with closing(connect(dsn)) as connection:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()

    @contextmanager
    def resting(self, dag_id: str) -> Iterator[None]:
        """No task of the DAG is at work meanwhile; at the full hour Airflow would start some by itself."""
        self._lay_to_rest(dag_id)
        try:
            yield
        finally:
            self.api.unpause(dag_id)

    @contextmanager
    def awake(self, dag_id: str) -> Iterator[None]:
        """A DAG that the demo leaves paused may run meanwhile."""
        self.api.unpause(dag_id)
        try:
            yield
        finally:
            self._lay_to_rest(dag_id)

    def _lay_to_rest(self, dag_id: str) -> None:
        at_work = f"select count(*) from task_instance where dag_id = '{dag_id}' and state in ('queued', 'running')"
        self.airflow_database(f"update dag set is_paused = true where dag_id = '{dag_id}'")
        deadline = time.monotonic() + 120
        while self.airflow_database(at_work) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def mailchimp(self, query: str) -> list[tuple[Any, ...]]:
        """Rows straight from the sandbox Mailchimp's state."""
        with closing(
            sqlite3.connect(f"file:{self.layout.sandbox / 'mailchimp.sqlite3'}?mode=ro", uri=True)
        ) as connection:
            return connection.execute(query).fetchall()

    def _requests(self) -> list[dict[str, Any]]:
        path = self.layout.sandbox / "requests.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """All services up and the DAGs parsed; everything is stopped afterwards, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="lettertrail-e2e-") as directory, ExitStack() as undo:
        Path(directory).chmod(0o711)
        layout = Layout(Path(directory) / "state")
        layout.create()
        config = replace(DemoConfig.fresh(seed=SEED, scale=SCALE, as_of=AS_OF), ports=_free_ports())
        config.write(layout.root / "demo.json")
        services = TestServices(layout, config)
        undo.callback(services.stop)
        services.start_warehouse()
        services.start_site()
        services.start_sandbox()
        yield Demo(services, services.start_airflow())


def _free_ports() -> dict[str, int]:
    """Not the preferred ones: two Airflows that start at the same time would both find those free."""
    with ExitStack() as held:
        probes = {name: held.enter_context(socket.socket()) for name in PREFERRED_PORTS}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}
