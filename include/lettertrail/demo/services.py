"""Brings up what the pipeline stands on: warehouse, sample site, sandbox services, Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lettertrail.demo import accounts
from lettertrail.demo.airflow_api import AirflowApi
from lettertrail.demo.layout import WAREHOUSE_ROLES, DemoConfig, Layout
from lettertrail.demo.pipeline import INGEST, LEGS
from lettertrail.demo.processes import Program, Supervisor
from lettertrail.demo.progress import Step, count, step
from lettertrail.errors import ApiError, ConfigurationError
from lettertrail.http import RestClient, RetryPolicy
from lettertrail.sandbox.bitrix_site import DATABASE as SITE_DATABASE
from lettertrail.sandbox.bitrix_site import OWNER as SITE_OWNER
from lettertrail.sandbox.bitrix_site import READER as SITE_READER
from lettertrail.sandbox.bitrix_site import load_site
from lettertrail.sandbox.mariadb import MariaDb
from lettertrail.sandbox.twins import TWINS
from lettertrail.sandbox.world import generate
from lettertrail.settings import PROJECT_ROOT
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import apply_roles

DAGS = frozenset({*INGEST, *LEGS})
UNPAUSED = DAGS | {"process_inbox", "forward_opt_outs"}
AIRFLOW_PROGRAMS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_SECONDS = 120.0


class Services:
    """Everything the demo runs, in starting order. `start_*` may be called again; what runs is left alone."""

    def __init__(self, layout: Layout, config: DemoConfig) -> None:
        self.layout = layout
        self.config = config
        self.supervisor = Supervisor(layout.run, layout.logs)
        self.postgres = EmbeddedPostgres(layout.postgres, config.ports["warehouse"])
        self.mariadb = MariaDb(layout.mariadb, config.ports["bitrix"])

    def start_warehouse(self) -> None:
        """PostgreSQL with the warehouse (migrated, roles in place) and Airflow's own database."""
        with step("warehouse") as current:
            self.postgres.start()
            dsn = self.postgres.ensure_database("warehouse")
            applied = migrate(dsn)
            apply_roles(dsn, {f"lettertrail_{r}": self.config.secrets[f"warehouse_{r}"] for r in WAREHOUSE_ROLES})
            self.postgres.ensure_database("airflow")
            current.result = f"PostgreSQL on port {self.config.ports['warehouse']}, {len(applied)} migrations applied"

    def start_site(self) -> None:
        """MariaDB with the sample Bitrix site; the same world is made once and kept."""
        with step("sample Bitrix site") as current:
            self.mariadb.start()
            if (self.layout.world / "world.json").exists():
                current.result = f"MariaDB on port {self.config.ports['bitrix']}, as it was left"
                return
            current.tell("making people, letters, deals")
            world = generate(seed=self.config.seed, scale=self.config.scale, as_of=self.config.as_of)
            current.tell("writing the Bitrix tables")
            load_site(
                world,
                self.mariadb.dsn,
                owner_password=self.config.secrets["bitrix_owner"],
                reader_password=self.config.secrets["bitrix_reader"],
            )
            world.write(self.layout.world)
            current.result = (
                f"{count(len(world.people))} people, {len(world.letters)} letters, {count(len(world.sends))} recipients"
            )

    def start_sandbox(self) -> None:
        """The ESPs and Bitrix24 REST as local servers, a process of their own."""
        ports = self.config.ports
        with step("sandbox services") as current:
            program = Program(
                name="sandbox",
                command=[
                    sys.executable, "-m", "lettertrail.sandbox.server",
                    "--state", str(self.layout.sandbox),
                    "--world", str(self.layout.world),
                    "--bitrix-port", str(ports["bitrix24"]),
                    *(word for twin in TWINS for word in (twin.option, str(ports[twin.name]))),
                ],
                environment={
                    **accounts.sandbox_environment(self.config.secrets),
                    "SANDBOX_BITRIX_SECRET": self.config.secrets["bitrix24"],
                    "SANDBOX_BITRIX_DSN": self.mariadb.dsn_for(
                        SITE_OWNER, self.config.secrets["bitrix_owner"], SITE_DATABASE
                    ),
                },
            )  # fmt: skip
            self.supervisor.ensure(program)
            for service in ("bitrix24", *(twin.name for twin in TWINS)):
                self._wait_for(program.name, f"http://127.0.0.1:{ports[service]}", "/_sandbox/health", current)
            served = [f"{twin.title} on port {ports[twin.name]}" for twin in TWINS]
            current.result = f"Bitrix24 REST on port {ports['bitrix24']}, {', '.join(served)}"

    def start_inbox(self) -> None:
        """The receiver of webhooks, a process of its own."""
        port, secrets = self.config.ports["inbox"], self.config.secrets
        url = f"http://127.0.0.1:{port}"
        with step("inbox") as current:
            program = Program(
                name="inbox",
                command=[sys.executable, "-m", "lettertrail.inbox", "--port", str(port)],
                environment={
                    "LETTERTRAIL_INBOX_DSN": self._warehouse_as("inbox"),
                    "LETTERTRAIL_INBOX_ACCOUNTS": json.dumps(accounts.webhook_accounts(secrets)),
                    "LETTERTRAIL_INBOX_URL": url,
                    "LETTERTRAIL_LINK_SECRETS": secrets["links"],
                    "LETTERTRAIL_PREFERENCES_SENDER": "the sample shop",
                },
            )
            self.supervisor.ensure(program)
            self._wait_for(program.name, url, "/health", current)
            current.result = f"webhooks on port {port}"

    def start_airflow(self) -> AirflowApi:
        """API server, scheduler, DAG processor and triggerer; returns a client once the DAGs are parsed."""
        with step("Airflow") as current:
            environment = self.airflow_environment()
            if not self.supervisor.is_running("scheduler"):
                current.tell("preparing Airflow's database")
                self._migrate_airflow(environment)
            for name in AIRFLOW_PROGRAMS:
                self.supervisor.ensure(Program(name, [str(_tool("airflow")), name], environment))
            self._wait_for("api-server", self.airflow_url, "/api/v2/version", current)
            api = AirflowApi(self.airflow_url, user="admin", password=self.airflow_password())
            api.put_connections(self.connections())
            wait_for_dags(api, watch=lambda: self.supervisor.require("dag-processor"), current=current)
            for dag_id in sorted(UNPAUSED):
                api.unpause(dag_id)
            current.result = f"{len(DAGS)} DAGs, {self.airflow_url}"
            return api

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.config.ports['airflow']}"

    def airflow_password(self) -> str:
        """The password of user `admin`, made by Airflow's simple auth manager at its first start."""
        path = self.layout.airflow / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(path.read_text(encoding="utf-8"))["admin"])

    def stop(self) -> list[str]:
        """Stops everything, last started first; returns what was running."""
        stopped = [name for name in (*reversed(AIRFLOW_PROGRAMS), "inbox", "sandbox") if self.supervisor.stop(name)]
        for name, server in (("MariaDB", self.mariadb), ("PostgreSQL", self.postgres)):
            if server.is_running():
                server.stop()
                stopped.append(name)
        return stopped

    def warehouse_dsn(self) -> str:
        """The warehouse as the role that reads marts and the ledger."""
        return self._warehouse_as("sync")

    def _warehouse_as(self, role: str) -> str:
        password = self.config.secrets[f"warehouse_{role}"]
        return f"postgresql://lettertrail_{role}:{password}@127.0.0.1:{self.config.ports['warehouse']}/warehouse"

    def connections(self) -> list[dict[str, Any]]:
        """The Airflow connections of the demo, one role or account each."""
        secrets, ports = self.config.secrets, self.config.ports
        warehouse = [
            {
                "connection_id": f"warehouse_{role}", "conn_type": "postgres", "host": "127.0.0.1",
                "port": ports["warehouse"], "login": f"lettertrail_{role}",
                "password": secrets[f"warehouse_{role}"], "schema": "warehouse",
            }
            for role in ("loader", "dbt", "sync", "eraser")
        ]  # fmt: skip
        return [
            *warehouse,
            {
                "connection_id": "bitrix", "conn_type": "bitrix_database", "host": "127.0.0.1", "port": ports["bitrix"],
                "login": SITE_READER, "password": secrets["bitrix_reader"], "schema": SITE_DATABASE,
            },
            {
                "connection_id": "bitrix24", "conn_type": "bitrix24", "host": f"http://127.0.0.1:{ports['bitrix24']}",
                "login": "1", "password": secrets["bitrix24"],
            },
            *accounts.connections(secrets, ports),
        ]  # fmt: skip

    def airflow_environment(self) -> dict[str, str]:
        """Airflow's settings for one machine of two cores, and LetterTrail's own."""
        ports, secrets = self.config.ports, self.config.secrets
        database = self.postgres.dsn("airflow").partition("://")[2]
        return {
            "PATH": f"{_tool('airflow').parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "LETTERTRAIL_STATE_DIR": str(self.layout.root),
            "LETTERTRAIL_ALLOWED_HOSTS": ",".join(
                f"127.0.0.1:{ports[name]}" for name in ("bitrix24", *(twin.name for twin in TWINS))
            ),
            "LETTERTRAIL_ESP_ACCOUNTS": ",".join(accounts.ACCOUNTS),
            "LETTERTRAIL_DRY_RUN": "false",
            "LETTERTRAIL_LINK_SECRETS": secrets["links"],
            "LETTERTRAIL_ERASURE_KEY": secrets["erasure"],
            "LETTERTRAIL_INBOX_URL": f"http://127.0.0.1:{ports['inbox']}",
            "AIRFLOW_HOME": str(self.layout.airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__FERNET_KEY": secrets["fernet"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg://{database}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+psycopg_async://{database}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(ports["airflow"]),
            "AIRFLOW__API__BASE_URL": self.airflow_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets["api"],
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets["jwt"],
            # Two Airflows on one machine would otherwise fight for the ports their log servers listen on.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports["worker_logs"]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports["trigger_logs"]),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            # A killed scheduler's tasks are taken up again within a minute or so, not after the usual five.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
            # Not in the shared /tmp, where another user's cache would be in the way.
            "AIRFLOW__COSMOS__CACHE_DIR": str(self.layout.airflow / "cosmos"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
            "DO_NOT_TRACK": "1",
        }

    def _migrate_airflow(self, environment: Mapping[str, str]) -> None:
        log = self.supervisor.log_path("airflow-db-migrate")
        with log.open("wb") as out:
            done = subprocess.run(
                [str(_tool("airflow")), "db", "migrate"],
                env={**os.environ, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise ConfigurationError(f"Airflow's database could not be prepared; see {log}")

    def _wait_for(self, program: str, base_url: str, path: str, current: Step) -> None:
        hosts = [base_url.partition("://")[2]]
        client = RestClient(base_url, service=program, allowed_hosts=hosts, retry=RetryPolicy(attempts=1))

        def answers() -> bool:
            self.supervisor.require(program)
            with suppress(ApiError):
                client.get(path)
                return True
            return False

        _wait_until(answers, f"{program} does not answer at {base_url}{path}", current, f"waiting for {program}")


def wait_for_dags(api: AirflowApi, *, watch: Callable[[], None] = lambda: None, current: Step | None = None) -> None:
    """Returns when every DAG of the pipeline is parsed; `watch` may raise when whoever parses them has died.

    Raises:
        ConfigurationError: when a DAG file does not import, or the time is up.
    """

    def parsed() -> bool:
        watch()
        errors = api.import_errors()
        if errors:
            raise ConfigurationError("DAG files do not import: " + "; ".join(errors))
        return api.dag_ids() >= UNPAUSED

    _wait_until(parsed, f"not all of {', '.join(sorted(UNPAUSED))} were parsed", current, "waiting for the DAGs")


def _wait_until(holds: Callable[[], bool], complaint: str, current: Step | None, telling: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise ConfigurationError(f"{complaint} within {START_SECONDS:.0f} s")
        if current is not None:
            current.tell(telling)
        time.sleep(0.3)


def _tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)
