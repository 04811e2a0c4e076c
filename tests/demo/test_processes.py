"""Programs that outlive the command that started them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lettertrail.demo.processes import Program, Supervisor
from lettertrail.errors import ConfigurationError

SLEEPER = Program("sleeper", [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], {})


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose program ends with the test."""
    ours = Supervisor(tmp_path, tmp_path)
    yield ours
    ours.stop("sleeper")


def test_a_program_is_started_once(supervisor: Supervisor) -> None:
    """A second `ensure` finds it running."""
    assert supervisor.ensure(SLEEPER) is True
    assert supervisor.ensure(SLEEPER) is False
    assert supervisor.is_running("sleeper")


def test_another_supervisor_finds_it(supervisor: Supervisor, tmp_path: Path) -> None:
    """What one command started, another one sees and stops."""
    supervisor.ensure(SLEEPER)
    assert Supervisor(tmp_path, tmp_path).stop("sleeper") is True
    assert not supervisor.is_running("sleeper")


def test_a_reused_process_id_is_not_ours(supervisor: Supervisor, tmp_path: Path) -> None:
    """The start time tells a stranger with our old id apart, so that stop never kills it."""
    supervisor.ensure(SLEEPER)
    pid_file = tmp_path / "sleeper.pid"
    record = json.loads(pid_file.read_text(encoding="utf-8"))
    pid_file.write_text(json.dumps({**record, "started": record["started"] - 1}), encoding="utf-8")
    assert not supervisor.is_running("sleeper")
    pid_file.write_text(json.dumps(record), encoding="utf-8")


def test_last_words_are_told(supervisor: Supervisor) -> None:
    """A program that died says why, in the error."""
    dying = Program("sleeper", [sys.executable, "-c", "print('the port is taken')"], {})
    supervisor.ensure(dying)
    deadline = time.monotonic() + 10
    while supervisor.is_running("sleeper") and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ConfigurationError, match="the port is taken"):
        supervisor.require("sleeper")
