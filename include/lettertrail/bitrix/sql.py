"""Reads a Bitrix site's MySQL or MariaDB database: read-only, in short statements, as a stream of Arrow batches.

Every query is one statement of its own (no open snapshot: an open one would make a site's `ALTER TABLE` wait, and every
query behind it). Names come from the catalogue and from information_schema; the only values ever written into SQL
are whole numbers, times and the catalogue's own words, each checked here.
"""

# ruff: noqa: S608 - names are quoted by `quote`, values checked by `_time_literal`, `_checked_word` and int()

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import connectorx
import pyarrow as pa

from lettertrail.bitrix.catalog import TableEntry, Trigger
from lettertrail.bitrix.columns import Column, hash_expression, mysql_column, quote
from lettertrail.bitrix.port import ROW_HASH, ZEROED, Bounds, Digest, KeyRange, Mark, Marks, Rows
from lettertrail.errors import ConfigurationError, ContractError, SourceError, TableMissing

log = logging.getLogger(__name__)

BATCH_ROWS = 20_000
CONNECT_SECONDS = 5.0
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?")
_WORD = re.compile(r"[A-Za-z0-9_]{1,32}")


class SqlSource:
    """One Bitrix database.

    Args:
        dsn: `mysql://user:password@host:port/database`, percent-encoded.
        timezone: the zone of the site's naive times.
        statement_timeout_seconds: after which the server itself ends a statement.
    """

    def __init__(self, dsn: str, timezone: ZoneInfo, *, statement_timeout_seconds: int = 900) -> None:
        parts = urlsplit(dsn)
        if parts.scheme != "mysql" or not parts.hostname or not parts.path.strip("/"):
            raise ConfigurationError("connection `bitrix` must look like mysql://user:password@host:port/database")
        self._dsn = dsn
        self._address = (parts.hostname, parts.port or 3306)
        self._secret = unquote(parts.password or "")
        self.database = unquote(parts.path.strip("/"))
        self.timezone = timezone
        self._timeout = statement_timeout_seconds
        self._session: list[str] | None = None

    @property
    def kind(self) -> str:
        return "mysql"

    def close(self) -> None:
        """Nothing is kept open between statements."""

    def columns(self, entry: TableEntry) -> tuple[Column, ...]:
        """The columns to copy, as the database has them now, in its order.

        Raises:
            TableMissing: when the table is not there.
            ContractError: when one of its key columns is not there.
        """
        table = _checked_word(entry.name, long=True)
        rows = self._rows(
            "select cast(column_name as char) as name, cast(data_type as char) as data_type,"
            " cast(column_type as char) as column_type, cast(numeric_precision as signed) as digits,"
            " cast(numeric_scale as signed) as scale from information_schema.columns"
            f" where table_schema = database() and table_name = '{table}' order by ordinal_position"
        )
        if not rows:
            raise TableMissing(f"table {entry.name} is not in the source database {self.database}")
        found = tuple(
            mysql_column(row["name"], row["data_type"], row["column_type"], precision=row["digits"], scale=row["scale"])
            for row in rows
            if entry.extracts(row["name"].lower())
        )
        missing = sorted(set(entry.key) - {column.name for column in found} - {ROW_HASH})
        if missing:
            raise ContractError(f"table {entry.name} has no column {', '.join(missing)}, which is its key")
        return found

    def bounds(self, entry: TableEntry) -> Bounds | None:
        """The extent of `entry.range_by`; None for an empty table or one without such a column."""
        if entry.range_by is None:
            return None
        column = quote(entry.range_by)
        (row,) = self._rows(
            f"select cast(min({column}) as signed) as low, cast(max({column}) as signed) as high"
            f" from {quote(entry.name)}"
        )
        return None if row["low"] is None else Bounds(row["low"], row["high"])

    def count(self, entry: TableEntry) -> int:
        """The table's number of rows."""
        (row,) = self._rows(f"select cast(count(*) as signed) as n from {quote(entry.name)}")
        return int(row["n"])

    def horizon(self, now: datetime) -> str:
        """The latest change time to believe: one mistyped year must not hold a cursor for ever."""
        return self.local(now + timedelta(days=1))

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
        if entry.cursor is not None and (cursor := _named(columns, entry.cursor)) is not None:
            if not but_cursor:
                marks["cursor"] = self._latest(entry.name, cursor.name, horizon)
        elif entry.strategy == "modified":
            raise ContractError(f"table {entry.name} has no column {entry.cursor}, which is its cursor")
        for trigger in entry.touched_by:
            if trigger.new_by is not None:
                marks[_mark_name(trigger, trigger.new_by)] = self._highest_id(trigger.table, trigger.new_by)
            if trigger.modified_by is not None:
                name = _mark_name(trigger, trigger.modified_by)
                marks[name] = self._latest(trigger.table, trigger.modified_by, horizon)
        return marks

    def read_ranges(self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange]) -> Rows:
        """All rows of some key ranges, in one query."""
        where = _ranges_predicate(entry.range_by, ranges)
        return Rows(self._stream(f"select {_select_list(columns, 't')} from {quote(entry.name)} as t{where}"))

    def read_changes(self, entry: TableEntry, columns: Sequence[Column], marks: Marks, *, now: datetime) -> Rows:
        """The rows that may have changed since `marks`, by the entry's own rules; each at most once."""
        arms = self._changed_keys(entry, columns, marks, now)
        if not arms:
            return Rows(iter(()))
        # A derived table of keys, so that each arm uses its own index instead of one scan with OR.
        on = " and ".join(f"t.{quote(key)} = changed.{quote(key)}" for key in entry.key)
        return Rows(
            self._stream(
                f"select {_select_list(columns, 't')} from ({' union '.join(arms)}) as changed"
                f" join {quote(entry.name)} as t on {on}"
            )
        )

    def digests(
        self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange], *, width: int, whole_rows: bool
    ) -> dict[int, Digest]:
        """Count and sum per slice of `width` keys: slice number -> digest.

        Args:
            whole_rows: sum the row hashes (finds silent edits) instead of the keys (finds deletes and gaps, cheap).
        """
        if whole_rows:
            total = hash_expression([column.digest for column in columns])
        elif entry.key == (entry.range_by,):
            total = f"cast({quote(entry.key[0])} as signed)"
        else:
            # The warehouse is UTF-8, so its side of the comparison is too.
            total = hash_expression([f"convert({quote(key)} using utf8mb4)" for key in entry.key])
        slice_number = f"{quote(entry.range_by)} div {int(width)}" if entry.range_by else "0"
        where = _ranges_predicate(entry.range_by, ranges)
        if entry.range_by:
            where += f"{' and' if where else ' where'} t.{quote(entry.range_by)} is not null"
        rows = self._rows(
            f"select cast({slice_number} as signed) as slice, cast(count(*) as signed) as n,"
            f" cast(coalesce(sum({total}), 0) as char) as total from {quote(entry.name)} as t{where} group by 1"
        )
        return {row["slice"]: Digest(row["n"], int(row["total"])) for row in rows}

    def local(self, moment: datetime) -> str:
        """An aware time as the site writes it: naive, in its zone."""
        naive = moment.astimezone(self.timezone).replace(tzinfo=None)
        return naive.isoformat(sep=" ", timespec="microseconds")

    def _changed_keys(self, entry: TableEntry, columns: Sequence[Column], marks: Marks, now: datetime) -> list[str]:
        keys = ", ".join(f"own.{quote(key)}" for key in entry.key)
        head = f"select {keys} from {quote(entry.name)} as own"
        arms: list[str] = []
        if entry.tail is not None:
            after = _number(marks.get("id")) - entry.tail
            arms.append(f"{head} where own.{quote(entry.key[0])} > {after}")
        if entry.cursor is not None and _named(columns, entry.cursor) is not None:
            since = _since(marks.get("cursor"), entry.overlap_minutes)
            arms.append(f"{head} where own.{quote(entry.cursor)} >= {since}")
        for trigger in entry.touched_by:
            where = [f"own.{quote(column)} = '{_checked_word(word)}'" for column, word in trigger.where.items()]
            # One arm per condition, again so that each can use an index.
            for condition in self._conditions(trigger, marks, now):
                conditions = " and ".join([*where, condition])
                if trigger.table == entry.name:
                    arms.append(f"{head} where {conditions.replace('other.', 'own.')}")
                else:
                    arms.append(f"{head}{_joined(trigger)} where {conditions}")
        return arms

    def _conditions(self, trigger: Trigger, marks: Marks, now: datetime) -> Iterator[str]:
        if trigger.new_by is not None:
            after = _number(marks.get(_mark_name(trigger, trigger.new_by))) - trigger.tail
            yield f"other.{quote(trigger.new_by)} > {after}"
        if trigger.modified_by is not None:
            since = _since(marks.get(_mark_name(trigger, trigger.modified_by)), trigger.overlap_minutes)
            yield f"other.{quote(trigger.modified_by)} >= {since}"
        for column, words in trigger.open_while.items():
            listed = ", ".join(f"'{_checked_word(word)}'" for word in words)
            yield f"other.{quote(column)} in ({listed})"
        if trigger.young_by is not None and trigger.young_days is not None:
            since = self.local(now - timedelta(days=trigger.young_days))
            yield f"other.{quote(trigger.young_by)} >= {_time_literal(since)}"

    def _highest_id(self, table: str, column: str) -> Mark:
        (row,) = self._rows(f"select cast(max({quote(column)}) as signed) as mark from {quote(table)}")
        return None if row["mark"] is None else int(row["mark"])

    def _latest(self, table: str, column: str, horizon: str) -> Mark:
        (row,) = self._rows(
            f"select cast(max({quote(column)}) as char) as mark from {quote(table)}"
            f" where {quote(column)} <= {_time_literal(horizon)}"
        )
        mark = row["mark"]
        return None if mark is None or not _TIME.fullmatch(mark) or mark.startswith("0000") else str(mark)

    def _rows(self, query: str) -> list[dict[str, Any]]:
        table = self._read(query, return_type="arrow", session=self._session_settings())
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def _stream(self, query: str) -> Iterator[pa.RecordBatch]:
        reader = self._read(query, return_type="arrow_stream", session=self._session_settings())
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception; see _translated
                raise self._translated(error) from None
            yield batch

    def _session_settings(self) -> list[str]:
        """Read-only; times of type `timestamp` in UTC; no odd sql_mode; an end to every statement."""
        if self._session is None:
            self._knock()
            table = self._read("select cast(version() as char) as version", return_type="arrow", session=[])
            maria = "mariadb" in table.to_pylist()[0]["version"].lower()
            limit = (
                f"set session max_statement_time = {self._timeout}"
                if maria
                else f"set session max_execution_time = {self._timeout * 1000}"
            )
            self._session = [
                "set session transaction read only",
                "set session time_zone = '+00:00'",
                "set session sql_mode = ''",
                "set names utf8mb4",
                limit,
            ]
        return self._session

    def _knock(self) -> None:
        """ConnectorX tries a closed port for half a minute; this says so at once."""
        try:
            socket.create_connection(self._address, timeout=CONNECT_SECONDS).close()
        except OSError as error:
            host, port = self._address
            raise SourceError(f"the Bitrix database does not answer on {host}:{port}: {error}") from None

    def _read(self, query: str, *, return_type: Literal["arrow", "arrow_stream"], session: list[str]) -> Any:
        read: Callable[..., Any] = connectorx.read_sql  # its overloads know neither None nor arrow_stream
        try:
            return read(
                self._dsn,
                query,
                return_type=return_type,
                pre_execution_query=session or None,
                **({"batch_size": BATCH_ROWS} if return_type == "arrow_stream" else {}),
            )
        except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception; see _translated
            raise self._translated(error) from None

    def _translated(self, error: BaseException) -> BaseException:
        """A SourceError for what ConnectorX raises; a Rust panic arrives as a BaseException of its own."""
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            return error
        message = str(error)
        if self._secret:
            message = message.replace(self._secret, "***")
        return SourceError(f"the Bitrix database {self.database}: {message[:500]}")


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


