"""The embedded PostgreSQL server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.embedded import EmbeddedPostgres


@pytest.fixture
def server(server_dir: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """A stopped server that is stopped again afterwards."""
    server = EmbeddedPostgres(server_dir / request.node.name, durable=False)
    yield server
    server.stop()


def test_data_survives_a_restart(server: EmbeddedPostgres) -> None:
    """Stopped and started again, the server holds what it held, with the same password."""
    server.start()
    dsn = server.ensure_database("warehouse")
    with psycopg.connect(dsn) as connection:
        connection.execute("create table kept as select 'Привет 😀' as word")
    server.stop()
    server.start()
    server.start()
    with psycopg.connect(server.ensure_database("warehouse")) as connection:
        assert connection.execute("select word, upper(word) from kept").fetchone() == (
            "Привет 😀",
            "ПРИВЕТ 😀",
        )


def test_another_handle_finds_the_running_server(server: EmbeddedPostgres) -> None:
    """The demo's later commands are other processes: they reach the server by its directory alone."""
    server.start()
    other = EmbeddedPostgres(server.data_dir)
    assert other.port == server.port
    psycopg.connect(other.dsn()).close()
    other.stop()
    with pytest.raises(ConfigurationError, match="not running"):
        _ = EmbeddedPostgres(server.data_dir).port


def test_a_killed_server_that_nobody_buried_is_started_again(server: EmbeddedPostgres) -> None:
    """A zombie still has its process id; neither we nor PostgreSQL may take it for a running server."""
    server.start()
    pid_file = server.data_dir / "postmaster.pid"
    lines = pid_file.read_text(encoding="utf-8").splitlines()
    server.stop()
    zombie = subprocess.Popen(["true"], user=server.data_dir.owner())
    try:
        time.sleep(0.2)
        pid_file.write_text("\n".join([str(zombie.pid), *lines[1:]]), encoding="utf-8")
        shutil.chown(pid_file, server.data_dir.owner(), server.data_dir.group())
        assert not server.is_running()
        server.start()
        psycopg.connect(server.dsn()).close()
    finally:
        zombie.wait()


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    """TCP logins are checked, also from this machine."""
    server.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")


def test_a_taken_port_is_named(server_dir: Path) -> None:
    """Two installations must not end up on one port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            EmbeddedPostgres(server_dir / "taken", port).start()
