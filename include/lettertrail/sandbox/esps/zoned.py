"""What the accounts of SendPulse and eSputnik have in common: times without a zone, and answers of either kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from lettertrail.clock import Clock, system_clock
from lettertrail.sandbox.state import SqliteState


class ZonedState(SqliteState):
    """An account whose service writes naive times in the zone that its owner chose."""

    usual_zone: ClassVar[str]
    spelling: ClassVar[str]
    """Of a time in answers, for `strftime`."""
    settings: ClassVar[Mapping[str, tuple[str, ...]]]
    """Answers of the service that are both seen in the wild: the choices by name, the usual one first."""

    def __init__(self, path: Path | str, *, clock: Clock = system_clock, timezone: ZoneInfo | None = None) -> None:
        super().__init__(path, clock=clock)
        self.timezone = timezone or ZoneInfo(self.usual_zone)

    def now(self) -> str:
        """The current time as the store keeps it: UTC, sorts as text."""
        return stored(self.moment)

    def local(self, text: str) -> str:
        """A stored time as the service writes it."""
        return datetime.fromisoformat(text).astimezone(self.timezone).strftime(self.spelling)

    def configure(self, **chosen: str) -> None:
        """Chooses among the `settings`; a restart keeps it.

        Raises:
            ValueError: for an unknown setting or value.
        """
        for name, value in chosen.items():
            if value not in self.settings.get(name, ()):
                raise ValueError(f"{name} cannot be {value!r}")
            self.remember(f"setting {name}", value)

    def setting(self, name: str) -> str:
        """What was chosen, or the usual value."""
        return self.fact(f"setting {name}") or self.settings[name][0]


def stored(moment: datetime) -> str:
    """The store's spelling of a time; an aware one is needed."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
