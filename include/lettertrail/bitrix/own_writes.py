"""Every write to a card moves its time of change; whoever reads that time must be able to tell ours from others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

CHANGED = "DATE_MODIFY"
"""The field of a card with its time of change (bitrix.md 2.3)."""


class OwnWrites(Protocol):
    """Remembers which changes of cards were ours. Times are as the portal spells them, ISO 8601 with offset."""

    def before(self, entity: str, changed: Mapping[str, str]) -> None:
        """Card id → its time of change, before we write to it."""
        ...

    def after(self, entity: str, changed: Mapping[str, str]) -> None:
        """Card id → its time of change, when our last write to it is known to be done."""
        ...