def _select_list(columns: Sequence[Column], alias: str) -> str:
    def qualified(text: str, column: Column) -> str:
        return text.replace(column.source, f"{alias}.{column.source}")

    parts = [f"{qualified(column.select, column)} as {quote(column.name)}" for column in columns]
    digest = hash_expression([qualified(column.digest, column) for column in columns])
    parts.append(f"{digest} as {quote(ROW_HASH)}")
    dates = [column for column in columns if column.is_date]
    zeroed = " + ".join(
        f"({alias}.{column.source} is not null and {qualified(column.select, column)} is null)" for column in dates
    )
    parts.append(f"cast({zeroed or '0'} as signed) as {quote(ZEROED)}")
    return ", ".join(parts)


def _ranges_predicate(range_by: str | None, ranges: Sequence[KeyRange]) -> str:
    if any(key_range.is_everything for key_range in ranges):
        return ""
    if range_by is None:
        raise ValueError("a key range needs a table with range_by")
    column = f"t.{quote(range_by)}"
    return f" where ({' or '.join(_range_condition(column, key_range) for key_range in ranges) or 'false'})"


def _range_condition(column: str, key_range: KeyRange) -> str:
    if key_range.low is None:
        return f"({column} < {int(key_range.high or 0)} or {column} is null)"
    upper = "" if key_range.high is None else f" and {column} < {int(key_range.high)}"
    return f"({column} >= {int(key_range.low)}{upper})"


