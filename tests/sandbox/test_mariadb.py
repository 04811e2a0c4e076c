"""The server of our own starts, stops, starts again, and is nobody else's."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import MySQLdb
import pytest

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.mariadb import MariaDb, connect, make_dsn


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place that the database user can reach, outside pytest's private directories."""
    with tempfile.TemporaryDirectory(prefix="lettertrail-mariadb-") as made:
        yield Path(made)


def test_a_second_start_finds_the_data_despite_what_a_crash_left(directory: Path) -> None:
    """Stale socket and pid files do not stop a second start; the data and the password are still there."""
    server = MariaDb(directory / "data").start()
    with connect(server.dsn) as connection:
        connection.cursor().execute("CREATE DATABASE kept")
    server.stop()
    (directory / "data" / "mariadb.sock").touch()
    (directory / "data" / "mariadb.pid").write_text("999999\n", encoding="utf-8")
    with MariaDb(directory / "data") as again, connect(again.dsn) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW DATABASES LIKE 'kept'")
        assert cursor.fetchone() == ("kept",)


def test_another_process_can_use_and_stop_a_running_server(directory: Path) -> None:
    """A second object on the same directory finds the server; after its stop the port is free."""
    first = MariaDb(directory / "data").start()
    second = MariaDb(directory / "data").start()
    assert second.dsn == first.dsn
    second.stop()
    with pytest.raises(MySQLdb.OperationalError):
        connect(first.dsn)
    first.stop()


def test_the_server_is_reachable_here_only_and_with_a_password_only(mariadb: MariaDb) -> None:
    """It listens on 127.0.0.1, refuses root without password, runs as an ordinary user and hides its note."""
    with pytest.raises(MySQLdb.OperationalError):
        connect(make_dsn("root", "", host="127.0.0.1", port=mariadb.port, database=""))
    with connect(mariadb.dsn) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT @@bind_address, @@pid_file, @@local_infile, @@sql_mode")
        address, pid_file, local_infile, sql_mode = cursor.fetchone()
        cursor.execute("SELECT COUNT(*) FROM mysql.user WHERE User = '' OR (User = 'root' AND Host <> '127.0.0.1')")
        assert cursor.fetchone() == (0,)
    assert (address, local_infile, sql_mode) == ("127.0.0.1", 1, "")
    pid = int((mariadb.datadir / Path(pid_file).name).read_text(encoding="utf-8"))
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    note = mariadb.datadir.with_name(f"{mariadb.datadir.name}.server.json")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600


def test_a_taken_port_is_named(directory: Path) -> None:
    """Asked for a port that somebody has, it says so instead of starting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            MariaDb(directory / "data", port=port).start()


def test_a_missing_server_program_names_the_package(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mariadbd on PATH the error names the Debian package."""
    monkeypatch.setenv("PATH", os.fspath(directory))
    with pytest.raises(ConfigurationError, match="mariadb-server"):
        MariaDb(directory / "data").start()


def test_passwords_survive_the_address() -> None:
    """Characters that mean something in a URL are encoded."""
    dsn = make_dsn("user", "p@ss/w:rd", host="db.example", port=3307, database="sitemanager")
    assert dsn == "mysql://user:p%40ss%2Fw%3Ard@db.example:3307/sitemanager"
    with pytest.raises(ConfigurationError, match="mysql://"):
        connect("postgresql://user@host/db")
