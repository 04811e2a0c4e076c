"""A whole relay on this machine: inbox, warehouse, two sandbox services with faults, workers that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from bench.inbox import letters
from bench.inbox.receiver import Receiver, receiver
from bench.relay.site import accounts
from lettertrail.relay.outbox import WORKERS
from lettertrail.sandbox.esps import mandrill, unisender_go
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.server import served
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import apply_roles

PASSWORD = "relay"
KEY = "a-sandbox-key"
OUR_KEY = "lettertrail_key"
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Service:
    """A sandbox service and where it listens."""

    base: str
    store: Any

    def fault(self, kind: str, **how: object) -> None:
        """Orders a fault for the next calls that send."""
        order = json.dumps({"kind": kind, "path": "/(messages|email)/send", **how}).encode()
        headers = {"Authorization": f"Basic {b64encode(f'any:{KEY}'.encode()).decode()}"}
        request = urllib.request.Request(f"{self.base}/_sandbox/faults", order, headers)
        urllib.request.urlopen(request, timeout=10).close()

    def heal(self) -> None:
        """Forgets the faults that wait."""
        headers = {"Authorization": f"Basic {b64encode(f'any:{KEY}'.encode()).decode()}"}
        request = urllib.request.Request(f"{self.base}/_sandbox/faults", headers=headers, method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()


class Worker:
    """`bench.relay.process`, started again whenever it ends until it is told to stop."""

    def __init__(self, environ: Mapping[str, str], log: Path, *arguments: str) -> None:
        self._environ = environ
        self._log = log
        self._command = [sys.executable, "-m", "bench.relay.process", *arguments]
        self._process = self._start()
        self._is_stopping = False
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def kill(self) -> None:
        """SIGKILL: whatever it was doing ends there."""
        self._process.kill()

    def stop(self) -> int:
        """SIGTERM, once; gives the exit status."""
        if not self._is_stopping:
            self._is_stopping = True
            self._process.terminate()
            self._keeper.join(timeout=60)
        return self._process.returncode

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._is_stopping:
                return
            self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=_REPOSITORY, env=dict(self._environ), stdout=log, stderr=log)


@dataclass(frozen=True, slots=True)
class Place:
    """Everything, running."""

    dsn: str
    receiver: Receiver
    mandrill: Service
    go: Service
    workers: tuple[Worker, ...]
    log: Path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Of the warehouse, as its owner."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def wait_for_workers(self, seconds: float = 60.0) -> None:
        """Until all of them work."""
        deadline = time.monotonic() + seconds
        alive = "select count(distinct objid) from pg_locks where locktype = 'advisory' and classid = %s and granted"
        while self.rows(alive, WORKERS) != [(len(self.workers),)]:
            assert time.monotonic() < deadline, "the workers do not come up"
            time.sleep(0.1)

    def arrived(self) -> Counter[str]:
        """Letter key → how often a service sent it, by the services' own books."""
        found: Counter[str] = Counter()
        for row in self.mandrill.store.rows("select metadata from messages where state <> 'rejected'"):
            found[json.loads(row["metadata"])[OUR_KEY]] += 1
        for row in self.go.store.rows("select metadata from letters"):
            found[json.loads(row["metadata"])[OUR_KEY]] += 1
        return found


@contextmanager
def place(postgres: EmbeddedPostgres, directory: Path, *arguments: str, database: str = "relay") -> Iterator[Place]:
    """Starts it all in front of a fresh database, and stops it afterwards; `arguments` go to the worker."""
    dsn = postgres.ensure_database(database)
    migrate(dsn)
    apply_roles(dsn, {"lettertrail_inbox": PASSWORD, "lettertrail_relay": PASSWORD})
    log = directory / f"{database}.log"
    with ExitStack() as stack:
        mandrill_store = mandrill.MandrillStore(directory / "mandrill.sqlite3")
        go_store = unisender_go.UnisenderGoStore(directory / "go.sqlite3")
        first = stack.enter_context(_service(mandrill_store, mandrill.create_app))
        second = stack.enter_context(_service(go_store, unisender_go.create_app))
        running = stack.enter_context(
            receiver(
                conninfo.make_conninfo(dsn, user="lettertrail_inbox", password=PASSWORD),
                accounts=json.dumps(accounts()), url=letters.URL, workers=1, log=directory / f"{database}-inbox.log",
            )
        )  # fmt: skip
        relay_dsn = conninfo.make_conninfo(dsn, user="lettertrail_relay", password=PASSWORD)
        workers = [Worker(environment(relay_dsn, first, second), log, *arguments) for _ in range(2)]
        for worker in workers:
            stack.callback(worker.stop)
        at = Place(dsn, running, first, second, tuple(workers), log)
        at.wait_for_workers()
        yield at


def environment(dsn: str, first: Service, second: Service) -> dict[str, str]:
    """What the worker is told."""

    def connection(service: Service, **fields: str) -> str:
        extra = {"transactional_key": KEY, "transactional_host": service.base}
        return json.dumps({"conn_type": "x", "host": "http://127.0.0.1:9", **fields, "extra": extra})

    return {
        **os.environ,
        "PYTHONPATH": f"{_REPOSITORY / 'include'}:{_REPOSITORY}",
        "LETTERTRAIL_RELAY_DSN": dsn,
        "LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp,unisender",
        "LETTERTRAIL_ALLOWED_HOSTS": "127.0.0.1",
        "AIRFLOW_CONN_MAILCHIMP": connection(first, password="x-us1"),
        "AIRFLOW_CONN_UNISENDER": connection(second, password="x"),
    }


@contextmanager
def _service(store: Any, create_app: Callable[..., Any]) -> Iterator[Service]:
    app = create_app(store, api_key=KEY)
    with served(Faults(app, key=KEY)) as base:
        yield Service(base, store)
    app.close()
    store.close()
