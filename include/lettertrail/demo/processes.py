"""Starts programs that outlive this process, finds them again, and stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lettertrail.errors import ConfigurationError

STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """Something to keep running; `environment` is added to ours."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Supervisor:
    """Remembers each program by process id and start time, so that a reused id is never mistaken for ours."""

    def __init__(self, run_dir: Path, log_dir: Path) -> None:
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log_path(self, name: str) -> Path:
        """Where the program's output goes."""
        return self._log_dir / f"{name}.log"

    def is_running(self, name: str) -> bool:
        """Whether the program started under that name is still alive."""
        return self._pid(name) is not None

    def ensure(self, program: Program) -> bool:
        """Starts the program unless it runs; says whether it had to be started."""
        if self.is_running(program.name):
            return False
        with self.log_path(program.name).open("ab") as log:
            process = subprocess.Popen(
                list(program.command),
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[program.name] = process
        record = {"pid": process.pid, "started": _start_time(process.pid)}
        self._pid_file(program.name).write_text(json.dumps(record), encoding="utf-8")
        return True

    def require(self, name: str) -> None:
        """Fails when the program has ended.

        Raises:
            ConfigurationError: with the last lines it printed and where the rest is.
        """
        if not self.is_running(name):
            log = self.log_path(name)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise ConfigurationError(
                f"{name} has stopped; its last words:\n" + "\n".join(lines) + f"\n(all of it: {log})"
            )

    def stop(self, name: str) -> bool:
        """Asks the program's whole session to end, insists after a while; says whether there was anything to stop."""
        pid = self._pid(name)
        if pid is None:
            self._pid_file(name).unlink(missing_ok=True)
            return False
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.is_running(name) and time.monotonic() < deadline:
            time.sleep(0.1)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self._pid_file(name).unlink(missing_ok=True)
        return True

    def _pid_file(self, name: str) -> Path:
        return self._run_dir / f"{name}.pid"

    def _pid(self, name: str) -> int | None:
        if name in self._children:
            self._children[name].poll()  # a child that has ended stays in the process table until it is asked after
        try:
            record = json.loads(self._pid_file(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        pid = int(record["pid"])
        return pid if record["started"] is not None and _start_time(pid) == record["started"] else None


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process began (proc(5), field 22); None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] == "Z" else int(after_name[19])
