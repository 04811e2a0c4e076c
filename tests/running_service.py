"""A sandbox service that runs with its faults and its journal."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import requests


class RunningService:
    """What every such service can be asked, whatever it stands for."""

    secret: ClassVar[str]

    def __init__(self, base: str, journal: Path) -> None:
        self.base = base
        self._journal = journal

    def fault(self, kind: str, **how: Any) -> None:
        """Orders a fault; see `lettertrail.sandbox.faults`."""
        order = {"kind": kind, **how}
        answer = requests.post(f"{self.base}/_sandbox/faults", json=order, auth=("any", self.secret), timeout=5)
        assert answer.ok, answer.text

    def mend(self) -> None:
        """Takes back the faults that still wait."""
        assert requests.delete(f"{self.base}/_sandbox/faults", auth=("any", self.secret), timeout=5).ok

    def lines(self) -> list[dict[str, Any]]:
        """Every request the service received."""
        text = self._journal.read_text(encoding="utf-8") if self._journal.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def writes(self) -> list[dict[str, Any]]:
        """Those that ask for a change."""
        return [line for line in self.lines() if line["is_write"]]


class RunningAccount(RunningService):
    """An account of an ESP, with a clock of its own."""

    def __init__(self, base: str, journal: Path, clock: SimpleNamespace) -> None:
        super().__init__(base, journal)
        self.clock = clock

    def later(self, **delta: float) -> None:
        """Lets the service's clock go on."""
        self.clock.now += timedelta(**delta)
