"""The receiver as a process of its own, with workers that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.servers import children, free_port

_REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class Receiver:
    """A running `python -m lettertrail.inbox`."""

    environ: Mapping[str, str]
    workers: int
    port: int
    process: subprocess.Popen[bytes]

    def worker_ids(self) -> list[int]:
        """Processes that serve: with one worker it is the only process."""
        if self.workers == 1:
            return [self.process.pid]
        return [pid for pid in children(self.process.pid) if b"spawn_main" in _command(pid)]

    def kill_worker(self, nth: int = 0) -> None:
        """SIGKILL for one worker. Of several, the supervisor starts another; an only one is started again here."""
        workers = self.worker_ids()
        os.kill(workers[nth % len(workers)], signal.SIGKILL)
        if self.workers == 1:
            self.process.wait()
            self.process = _start(self.environ, self.workers, self.port)


@contextmanager
def receiver(dsn: str, *, accounts: str, url: str, workers: int, log: Path) -> Iterator[Receiver]:
    """Starts it, waits until it answers, and stops it afterwards; what it says goes to `log`."""
    environ = {
        **os.environ,
        "PYTHONPATH": f"{_REPOSITORY / 'include'}:{_REPOSITORY}",
        "LETTERTRAIL_INBOX_DSN": dsn,
        "LETTERTRAIL_INBOX_ACCOUNTS": accounts,
        "LETTERTRAIL_INBOX_URL": url,
        "LETTERTRAIL_BENCH_LOG": str(log),
    }
    port = free_port()
    running = Receiver(environ, workers, port, _start(environ, workers, port))
    try:
        wait_until_up(port)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=30)


def wait_until_up(port: int, seconds: float = 60.0) -> None:
    """Until something answers HTTP there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < deadline, "the receiver does not come up"
            time.sleep(0.05)


def _start(environ: Mapping[str, str], workers: int, port: int) -> subprocess.Popen[bytes]:
    with Path(environ["LETTERTRAIL_BENCH_LOG"]).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lettertrail.inbox", "--port", str(port), "--workers", str(workers)],
            cwd=_REPOSITORY,
            env=dict(environ),
            stdout=log,
            stderr=log,
        )


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""
