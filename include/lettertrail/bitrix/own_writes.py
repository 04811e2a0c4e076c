"""Every write to a card moves its time of change; whoever reads that time must be able to tell ours from others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

CHANGED = "DATE_MODIFY"
"""The field of a card with its time of change (bitrix.md 2.3)."""


class OwnWrites(Protocol):
    """Remembers which changes of cards were ours. Times are as the portal spells them, ISO 8601 with offset."""

    def before(self, entity: str, changed: Mapping[str, str | None]) -> None:
        """Card id → its time of change, before we write to it."""
        ...

    def after(self, entity: str, changed: Mapping[str, str | None]) -> None:
        """Card id → its time of change, when our last write to it is known to be done."""
        ...


def changed_at(card: Mapping[str, Any]) -> str | None:
    """When the card was last changed, as REST says it; None when it says nothing, as of cards put in by SQL."""
    said = card.get(CHANGED)
    return str(said) if said else None
