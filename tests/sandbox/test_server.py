"""The sandbox process starts, says what is wrong, keeps its state and stops."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from tests.sandbox.small import KEY, LIST, SECRET, kept_port

from lettertrail.sandbox import server
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.twins import TWINS, Twin
from lettertrail.settings import PROJECT_ROOT

WORLD = {"seed": 7, "scale": 0.01, "as_of": "2026-11-01"}


@dataclass
class Sandbox:
    """A command line, and the process it started; its ports stay its own while it is stopped."""

    state: Path
    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    keepers: dict[str, socket.socket] = field(default_factory=dict)
    """By the option of the port."""

    def listen_on(self, option: str) -> int:
        """Adds a port to the command line, unless it is there."""
        if option not in self.keepers:
            self.keepers[option] = kept_port()
            self.arguments += [option, str(self.port(option))]
        return self.port(option)

    def port(self, option: str) -> int:
        return int(self.keepers[option].getsockname()[1])

    def start(self) -> None:
        """Starts the process and waits for all its ports."""
        self.process = subprocess.Popen(self.command(), env=self.environment)
        for option in self.keepers:
            self._wait(self.port(option))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "lettertrail.sandbox.server", *self.arguments]

    def fail(self) -> tuple[int, str]:
        """Runs a command line that must not work, in a process of its own; gives status and message."""
        done = subprocess.run(
            self.command(), env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stderr

    def fail_here(self) -> tuple[int, str]:
        """The same within this process, which is quicker."""
        said = io.StringIO()
        with mock.patch.dict(os.environ, self.environment, clear=True), contextlib.redirect_stderr(said):
            try:
                status = server.main(self.arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
        return status, said.getvalue()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def mailchimp(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"http://127.0.0.1:{self.port('--mailchimp-port')}/3.0{path}"
        return requests.request(method, url, auth=("x", KEY), timeout=10, **options)

    def bitrix(self, method: str, **params: Any) -> requests.Response:
        url = f"http://127.0.0.1:{self.port('--bitrix-port')}/rest/1/{SECRET}/{method}"
        return requests.post(url, json=params, timeout=10)

    def journal(self) -> list[dict[str, Any]]:
        text = (self.state / "requests.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, "the sandbox ended early"
            try:
                assert requests.get(f"http://127.0.0.1:{port}/_sandbox/health", timeout=5).json()["status"] == "ok"
            except requests.ConnectionError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the sandbox did not come up")


@pytest.fixture(scope="module")
def site_dsn(mariadb: MariaDb) -> str:
    """A database with the one table these tests look at."""
    with connect(mariadb.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create database server_site")
        cursor.execute("create table server_site.b_user (ID int primary key, NAME text, LAST_NAME text, EMAIL text)")
    return f"{mariadb.dsn.rstrip('/')}/server_site"


@pytest.fixture
def sandbox(tmp_path: Path, site_dsn: str) -> Iterator[Sandbox]:
    """A command line that works; the process is ended when the test forgot to."""
    (tmp_path / "world.json").write_text(json.dumps(WORLD), encoding="utf-8")
    arguments = ["--state", str(tmp_path / "state"), "--world", str(tmp_path), "--bitrix-dsn", site_dsn]
    environment = os.environ | {
        "SANDBOX_MAILCHIMP_KEY": KEY,
        "SANDBOX_BITRIX_SECRET": SECRET,
        "PYTHONPATH": str(PROJECT_ROOT / "include"),
    }
    sandbox = Sandbox(tmp_path / "state", arguments, environment)
    for option in ("--mailchimp-port", "--bitrix-port"):
        sandbox.listen_on(option)
    yield sandbox
    for keeper in sandbox.keepers.values():
        keeper.close()
    if sandbox.process is not None and sandbox.process.poll() is None:
        sandbox.process.kill()
        sandbox.process.wait()


def test_it_serves_logs_stops_and_keeps_its_state(sandbox: Sandbox) -> None:
    """Both services answer, every request is in the log with its secret masked, a restart remembers."""
    sandbox.start()
    members = sandbox.mailchimp("GET", f"/lists/{LIST}/members").json()
    assert members["total_items"] > 0
    address = members["members"][0]["email_address"]
    body = {"members": [{"email_address": address, "status": "unsubscribed"}], "update_existing": True}
    assert sandbox.mailchimp("POST", f"/lists/{LIST}", json=body).json()["total_updated"] == 1
    assert sandbox.bitrix("profile").json()["result"]["ID"] == "1"
    assert requests.get(f"http://127.0.0.1:{sandbox.port('--mailchimp-port')}/3.0/lists", timeout=10).status_code == 401
    refused = requests.post(f"http://127.0.0.1:{sandbox.port('--bitrix-port')}/rest/1/guess/profile", timeout=10)
    assert refused.status_code == 401
    lines = sandbox.journal()
    seen = [(line["service"], line["method"], line["status"], line["is_write"]) for line in lines]
    assert seen == [
        ("mailchimp", "GET", 200, False),
        ("mailchimp", "POST", 200, True),
        ("bitrix", "POST", 200, False),
        ("mailchimp", "GET", 401, False),
        ("bitrix", "POST", 401, False),
    ]
    assert lines[1]["body"] == body
    assert [line["path"] for line in lines if line["service"] == "bitrix"] == ["/rest/1/***/profile"] * 2
    text = (sandbox.state / "requests.jsonl").read_text(encoding="utf-8")
    assert SECRET not in text
    assert KEY not in text
    assert sandbox.stop() == 0

    sandbox.start()
    again = sandbox.mailchimp("GET", f"/lists/{LIST}/members/{address}").json()
    assert again["status"] == "unsubscribed"
    assert sandbox.mailchimp("GET", f"/lists/{LIST}/members").json()["total_items"] == members["total_items"]
    assert len(sandbox.journal()) == len(lines) + 2
    assert sandbox.stop() == 0


@pytest.mark.parametrize("option", ["--mailchimp-port", "--bitrix-port"])
def test_a_taken_port_is_named(sandbox: Sandbox, option: str) -> None:
    """It ends at once and says which option to change."""
    sandbox.keepers[option].listen()
    status, message = sandbox.fail()
    assert status == 1
    assert option in message


@pytest.mark.parametrize("name", ["--state", "--world", "--bitrix-port", "--bitrix-dsn"])
def test_a_missing_option_is_named(sandbox: Sandbox, name: str) -> None:
    """Every option of the process is needed."""
    position = sandbox.arguments.index(name)
    del sandbox.arguments[position : position + 2]
    status, message = sandbox.fail_here()
    assert status == 2
    assert name in message


@pytest.mark.parametrize("name", ["SANDBOX_MAILCHIMP_KEY", "SANDBOX_BITRIX_SECRET"])
def test_there_are_no_default_secrets(sandbox: Sandbox, name: str) -> None:
    """Without a key or a secret it does not start."""
    del sandbox.environment[name]
    status, message = sandbox.fail_here()
    assert status == 2
    assert name in message


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_every_service_wants_its_secrets(sandbox: Sandbox, twin: Twin) -> None:
    """A service with a port and without a key would let everybody in, or nobody."""
    for variable in twin.secrets.values():
        sandbox.environment.pop(variable, None)
    sandbox.listen_on(twin.option)
    status, message = sandbox.fail_here()
    assert status == 2
    assert all(variable in message for variable in twin.secrets.values())


def test_all_services_at_once(sandbox: Sandbox) -> None:
    """Each answers on its port, keeps a file of its own, and is in the one log."""
    ports = {twin.name: sandbox.listen_on(twin.option) for twin in TWINS[1:]}
    for twin in TWINS[1:]:
        sandbox.environment |= dict.fromkeys(twin.secrets.values(), "0123456789abcdef0123456789abcdef")
    sandbox.start()
    for port in ports.values():
        assert requests.get(f"http://127.0.0.1:{port}/api/v1/account/info", timeout=10).status_code != 200
    assert {line["service"] for line in sandbox.journal()} == set(ports)
    assert {path.stem for path in sandbox.state.glob("*.sqlite3")} == {twin.name for twin in TWINS}
    assert sandbox.stop() == 0


def test_a_world_it_cannot_read_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    """A missing and a nonsensical world.json."""
    world = tmp_path / "world.json"
    world.write_text('{"seed": 7}', encoding="utf-8")
    status, message = sandbox.fail_here()
    assert (status, "seed, scale and as_of" in message) == (1, True)
    world.unlink()
    status, message = sandbox.fail_here()
    assert (status, "world.json" in message) == (1, True)
    assert "Traceback" not in message


def test_another_world_is_not_mixed_in(sandbox: Sandbox, tmp_path: Path) -> None:
    """An account filled from one world refuses to start with another."""
    sandbox.start()
    assert sandbox.stop() == 0
    (tmp_path / "world.json").write_text(json.dumps(WORLD | {"seed": 8}), encoding="utf-8")
    status, message = sandbox.fail_here()
    assert status == 1
    assert "empty its state directory" in message


def test_a_site_that_does_not_answer_is_said(sandbox: Sandbox, site_dsn: str) -> None:
    """The password of the DSN does not show."""
    sandbox.arguments[sandbox.arguments.index(site_dsn)] = "mysql://u:hushhush@127.0.0.1:1/x"
    status, message = sandbox.fail_here()
    assert status == 1
    assert "cannot be reached" in message
    assert "hushhush" not in message
