"""What a push needs of a destination. Every `Esp` adapter has it, and so has `BitrixRest`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from lettertrail.esps.port import Call, Endpoint, Outcome, Record


class Writer(Protocol):
    """Somewhere records are written."""

    @property
    def name(self) -> str:
        """The kind of service, as in `raw_esp`: `mailchimp`, `bitrix`."""
        ...

    @property
    def account(self) -> str:
        """Which account of it: the connection's id."""
        ...

    def calls(self) -> list[Call]:
        """The write calls since this was last asked; no address in any path."""
        ...


class Destination(Writer, Protocol):
    """Somewhere people can be marked as not to be mailed."""

    def suppressed(self) -> Iterator[str]:
        """Keys of the records the destination already refuses to mail."""
        ...

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """One outcome per record; a record the destination does not have is `already_ok`."""
        ...


@runtime_checkable
class Releases(Destination, Protocol):
    """A destination whose mark can be taken back: the CRM. An ESP's cannot, by design."""

    def release(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """One outcome per record."""
        ...


@runtime_checkable
class TakesAttributes(Protocol):
    """A destination that stores a segment's extra columns; others get a record's key only."""

    sends_attributes: bool
    """True when `add_members` sends `Record.attributes` along, also for who is a member already."""


@runtime_checkable
class TellsCalls(Protocol):
    """A destination that says where its writes go, so that a plan can be shown as calls."""

    @property
    def endpoints(self) -> Mapping[str, tuple[Endpoint, ...]]:
        """By what is asked of it: `suppress`, `release`, `add`, `add_bare`, `remove`."""
        ...


class AudienceDestination(Destination, Protocol):
    """Somewhere with named audiences."""

    def members(self, audience: str) -> Iterator[str]:
        """Keys of the members; none when there is no such audience yet."""
        ...

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """One outcome per record."""
        ...

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """One outcome per record."""
        ...
