"""What a Bitrix installation must be able to do to be copied; three transports do it.

`sql.py` reads the database of a self-hosted site (MySQL, MariaDB, PostgreSQL), `cloud.py` a Bitrix24 portal through
REST. The warehouse sees only this port: tables, key ranges, watermarks and Arrow batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column

ROW_HASH = "_row_hash"
ZEROED = "_zeroed"
"""Extra column of a stream: how many zero or impossible dates of the row became NULL."""

Mark = int | str | None
"""A watermark: a key, or a naive local time as `YYYY-MM-DD HH:MM:SS.ffffff`, or None when the table is empty."""
Marks = Mapping[str, Mark]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """`low <= range_by < high`; an open end is None. Rows without a value belong to the range without a low end."""

    low: int | None = None
    high: int | None = None

    @property
    def is_everything(self) -> bool:
        return self.low is None and self.high is None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Smallest and largest value of a whole-number column."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What one slice of a table adds up to. `total` is an order-free sum over keys or over row hashes."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that was there but could not be decoded: it goes to quarantine as it is."""

    key: str | None
    reason: str
    raw: Mapping[str, str]
    """Column -> hex of its bytes."""


class Rows(Iterator[pa.RecordBatch]):
    """A stream of batches: the entry's columns by lower-case name, `_row_hash` (int64) and `_zeroed` (int64)."""

    def __init__(self, batches: Iterator[pa.RecordBatch], unreadable: list[Unreadable] | None = None) -> None:
        """`unreadable` may be filled by `batches` as they pass."""
        self._batches = batches
        self.unreadable = [] if unreadable is None else unreadable
        """Rows that are in no batch; complete once the stream has ended."""

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)


class Source(Protocol):
    """One Bitrix installation. Every method may raise SourceError (or ApiError): reading failed, try again later."""

    @property
    def kind(self) -> str:
        """`mysql`, `postgresql` or `bitrix24`."""

    @property
    def timezone(self) -> ZoneInfo:
        """The zone of the site's naive times."""

    def columns(self, entry: TableEntry) -> tuple[Column, ...]:
        """The columns to copy, as they are now.

        Raises:
            TableMissing: the installation does not have the table.
            ContractError: one of its key columns is not there.
        """

    def bounds(self, entry: TableEntry) -> Bounds | None:
        """The extent of `entry.range_by`; None for an empty table or one without such a column."""

    def count(self, entry: TableEntry) -> int:
        """The table's number of rows."""

    def horizon(self, now: datetime) -> str:
        """The latest change time to believe: one mistyped year must not hold a cursor for ever."""

    def marks(
        self, entry: TableEntry, columns: Sequence[Column], *, now: datetime, but_cursor: bool = False
    ) -> dict[str, Mark]:
        """Where the source stands: the watermarks the next load starts from. Take them *before* reading.

        Args:
            but_cursor: leave out the entry's own change time, for a caller that sees it in the rows it reads.
        """

    def read_ranges(self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange]) -> Rows:
        """All rows of some key ranges (disjoint, ascending); `[KeyRange()]` is the whole table."""

    def read_changes(self, entry: TableEntry, columns: Sequence[Column], marks: Marks, *, now: datetime) -> Rows:
        """The rows that may have changed since `marks`, by the entry's own rules; each at most once."""

    def digests(
        self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange], *, width: int, whole_rows: bool
    ) -> dict[int, Digest] | None:
        """Slice number (`range_by` divided by `width`, towards zero) -> digest; empty slices are left out.

        None: this transport cannot compute it, and the rows have to be read to be compared.

        Args:
            whole_rows: sum the row hashes (finds silent edits) instead of the keys (finds deletes and gaps, cheap).
        """

    def acknowledge(self, entry: TableEntry) -> None:
        """Told once what was read of a table is committed; a source that notes changes for us may forget them then."""

    def close(self) -> None:
        """Lets go of connections."""
