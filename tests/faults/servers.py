"""Database servers of the fault tests' own: they are killed, so nobody else may use them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import psycopg
from tests.faults.tables import ROWS, SCHEMA
from tests.faults.writer import DSN_VARIABLE

from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Servers:
    """A MariaDB and a PostgreSQL that keeps its promises about commits."""

    mariadb: MariaDb
    postgres: EmbeddedPostgres

    def fresh_source(self) -> str:
        """The DSN of a new source database, filled."""
        name = f"site_{uuid.uuid4().hex[:10]}"
        admin = connect(self.mariadb.dsn)
        try:
            cursor = admin.cursor()
            for statement in (f"create database {name} character set utf8mb4", f"use {name}", *SCHEMA, *ROWS):
                cursor.execute(statement)
            admin.commit()
        finally:
            admin.close()
        return self.mariadb.dsn.rstrip("/") + f"/{name}"

    def fresh_warehouse(self) -> str:
        """The DSN of a new, migrated warehouse database."""
        dsn = self.postgres.ensure_database(f"warehouse_{uuid.uuid4().hex[:10]}")
        migrate(dsn)
        return dsn

    def cloned_warehouse(self, template: str) -> str:
        """The DSN of a copy of a warehouse database that nobody uses."""
        name = f"warehouse_{uuid.uuid4().hex[:10]}"
        with psycopg.connect(self.postgres.dsn(), autocommit=True) as admin:
            admin.execute(f"create database {name} template {template} strategy wal_log")
        return self.postgres.dsn(name)

    def drop(self, source_dsn: str, warehouse_dsn: str) -> None:
        """Drops both databases, whoever still uses them."""
        with psycopg.connect(self.postgres.dsn(), autocommit=True) as admin:
            admin.execute(f"drop database {warehouse_dsn.rpartition('/')[2]} with (force)")
        source = connect(self.mariadb.dsn)
        try:
            source.cursor().execute(f"drop database {source_dsn.rpartition('/')[2]}")
        finally:
            source.close()

    def kill_mariadb(self) -> None:
        """SIGKILL, and waits until it is gone. `mariadb.start()` brings it back on the same port."""
        process = self.mariadb._process
        assert process is not None
        process.kill()
        process.wait()

    def restart_mariadb(self) -> None:
        """Killed, and back at once."""
        self.kill_mariadb()
        self.mariadb.start()

    def restart_postgres(self) -> None:
        """Killed, and back at once."""
        self.kill_postgres()
        self.postgres.start()

    def free_files(self) -> None:
        """Lets files grow again after `limit_files`, and starts the server when it has given up."""
        deadline = time.monotonic() + 60
        while True:
            if self.postgres.is_running():
                limit_files(self.postgres, None)
            else:
                self.postgres.start()
            if answers(self.postgres.dsn()):
                return
            assert time.monotonic() < deadline, "PostgreSQL does not come back"
            time.sleep(0.2)

    def kill_postgres(self) -> None:
        """SIGKILL for the server and all its processes, and waits until they are gone."""
        kill_postgres(self.postgres)


def kill_postgres(server: EmbeddedPostgres) -> None:
    """SIGKILL for a server and all its processes, and waits until they are gone. `start()` brings it back."""
    postmaster = _postmaster(server.data_dir)
    family = [postmaster, *children(postmaster)]
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(family)


@contextmanager
def servers(directory: Path) -> Iterator[Servers]:
    """Both servers, started in `directory` and stopped afterwards."""
    # PostgreSQL would choose another port at every start.
    postgres = EmbeddedPostgres(directory / "postgres", port=free_port())
    mariadb = MariaDb(directory / "mariadb")
    try:
        postgres.start()
        mariadb.start()
        yield Servers(mariadb, postgres)
    finally:
        mariadb.stop()
        postgres.stop()


@contextmanager
def writing(source_dsn: str, *, seed: int, silent: bool = False, pause: float = 0.005) -> Iterator[None]:
    """A writer at work in a process of its own; afterwards everything it began is decided."""
    command = [sys.executable, "-m", "tests.faults.writer", "--seed", str(seed), "--pause", str(pause)]
    process = subprocess.Popen(
        [*command, *(["--silent"] if silent else [])],
        cwd=_REPOSITORY,
        env={**os.environ, DSN_VARIABLE: source_dsn, "PYTHONPATH": f"{_REPOSITORY / 'include'}:{_REPOSITORY}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", "the writer does not begin"
        yield
    finally:
        process.terminate()
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 0, f"the writer ended with {process.returncode}: {errors.decode()[-2000:]}"
        assert said.startswith(b"{"), said


@contextmanager
def small_disk(directory: Path, size_mb: int) -> Iterator[str]:
    """Mounts a disk of `size_mb` over `directory`; says which kind of limit it is.

    Where mounting is not allowed the directory is yielded as it is, and `limit_files` has to do.
    """
    directory.mkdir(parents=True, exist_ok=True)
    is_mounted = os.geteuid() == 0 and _run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(directory))
    try:
        yield "a full disk" if is_mounted else "a limit on file sizes"
    finally:
        if is_mounted:
            _run("umount", "--lazy", str(directory))


def fill_disk(directory: Path, *, leave_mb: float) -> Path:
    """Puts a file on the disk that leaves so much room; remove it to get it back."""
    ballast = directory / "ballast"
    size = shutil.disk_usage(directory).free - int(leave_mb * 1024 * 1024)
    with ballast.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, size)
    return ballast


def limit_files(server: EmbeddedPostgres, size_mb: int | None) -> None:
    """No file of a running server may grow beyond `size_mb` (None: any size); every write beyond it fails."""
    size = "unlimited" if size_mb is None else str(size_mb * 1024 * 1024)
    with contextlib.suppress(FileNotFoundError):
        postmaster = _postmaster(server.data_dir)
        account = pwd.getpwnam(server.data_dir.owner())
        for pid in (postmaster, *children(postmaster)):
            # As the server's own user: root may lack the capability to do it for others. It may have ended meanwhile.
            subprocess.run(
                ["prlimit", f"--pid={pid}", f"--fsize={size}:"],
                check=False,
                capture_output=True,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[] if os.geteuid() == 0 else None,
            )


def through(dsn: str, port: int) -> str:
    """The DSN with another port."""
    parts = urlsplit(dsn)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))


def answers(dsn: str) -> bool:
    """Whether a PostgreSQL answers there."""
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> None:
    """Waits for the end of processes, zombies included."""
    deadline = time.monotonic() + seconds
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a killed process is still there"
        time.sleep(0.02)


def _postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])


def children(pid: int) -> list[int]:
    """Ids of the processes that a process started and that are not collected yet."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(_stat(status)[1]) == pid:
                found.append(int(status.parent.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        return _stat(Path(f"/proc/{pid}/stat"))[0] != "Z"
    except OSError:
        return False


def _stat(path: Path) -> list[str]:
    """State, parent and so on; the name before them may hold anything."""
    return path.read_text(encoding="utf-8").rpartition(")")[2].split()


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast(int, probe.getsockname()[1])
