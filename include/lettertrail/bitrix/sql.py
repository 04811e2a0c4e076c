"""Reads a self-hosted Bitrix site's database: MySQL, MariaDB or PostgreSQL, read-only, in short statements.

Every query is one statement of its own (no open snapshot: an open one would make a site's `ALTER TABLE` wait, and every
query behind it), and large reads are cut into statements of a fraction of a second. What servers do differently is in
`mysql.py` and `postgres.py`; connections and the watch over them in `sessions.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import pyarrow as pa

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.decode import as_promised, decoded
from lettertrail.bitrix.dialect import Dialect, Trouble
from lettertrail.bitrix.mysql import MySql
from lettertrail.bitrix.pieces import Pace, Pieces
from lettertrail.bitrix.port import ROW_HASH, Bounds, Digest, KeyRange, Mark, Marks, Rows, Unreadable
from lettertrail.bitrix.postgres import Postgres
from lettertrail.bitrix.sessions import Connections, Patience, Place
from lettertrail.bitrix.statements import TIME, Statements, checked_table, mark_name, tables_of
from lettertrail.errors import ConfigurationError, ContractError, SourceError, TableMissing

log = logging.getLogger(__name__)

FIRST_KEYS = 10_000
PIECE_ROWS = 50_000
PIECE_BYTES = 16 * 2**20
"""A piece of a read is held in memory, and the next one while it is handed on."""
MOST_ROWS = 2 * PIECE_ROWS
"""Of one statement: where keys lie closer than they did so far, it is repeated with fewer."""
DIGEST_KEYS = 500_000
DIGEST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Read:
    """A read of one table: the statement for some key ranges."""

    entry: TableEntry
    columns: Sequence[Column]
    tables: frozenset[str]
    statement: Callable[[Sequence[KeyRange], int | None, bool], str]
    """Ranges, most rows, as bytes -> SQL."""


class SqlSource:
    """One Bitrix database.

    Args:
        dsn: `mysql://user:password@host:port/database` or `postgresql://…`, percent-encoded.
        timezone: the zone of the site's naive times.
        statement_timeout_seconds: after which the server itself ends a statement.
        max_connections: in use at a time by this process.
        patience: towards those who wait for our reads.
    """

    def __init__(
        self,
        dsn: str,
        timezone: ZoneInfo,
        *,
        statement_timeout_seconds: int = 900,
        max_connections: int = 4,
        patience: Patience | None = None,
    ) -> None:
        self._dialect, place = _dialect(dsn)
        self.database = place.database
        self._timezone = timezone
        self._statements = Statements(self._dialect, timezone)
        self._connections = Connections(
            self._dialect,
            dsn,
            place,
            most=max_connections,
            statement_seconds=statement_timeout_seconds,
            patience=patience or Patience(),
        )

    @property
    def kind(self) -> str:
        return self._dialect.kind

    @property
    def timezone(self) -> ZoneInfo:
        return self._timezone

    def acknowledge(self, entry: TableEntry) -> None:
        """A database notes nothing for us."""

    def close(self) -> None:
        """Ends the connection that is kept between statements."""
        self._connections.close()

    def columns(self, entry: TableEntry) -> tuple[Column, ...]:
        """The columns to copy, as the database has them now, in its order.

        Raises:
            TableMissing: when the table is not there.
            ContractError: when one of its key columns is not there.
            ConfigurationError: when the account may not read it.
        """
        table = checked_table(entry.name)
        # The first statement opens a session, which tells what kind of server it is.
        self._connections.ensure()
        there = self._dialect.columns(self._connections.rows, table)
        if not there:
            raise TableMissing(f"table {entry.name} is not in the source database {self.database}")
        found = tuple(column for column in there if entry.extracts(column.name))
        missing = sorted(set(entry.key) - {column.name for column in found} - {ROW_HASH})
        if missing:
            raise ContractError(f"table {entry.name} has no column {', '.join(missing)}, which is its key")
        return found

    def bounds(self, entry: TableEntry) -> Bounds | None:
        """The extent of `entry.range_by`; None for an empty table or one without such a column.

        Raises:
            ContractError: the column holds values from 2^63 on.
        """
        if entry.range_by is None:
            return None
        ((low, high),) = self._connections.rows(self._statements.bounds(entry), tables=[entry.name])
        if low is None:
            return None
        if int(high) >= 2**63:
            raise ContractError(f"table {entry.name}: {entry.range_by} goes beyond 2^63; copy it without range_by")
        return Bounds(int(low), int(high))

    def count(self, entry: TableEntry) -> int:
        """The table's number of rows."""
        ((count,),) = self._connections.rows(self._statements.count(entry), tables=[entry.name])
        return int(count)

    def horizon(self, now: datetime) -> str:
        """The latest change time to believe: one mistyped year must not hold a cursor for ever."""
        return self._statements.local(now + timedelta(days=1))

    def marks(
        self, entry: TableEntry, columns: Sequence[Column], *, now: datetime, but_cursor: bool = False
    ) -> dict[str, Mark]:
        """Where the source stands: the watermarks the next load of the entry starts from.

        Take them *before* reading: what changes meanwhile is then read twice and never missed.

        Args:
            but_cursor: leave out the entry's own change time, for a caller that sees it in the rows it reads; to ask
                for it costs a scan, since most Bitrix tables have no index on it.
        """
        horizon = self.horizon(now)
        marks: dict[str, Mark] = {}
        if entry.tail is not None:
            marks["id"] = self._highest_id(entry.name, entry.key[0])
        if entry.cursor is not None and any(column.name == entry.cursor for column in columns):
            if not but_cursor:
                marks["cursor"] = self._latest(entry.name, entry.cursor, horizon)
        elif entry.strategy == "modified":
            raise ContractError(f"table {entry.name} has no column {entry.cursor}, which is its cursor")
        for trigger in entry.touched_by:
            if trigger.new_by is not None:
                marks[mark_name(trigger, trigger.new_by)] = self._highest_id(trigger.table, trigger.new_by)
            if trigger.modified_by is not None:
                name = mark_name(trigger, trigger.modified_by)
                marks[name] = self._latest(trigger.table, trigger.modified_by, horizon)
        return marks

    def read_ranges(self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange]) -> Rows:
        """All rows of some key ranges (disjoint, ascending); `[KeyRange()]` is the whole table."""

        def statement(some: Sequence[KeyRange], most: int | None, raw: bool) -> str:
            return self._statements.ranges(entry, columns, some, most=most, raw=raw)

        read = _Read(entry, columns, frozenset({entry.name}), statement)
        return self._rows(read, lambda fetch: self._in_pieces(read, ranges, fetch))

    def read_changes(self, entry: TableEntry, columns: Sequence[Column], marks: Marks, *, now: datetime) -> Rows:
        """The rows that may have changed since `marks`, by the entry's own rules; each at most once."""

        def statement(some: Sequence[KeyRange], most: int | None, raw: bool) -> str:
            written = self._statements.changes(entry, columns, marks, now=now, ranges=some, most=most, raw=raw)
            assert written is not None
            return written

        if self._statements.changes(entry, columns, marks, now=now) is None:
            return Rows(iter(()))
        read = _Read(entry, columns, tables_of(entry), statement)
        return self._rows(read, lambda fetch: self._at_once_or_in_pieces(read, fetch))

    def digests(
        self,
        entry: TableEntry,
        columns: Sequence[Column],
        ranges: Sequence[KeyRange],
        *,
        width: int,
        whole_rows: bool,
    ) -> dict[int, Digest]:
        """Count and sum per slice of `width` keys: slice number -> digest, of what lies in the ranges.

        Rows without a value in `range_by` are in no slice.

        Args:
            whole_rows: sum the row hashes (finds silent edits) instead of a number per key (finds deletes and gaps,
                cheap): `columns.squares`, or, for keys that are text, an MD5 (`Dialect.text_key`).
        """
        found: dict[int, Digest] = {}
        pace = Pace(DIGEST_KEYS)
        pieces = self._pieces(entry, columns, ranges)
        while pieces is None or pieces:
            some = ranges if pieces is None else pieces.take(pace.width)
            written = self._statements.digests(entry, columns, some, width=width, whole_rows=whole_rows)
            began = time.monotonic()
            for number, rows, total in self._connections.rows(written, tables=[entry.name]):
                before = found.get(number, Digest(0, 0))
                found[number] = Digest(before.rows + rows, before.total + int(total))
            if pieces is None:
                break
            pace.follow((time.monotonic() - began) / DIGEST_SECONDS)
        return found

    def lag_seconds(self) -> float | None:
        """How far the database is behind the one it replicates; None when it is none, or will not say."""
        session = self._connections.session()
        try:
            return self._dialect.lag_seconds(session)
        except Exception as error:  # noqa: BLE001 - translated
            raise SourceError(f"the Bitrix database {self.database}: {self._dialect.trouble(error).text}") from None
        finally:
            session.close()

    # --- reading ---

    def _rows(self, read: _Read, plan: Callable[[_Fetch], Iterator[pa.Table]]) -> Rows:
        unreadable: list[Unreadable] = []
        return Rows(self._batches(read, plan, unreadable), unreadable)

    def _batches(
        self, read: _Read, plan: Callable[[_Fetch], Iterator[pa.Table]], unreadable: list[Unreadable]
    ) -> Iterator[pa.RecordBatch]:
        """Batches of one piece, while the next is being read."""
        stop = threading.Event()
        pieces = plan(lambda ranges, most: self._fetch(read, ranges, most, stop, unreadable))
        with ThreadPoolExecutor(1, "reading ahead") as reader:
            following = reader.submit(next, pieces, None)
            try:
                while (piece := following.result()) is not None:
                    following = reader.submit(next, pieces, None)
                    yield from piece.to_batches()
            finally:
                stop.set()

    def _fetch(
        self,
        read: _Read,
        ranges: Sequence[KeyRange],
        most: int | None,
        stop: threading.Event,
        unreadable: list[Unreadable],
    ) -> pa.Table:
        """The rows of one statement, without those that cannot be decoded."""
        statement = read.statement(ranges, most, False)
        found = self._connections.table(statement, tables=read.tables, stop=stop)
        if not isinstance(found, Trouble):
            try:
                return as_promised(found, read.columns)
            except pa.ArrowInvalid:
                found = Trouble("undecodable", "a text is no UTF-8")
        log.warning("%s: %s; these rows are read again byte by byte", read.entry.name, found.text)
        statement = read.statement(ranges, most, True)
        found = self._connections.table(statement, tables=read.tables, stop=stop)
        if isinstance(found, Trouble):
            raise SourceError(f"the Bitrix database {self.database}, table {read.entry.name}: {found.text}")
        table, bad = decoded(found, read.columns, read.entry.key, codec=self._dialect.codec)
        unreadable += bad
        return table

    def _in_pieces(self, read: _Read, ranges: Sequence[KeyRange], fetch: _Fetch) -> Iterator[pa.Table]:
        pieces = self._pieces(read.entry, read.columns, ranges)
        if pieces is None:
            yield fetch(ranges, None)
            return
        pace = Pace(min(FIRST_KEYS, max(1, PIECE_BYTES // self._row_bytes(read.entry))))
        while pieces:
            some = pieces.take(pace.width)
            table = fetch(some, None if pace.width == 1 else MOST_ROWS + 1)
            if table.num_rows > MOST_ROWS and pace.width > 1:
                pieces.put_back(some)
                pace.slow_down()
                continue
            yield table
            pace.follow(table.num_rows / PIECE_ROWS, table.nbytes / PIECE_BYTES)
            if not table.num_rows and (low := pieces.next_low()) is not None:
                ((key,),) = self._connections.rows(self._statements.next_key(read.entry, low), tables=[read.entry.name])
                pieces.skip_to(None if key is None else int(key))

    def _at_once_or_in_pieces(self, read: _Read, fetch: _Fetch) -> Iterator[pa.Table]:
        """One statement for the few rows that usually changed; a change of everything is cut like a table."""
        everything = [KeyRange()]
        most = min(PIECE_ROWS, max(1, PIECE_BYTES // self._row_bytes(read.entry)))
        table = fetch(everything, most + 1)
        if table.num_rows <= most:
            yield table
        else:
            yield from self._in_pieces(read, everything, fetch)

    def _pieces(self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange]) -> Pieces | None:
        """How to cut the ranges; None when that would cost a scan of the table for each piece."""
        if not any(column.name == entry.range_by and column.indexed for column in columns):
            return None
        bounds = self.bounds(entry)
        return None if bounds is None else Pieces(ranges, bounds)

    def _row_bytes(self, entry: TableEntry) -> int:
        """About; letters and their fields are a thousand times as large as their clicks."""
        found = self._connections.rows(self._dialect.row_bytes(checked_table(entry.name)))
        return max(1, int(found[0][0])) if found and found[0][0] is not None else 1

    def _highest_id(self, table: str, column: str) -> Mark:
        ((mark,),) = self._connections.rows(self._statements.highest(table, column), tables=[table])
        return None if mark is None else int(mark)

    def _latest(self, table: str, column: str, horizon: str) -> Mark:
        ((mark,),) = self._connections.rows(self._statements.latest(table, column, horizon), tables=[table])
        return None if mark is None or not TIME.fullmatch(mark) or mark.startswith("0000") else str(mark)


_Fetch = Callable[[Sequence[KeyRange], int | None], pa.Table]
"""Reads key ranges, and no more rows than that."""


def split(bounds: Bounds | None, *, count: int, rows: int, after: int | None = None) -> list[KeyRange]:
    """Key ranges of about `rows` of a table's `count` rows each, in order, together covering every key from `after` on.

    The first range has no low end (unless `after` is given) and the last no high end.
    """
    if bounds is None:
        return [KeyRange(after, None)]
    pieces = max(1, -(-count // rows))
    width = max(1, -(-(bounds.high - bounds.low + 1) // pieces))
    cuts = [bounds.low + width * number for number in range(1, pieces)]
    cuts = [cut for cut in cuts if cut <= bounds.high and (after is None or cut > after)]
    lows = [after, *cuts]
    return [KeyRange(low, high) for low, high in zip(lows, [*cuts, None], strict=True)]


def _dialect(dsn: str) -> tuple[Dialect, Place]:
    """By the scheme of the address.

    Raises:
        ConfigurationError: it is none of ours; without repeating it, since it holds a password.
    """
    parts = urlsplit(dsn)
    database = unquote(parts.path.strip("/"))
    secret = unquote(parts.password or "")
    if parts.hostname and database and parts.scheme == "mysql":
        place = Place(parts.hostname, parts.port or 3306, database)
        login = {"user": unquote(parts.username or ""), "passwd": secret, "db": database}
        return MySql({"host": place.host, "port": place.port, **login}), place
    if parts.hostname and database and parts.scheme in {"postgresql", "postgres"}:
        return Postgres(dsn, secret=secret), Place(parts.hostname, parts.port or 5432, database)
    raise ConfigurationError(
        "connection `bitrix` must look like mysql://user:password@host:port/database or postgresql://…"
    )