def _joined(trigger: Trigger) -> str:
    """From `own` to `other`, over a table in between if there is one."""
    other = f" join {quote(trigger.table)} as other on other.{quote(trigger.column)}"
    if trigger.via is None:
        return f"{other} = own.{quote(trigger.matches)}"
    via = f" join {quote(trigger.via.table)} as via on via.{quote(trigger.via.gives)} = own.{quote(trigger.matches)}"
    return f"{via}{other} = via.{quote(trigger.via.column)}"


def _mark_name(trigger: Trigger, column: str) -> str:
    return f"{trigger.table}.{column}"


def _named(columns: Sequence[Column], name: str) -> Column | None:
    return next((column for column in columns if column.name == name), None)


def _number(mark: Mark) -> int:
    """A missing mark means the other table was empty: everything in it now is new."""
    return int(mark) if mark is not None else -(2**62)


def _since(mark: Mark, overlap_minutes: int) -> str:
    if mark is None:
        return _time_literal("1000-01-01 00:00:00")
    if not _TIME.fullmatch(str(mark)):
        raise ValueError(f"the watermark {mark!r} is no time")
    moment = datetime.fromisoformat(str(mark)) - timedelta(minutes=overlap_minutes)
    return _time_literal(moment.isoformat(sep=" ", timespec="microseconds"))


def _time_literal(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no time")
    return f"'{text}'"


def _checked_word(word: str, *, long: bool = False) -> str:
    if not (_WORD.fullmatch(word) or (long and re.fullmatch(r"[a-z0-9_]{1,64}", word))):
        raise ValueError(f"{word!r} is no plain word")
    return word
