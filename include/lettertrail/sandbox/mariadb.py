"""A MariaDB server of our own for the sample site: its own data directory, port and root password.

    server = MariaDb(Path(".lettertrail/mariadb"))       # or MariaDb(path, port=3307)
    server.start()                                       # makes the data directory the first time
    server.dsn                                           # mysql://root:…@127.0.0.1:<port>/
    server.dsn_for("bitrix", password, "sitemanager")
    server.stop()

`MariaDb` is also a context manager. A second process may build `MariaDb` on the same directory: `start()` then finds
the running server and uses it, `stop()` stops it.

Beside the data directory (never in it) lie `<name>.server.json` (0600: port, process id, root password), `<name>.log`
and `<name>.tmp`. When started as root the server runs as the user `mysql` (or `nobody`), and every parent directory
that this user cannot pass gets the search bit for others, as the embedded Postgres of the same demo also needs.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import MySQLdb
from MySQLdb.connections import Connection

from lettertrail.errors import ConfigurationError

log = logging.getLogger(__name__)

START_SECONDS = 60.0
STOP_SECONDS = 60.0
SERVER_OPTIONS = (
    # Small, and quick to load: a second of commits may be lost in a power cut, which a sample can bear.
    "--innodb-buffer-pool-size=256M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-log-file-size=256M",
    "--key-buffer-size=8M",
    "--aria-pagecache-buffer-size=16M",
    "--performance-schema=OFF",
    "--max-connections=80",
    "--max-allowed-packet=64M",
    "--skip-name-resolve",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_ci",
    # Bitrix asks for an empty sql_mode and sets the session zone to PHP's (bitrix.md 5).
    "--sql-mode=",
)


@dataclass(frozen=True, slots=True)
class _Running:
    port: int
    pid: int


class MariaDb:
    """One mariadbd on 127.0.0.1 over one data directory."""

    def __init__(self, datadir: Path, port: int | None = None, *, time_zone: str = "+03:00") -> None:
        """`port` None means a free one, kept for later starts while it stays free; `time_zone` is the site's offset."""
        self.datadir = Path(datadir).absolute()
        self.time_zone = time_zone
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._running: _Running | None = None

    @property
    def log_path(self) -> Path:
        """What the server says."""
        return self.datadir.with_name(f"{self.datadir.name}.log")

    @property
    def port(self) -> int:
        """The port, once started.

        Raises:
            ConfigurationError: before `start()`.
        """
        if self._running is None:
            raise ConfigurationError("the sample MariaDB has not been started")
        return self._running.port

    @property
    def dsn(self) -> str:
        """`mysql://root:<password>@127.0.0.1:<port>/`, once started."""
        return self.dsn_for("root", self._password(), "")

    def dsn_for(self, user: str, password: str, database: str = "sitemanager") -> str:
        """A URL for another user and database of this server."""
        return make_dsn(user, password, host="127.0.0.1", port=self.port, database=database)

    def start(self) -> MariaDb:
        """Starts the server, or finds it running; returns when it answers.

        Raises:
            ConfigurationError: when mariadbd is not installed, the port is taken, or the server does not come up.
        """
        running = self._find_running()
        if running is not None:
            self._running = running
            return self
        _require("mariadbd")
        if not self.datadir.exists():
            self._create()
        _open_the_way_to(self.datadir)
        for stale in ("mariadb.pid", "mariadb.sock"):
            (self.datadir / stale).unlink(missing_ok=True)
        port = self._choose_port()
        began = time.monotonic()
        self._process = self._launch(port)
        self._running = _Running(port, self._process.pid)
        self._wait_until_ready()
        self._remember(port=port, pid=self._process.pid)
        log.info("MariaDB answers on port %d after %.1f s", port, time.monotonic() - began)
        return self

    def stop(self) -> None:
        """Stops the server, also when another process started it. Nothing happens when it does not run."""
        running = self._running or self._find_running()
        if running is None:
            return
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_alive(running.pid):
            if time.monotonic() > deadline:
                os.kill(running.pid, signal.SIGKILL)
                deadline += STOP_SECONDS
            time.sleep(0.05)
        self._process = None
        self._running = None
        log.info("MariaDB on port %d stopped", running.port)

    def __enter__(self) -> MariaDb:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the note beside the data directory ---

    @property
    def _note_path(self) -> Path:
        return self.datadir.with_name(f"{self.datadir.name}.server.json")

    def _note(self) -> dict[str, Any]:
        if not self._note_path.exists():
            return {}
        return dict(json.loads(self._note_path.read_text(encoding="utf-8")))

    def _remember(self, **facts: object) -> None:
        note = self._note() | facts
        draft = self._note_path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(note, out)
        draft.replace(self._note_path)

    def _password(self) -> str:
        password = self._note().get("password")
        if not password:
            raise ConfigurationError(
                f"{self._note_path.name} beside the MariaDB data directory is missing, and with it the root password; "
                f"remove {self.datadir.name} to begin again"
            )
        return str(password)

    # --- starting ---

    def is_running(self) -> bool:
        """Whether the server of this directory is alive, whoever started it."""
        return self._find_running() is not None

    def _find_running(self) -> _Running | None:
        note = self._note()
        port, pid = note.get("port"), note.get("pid")
        if not self.datadir.exists() or not port or not pid or not self._is_alive(int(pid)):
            return None
        running = _Running(int(port), int(pid))
        return running if self._answers(running.port) else None

    def _create(self) -> None:
        """Initialises beside the final place and renames, so that a killed start leaves no half-made directory."""
        _require("mariadb-install-db")
        self.datadir.parent.mkdir(parents=True, exist_ok=True)
        draft = self.datadir.with_name(f"{self.datadir.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        _make_server_directory(draft)
        _open_the_way_to(draft)
        password = secrets.token_urlsafe(24)
        self._run_once(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={draft}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
            draft,
        )
        # install-db leaves root without a password; nobody may ever reach that state over a socket.
        script = [
            "FLUSH PRIVILEGES",
            "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys'",
            "FLUSH PRIVILEGES",
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{password}'",
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
        ]
        self._run_once(
            ["mariadbd", "--no-defaults", "--bootstrap", f"--datadir={draft}"],
            draft,
            stdin=";\n".join(script) + ";\n",
        )
        self._remember(password=password)
        draft.rename(self.datadir)

    def _run_once(self, command: list[str], directory: Path, *, stdin: str | None = None) -> None:
        done = subprocess.run(
            command,
            cwd=directory,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            **_as_server_user(),
        )
        with self.log_path.open("a", encoding="utf-8") as out:
            out.write(done.stdout + done.stderr)
        if done.returncode != 0:
            raise ConfigurationError(f"{command[0]} failed; see {self.log_path.name}: {_tail(self.log_path)}")

    def _environment(self) -> dict[str, str]:
        """With a TMPDIR of our own: a starting mariadbd deletes every server's temporary tables in its TMPDIR."""
        temporary = self.datadir.with_name(f"{self.datadir.name}.tmp")
        if not temporary.exists():
            _make_server_directory(temporary)
        return os.environ | {"TMPDIR": str(temporary)}

    def _choose_port(self) -> int:
        if self._wanted_port is not None:
            if not _is_free(self._wanted_port):
                raise ConfigurationError(f"port {self._wanted_port} for the sample MariaDB is taken")
            return self._wanted_port
        last = self._note().get("port")
        if last and _is_free(int(last)):
            return int(last)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        command = [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.datadir}",
            # Relative to the data directory: an absolute path may be longer than a socket name can be.
            "--socket=mariadb.sock",
            "--pid-file=mariadb.pid",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--default-time-zone={self.time_zone}",
            *SERVER_OPTIONS,
        ]
        with self.log_path.open("ab") as out:
            return subprocess.Popen(
                command,
                cwd=self.datadir,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **_as_server_user(),
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(self.port):
            status = self._process.poll() if self._process is not None else None
            if status is not None:
                self._running = None
                raise ConfigurationError(f"mariadbd ended with status {status}: {_tail(self.log_path)}")
            if time.monotonic() > deadline:
                self.stop()
                raise ConfigurationError(f"mariadbd did not answer in time: {_tail(self.log_path)}")
            time.sleep(0.1)

    def _answers(self, port: int) -> bool:
        """Whether *our* server answers there: it must know our password and use our directory."""
        dsn = make_dsn("root", self._password(), host="127.0.0.1", port=port, database="")
        try:
            connection = connect(dsn)
        except MySQLdb.OperationalError:
            return False
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT @@datadir")
            return Path(str(cursor.fetchone()[0])).resolve() == self.datadir.resolve()
        finally:
            connection.close()

    def _is_alive(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _is_mariadbd(pid)


def make_dsn(user: str, password: str, *, host: str, port: int, database: str) -> str:
    """`mysql://user:password@host:port/database`, percent-encoded."""
    return f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(database, safe='')}"


def connect(dsn: str, *, database: str | None = None, local_infile: bool = False) -> Connection:
    """A MySQLdb connection to a `mysql://` URL, in utf8mb4 and with an empty sql_mode as Bitrix asks for.

    Raises:
        ConfigurationError: when the URL is not one of ours.
        MySQLdb.OperationalError: when the server refuses.
    """
    parts = urlsplit(dsn)
    if parts.scheme not in {"mysql", "mariadb"} or not parts.hostname:
        raise ConfigurationError("a MariaDB address looks like mysql://user:password@host:port/database")
    options: Mapping[str, Any] = {"local_infile": 1} if local_infile else {}
    return MySQLdb.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        passwd=unquote(parts.password or ""),
        db=database if database is not None else unquote(parts.path.lstrip("/")),
        charset="utf8mb4",
        sql_mode="",
        connect_timeout=10,
        **options,
    )


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise ConfigurationError(f"{program} is not installed; on Debian: apt-get install mariadb-server")


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError("MariaDB must not run as root, and there is no user mysql or nobody to run it as")


def _make_server_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    user = _server_user()
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)


def _open_the_way_to(directory: Path) -> None:
    """Lets the server's user pass the parent directories, when that user is not us."""
    if _server_user() is None:
        return
    for parent in directory.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            log.info("%s gets the search bit for others, so that the database user can pass", parent.name)
            parent.chmod(mode | stat.S_IXOTH)


def _as_server_user() -> dict[str, Any]:
    user = _server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_mariadbd(pid: int) -> bool:
    """Process ids are used again; a stale note must not make us stop a stranger. A zombie has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name in {"mariadbd", "mysqld"} and not rest.lstrip().startswith("Z")


def _tail(path: Path, lines: int = 5) -> str:
    if not path.exists():
        return "(no log)"
    return " | ".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
