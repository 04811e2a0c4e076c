"""A Bitrix24 portal in the cloud as a source of tables, through REST; there is no other way in.

Rows come out exactly as the database table of the same name would hold them (`cloud_tables.py` says from which list and
field each column comes; docs/cloud.md shows it). What REST does not give is NULL, and a table it cannot fill at all is
missing. How it is kept fresh follows what REST can tell, whatever the catalogue says of the database: change times and
ids above the last one, offline events where an application may have them, ids compared to notice deletes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from lettertrail.bitrix.catalog import DEFAULT_TAIL, TableEntry
from lettertrail.bitrix.cloud_auth import Settings, entrance
from lettertrail.bitrix.cloud_cache import Scope, Snapshots
from lettertrail.bitrix.cloud_client import NOT_GIVEN, CloudClient
from lettertrail.bitrix.cloud_digests import key_digests
from lettertrail.bitrix.cloud_events import OfflineEvents
from lettertrail.bitrix.cloud_feeds import CARDS, FEEDS, Feed
from lettertrail.bitrix.cloud_pages import Marks as FeedMarks
from lettertrail.bitrix.cloud_pages import Pages, earlier
from lettertrail.bitrix.cloud_rows import CustomField, RowMaker, cloud_columns, custom_rows
from lettertrail.bitrix.cloud_tables import TABLES, CloudTable, Row, why_not
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Bounds, Digest, KeyRange, Mark, Marks, Rows, Unreadable
from lettertrail.bitrix.reference import reference_columns
from lettertrail.clock import Clock
from lettertrail.errors import ContractError, RequestRejected, TableMissing
from lettertrail.esps.port import AccountConnection, operator_hosts

log = logging.getLogger(__name__)

ID_TAIL = 50
"""Ids read again below the last one, where there is a change time too: one page."""
WHOLE_BELOW = 20_000
"""Cards. Below, what hangs on the cards (addresses, tags, links, custom fields) is compared by reading all of them in
every run; above, only when all rows are compared."""


class CloudSource:
    """One portal. Only `digests` may be called by several threads at once; they take turns."""

    def __init__(self, client: CloudClient, timezone: ZoneInfo, *, clock: Clock, with_events: bool = True) -> None:
        self._timezone = timezone
        self._clock = clock
        self._pages = Pages(client)
        self._snapshots = Snapshots()
        self._events = OfflineEvents(client) if with_events and client.is_application else None
        self._marks: dict[str, FeedMarks] = {}
        self._custom: dict[str, list[CustomField]] = {}
        self._given: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def connect(
        cls,
        connection: AccountConnection,
        *,
        timezone: ZoneInfo,
        clock: Clock,
        state_dir: Path,
        allowed_hosts: Sequence[str] | None = None,
    ) -> Self:
        """The portal behind a connection; see `cloud_auth.entrance` for what it must hold and docs/cloud.md for how.

        Args:
            timezone: the zone the site's own times would be in.
            state_dir: where an application's tokens are kept.

        Raises:
            ConfigurationError: the connection is incomplete, or its host is not permitted.
        """
        hosts = operator_hosts(allowed_hosts)
        settings = Settings.of(connection)
        door = entrance(connection, state_dir=state_dir, clock=clock, allowed_hosts=hosts)
        client = CloudClient.connect(door, settings, clock=clock, allowed_hosts=hosts)
        return cls(client, timezone, clock=clock, with_events=settings.with_events)

    @property
    def kind(self) -> str:
        """`bitrix24`."""
        return "bitrix24"

    @property
    def timezone(self) -> ZoneInfo:
        """The zone rows' times are naive in."""
        return self._timezone

    def close(self) -> None:
        """Forgets what was read."""
        self._snapshots.close()

    def columns(self, entry: TableEntry) -> tuple[Column, ...]:
        """The columns of the database table of that name; custom fields as the portal has them now.

        Raises:
            TableMissing: REST cannot fill it, or not for this key.
            ContractError: a key column is not among them.
        """
        table = _table(entry)
        for feed in _feeds(table):
            self._probe(entry, feed)
        columns = list(reference_columns(entry.name))
        if table.custom_fields_of is not None and entry.name.startswith("b_uts_"):
            self._custom.pop(table.custom_fields_of.name, None)
            columns = [columns[0], *(one.column for one in self._custom_fields(table.custom_fields_of))]
        found = tuple(column for column in cloud_columns(columns, wide=table.wide) if entry.extracts(column.name))
        missing = sorted(set(entry.key) - {column.name for column in found})
        if missing:
            raise ContractError(f"table {entry.name} has no column {', '.join(missing)}, which is its key")
        return found

    def bounds(self, entry: TableEntry) -> Bounds | None:
        """The extent of `entry.range_by`, where a list can be read from such an id on; None where it cannot."""
        table = _table(entry)
        if entry.range_by is None or not _is_cut_by(table, entry.range_by):
            return None
        lows = [self._pages.lowest(feed) for feed in _feeds(table)]
        highs = [self._feed_marks(feed).highest for feed in _feeds(table)]
        found = [number for number in (*lows, *highs) if number is not None]
        return Bounds(min(found), max(found)) if found else None

    def count(self, entry: TableEntry) -> int:
        """The number of rows in the lists behind the table: of its own rows, or of the cards they hang on."""
        feeds = _watched(_table(entry))
        return sum(self._pages.count(feed) if _is_seekable(feed) else sum(1 for _ in self._all(feed)) for feed in feeds)

    def horizon(self, now: datetime) -> str:
        """The latest change time to believe."""
        return self._local(now + timedelta(days=1))

    def marks(
        self, entry: TableEntry, columns: Sequence[Column], *, now: datetime, but_cursor: bool = False
    ) -> dict[str, Mark]:
        """Where the lists behind the table stand: `<list>.id` and `<list>.changed` (as REST wrote it), and the cursor.

        The same as long as what was read since may be used again, so that nothing between can be missed.
        """
        marks: dict[str, Mark] = {}
        for feed in _watched(_table(entry)):
            found = self._feed_marks(feed, now=now)
            marks[f"{feed.name}.id"] = found.highest
            marks[f"{feed.name}.changed"] = found.latest
            if not but_cursor and entry.cursor in {column.name for column in columns}:
                marks["cursor"] = self._local(datetime.fromisoformat(found.latest)) if found.latest else None
        return marks

    def read_ranges(self, entry: TableEntry, columns: Sequence[Column], ranges: Sequence[KeyRange]) -> Rows:
        """All rows of some key ranges; several tables of the same list are served by one reading."""
        table = _table(entry)
        maker, unreadable = self._maker(entry, columns)
        if _is_cut_by(table, entry.range_by):
            return Rows(maker.batches(self._rows(table, ranges)), unreadable)
        keep = None if _is_all(ranges) else partial(_is_within, entry.range_by, ranges)
        return Rows(maker.batches(self._rows(table, [KeyRange()]), keep=keep), unreadable)

    def read_changes(self, entry: TableEntry, columns: Sequence[Column], marks: Marks, *, now: datetime) -> Rows:
        """The rows that may have changed since `marks`."""
        table = _table(entry)
        maker, unreadable = self._maker(entry, columns)
        overlap = max([entry.overlap_minutes, *(trigger.overlap_minutes for trigger in entry.touched_by)])
        tail = DEFAULT_TAIL if entry.tail is None else entry.tail
        return Rows(maker.batches(self._changed(table, marks, overlap=overlap, tail=tail)), unreadable)

    def digests(
        self,
        entry: TableEntry,
        columns: Sequence[Column],
        ranges: Sequence[KeyRange],
        *,
        width: int,
        whole_rows: bool,
    ) -> dict[int, Digest] | None:
        """Counts and sums of the keys, from a list of nothing but ids where the table has one.

        None for row hashes, and for what hangs on more cards than are worth reading for it.
        """
        table = _table(entry)
        if whole_rows:
            return None
        with self._lock:
            if entry.key == (table.card,) and entry.range_by in (None, table.card) and _is_plain(table):
                rows = self._ids(table, ranges)
            elif self._is_worth_reading(table):
                rows = (row for row in self._raw(entry, ranges) if all(row.get(name) is not None for name in entry.key))
            else:
                return None
            return key_digests(entry, columns, rows, width=width)

    def acknowledge(self, entry: TableEntry) -> None:
        """Tells the portal that what it noted for us is committed. Call it after the commit of the table.

        Before it, a process that dies leaves the events to the next run; after it there is nothing left to do.

        Raises:
            ApiError: the portal could not be told; the events come again and change nothing.
        """
        feed = _leads(entry.name)
        if self._events is not None and feed is not None:
            self._events.clear(feed)

    def _probe(self, entry: TableEntry, feed: Feed) -> None:
        """Asks for a list once, to know whether this key may have it."""
        if feed.method in self._given:
            return
        filters = {} if feed.is_listed else {feed.owner: [0]}
        try:
            self._pages.probe(feed, filters)
        except RequestRejected as error:
            if error.code in NOT_GIVEN:
                raise TableMissing(
                    f"table {entry.name} comes from {feed.method}, which the portal refuses ({error.code}); "
                    f"it needs the scope {feed.scope}"
                ) from None
            raise
        self._given.add(feed.method)

    def _feed_marks(self, feed: Feed, *, now: datetime | None = None) -> FeedMarks:
        """Taken before a list is read, and kept as long as its rows are."""
        if feed.name not in self._marks or self._snapshots.is_stale(feed):
            self._snapshots.drop(feed)
            self._snapshots.begin(feed)
            horizon = (now or self._clock()) + timedelta(days=1)
            self._marks[feed.name] = (
                self._pages.marks(feed, horizon=horizon) if _is_seekable(feed) else FeedMarks(None, None)
            )
        return self._marks[feed.name]

    def _custom_fields(self, card: Feed) -> list[CustomField]:
        if card.name not in self._custom:
            self._custom[card.name] = [
                CustomField(int(row["ID"]), row["FIELD_NAME"], row["USER_TYPE_ID"], row["MULTIPLE"] == "Y")
                for row in self._all(FEEDS[f"{card.name}_fields"])
            ]
        return self._custom[card.name]

    def _rows_of(self, table: CloudTable) -> Callable[[Feed, Row], Iterator[Row]]:
        if table.custom_fields_of is None:
            return table.rows
        fields = self._custom_fields(table.custom_fields_of)
        return lambda feed, row: custom_rows(table, fields, row)

    def _maker(self, entry: TableEntry, columns: Sequence[Column]) -> tuple[RowMaker, list[Unreadable]]:
        table, unreadable = _table(entry), list[Unreadable]()
        maker = RowMaker(table, columns, self._timezone, rows_of=self._rows_of(table), unreadable=unreadable)
        return maker, unreadable

    def _raw(self, entry: TableEntry, ranges: Sequence[KeyRange]) -> Iterator[Mapping[str, Any]]:
        """The table's rows as REST wrote them."""
        table = _table(entry)
        rows_of = self._rows_of(table)
        inner = ranges if _is_cut_by(table, entry.range_by) else [KeyRange()]
        for feed, row in self._rows(table, inner):
            for made in rows_of(feed, row):
                if _is_all(ranges) or _is_within(entry.range_by, ranges, made):
                    yield made

    def _rows(self, table: CloudTable, ranges: Sequence[KeyRange]) -> Iterator[tuple[Feed, Row]]:
        rows: Iterator[Row]
        for feed in _feeds(table):
            if _is_all(ranges) or not _is_seekable(feed) or self._snapshots.has(feed, Scope()):
                rows = (row for row in self._all(feed) if _is_all(ranges) or _is_within(feed.key, ranges, row))
            else:
                rows = self._pages.ranges(feed, ranges)
            yield from ((feed, row) for row in rows)

    def _ids(self, table: CloudTable, ranges: Sequence[KeyRange]) -> Iterator[Row]:
        assert table.card is not None
        rows: Iterator[Row]
        for feed in _feeds(table):
            if not _is_seekable(feed) or self._snapshots.has(feed, Scope()):
                rows = (row for row in self._all(feed) if _is_within(feed.key, ranges, row))
            else:
                rows = self._pages.ranges(feed, ranges, only_ids=True)
            yield from ({table.card: row[feed.key]} for row in rows)

    def _all(self, feed: Feed) -> Iterator[Row]:
        """A whole list; the second time from disk."""
        kept = self._snapshots.get(feed, Scope())
        if kept is not None:
            return kept
        self._feed_marks(feed)
        if feed.paging == "next":
            rows = self._pages.all_rows(feed)
        elif feed.is_listed:
            rows = self._pages.ranges(feed, [KeyRange()])
        else:
            assert feed.follows is not None
            owner = FEEDS[feed.follows]
            owners = [int(row[owner.key]) for row in self._pages.ranges(owner, [KeyRange()], only_ids=True)]
            rows = self._pages.by_owner(feed, owners)
        return self._snapshots.keep(feed, Scope(), rows)

    def _changed(self, table: CloudTable, marks: Marks, *, overlap: int, tail: int) -> Iterator[tuple[Feed, Row]]:
        for feed in _feeds(table):
            is_leader = _leads(table.name) is feed
            if feed.follows is not None:
                rows = self._followed(feed, marks, overlap=overlap, tail=tail)
            elif _is_seekable(feed) and (feed.changed is not None or feed.only_grows):
                rows = self._changed_in(feed, marks, overlap=overlap, tail=tail, is_leader=is_leader)
            else:
                rows = self._all(feed)
            yield from ((feed, row) for row in rows)

    def _changed_in(
        self, feed: Feed, marks: Marks, *, overlap: int, tail: int, is_leader: bool = False
    ) -> Iterator[Row]:
        """The changed rows of a list; those the portal noted as events too, when the table leads the list."""
        scope = _scope(feed, marks, overlap=overlap, tail=tail)
        kept = self._snapshots.get(feed, scope)
        if kept is not None:
            return kept
        self._feed_marks(feed)
        rows = self._pages.changed(feed, scope.since, scope.above)
        if self._events is not None and feed.event:
            if is_leader:
                self._events.take(feed)
            rows = self._with_noted(feed, rows, self._events)
        return self._snapshots.keep(feed, scope, rows)

    def _with_noted(self, feed: Feed, rows: Iterator[Row], events: OfflineEvents) -> Iterator[Row]:
        noted = {event.card: event.is_delete for event in events.known(feed) if event.card is not None}
        for row in rows:
            noted.pop(int(row[feed.key]), None)
            yield row
        for row in self._pages.by_id(feed, sorted(noted)):
            noted.pop(int(row[feed.key]), None)
            yield row
        silent = sorted(card for card, is_delete in noted.items() if not is_delete)
        errors = self._pages.item_errors(feed, silent) if feed.type_id else {}
        events.failed(feed, {card: error for card, error in errors.items() if error.code != "NOT_FOUND"})

    def _followed(self, feed: Feed, marks: Marks, *, overlap: int, tail: int) -> Iterator[Row]:
        """Rows whose owner changed, and rows with a new id."""
        assert feed.follows is not None
        owner = FEEDS[feed.follows]
        owners = {int(row[owner.key]) for row in self._changed_in(owner, marks, overlap=overlap, tail=tail)}
        seen: set[int] = set()
        for row in self._pages.by_owner(feed, sorted(owners)):
            seen.add(int(row[feed.key]))
            yield row
        if feed.is_listed:
            scope = _scope(feed, marks, overlap=overlap, tail=tail)
            yield from (row for row in self._pages.changed(feed, None, scope.above) if int(row[feed.key]) not in seen)

    def _is_worth_reading(self, table: CloudTable) -> bool:
        feeds = [feed for feed in _watched(table) if _is_seekable(feed) and not self._snapshots.has(feed, Scope())]
        return sum(self._pages.count(feed) for feed in feeds) <= WHOLE_BELOW

    def _local(self, moment: datetime) -> str:
        naive = moment.astimezone(self._timezone).replace(tzinfo=None)
        return naive.isoformat(sep=" ", timespec="microseconds")


def _table(entry: TableEntry) -> CloudTable:
    table = TABLES.get(entry.name)
    if table is None:
        raise TableMissing(f"a cloud portal cannot give table {entry.name}: {why_not(entry.name)}")
    return table


def _feeds(table: CloudTable) -> list[Feed]:
    return [FEEDS[name] for name in table.feeds]


def _watched(table: CloudTable) -> list[Feed]:
    """The lists whose marks say where the table stands."""
    names = dict.fromkeys(name for feed in _feeds(table) for name in (feed.name, feed.follows) if name is not None)
    return [FEEDS[name] for name in names if FEEDS[name].is_listed]


def _leads(table: str) -> Feed | None:
    """The card whose own table it is: the one whose load handles the card's events."""
    return next((card for card in CARDS if table == f"b_crm_{card.name}"), None)


def _is_seekable(feed: Feed) -> bool:
    """Whether the list can be read from an id on."""
    return feed.paging == "keyset" and feed.is_listed


def _is_cut_by(table: CloudTable, column: str | None) -> bool:
    """Whether a range of that column is a range of the lists' own ids."""
    return column is not None and table.card == column and all(map(_is_seekable, _feeds(table)))


def _is_plain(table: CloudTable) -> bool:
    """Whether every row of the list is one row of the table."""
    return table.unfold is None and table.custom_fields_of is None


def _is_all(ranges: Sequence[KeyRange]) -> bool:
    return len(ranges) == 1 and ranges[0].is_everything


def _is_within(column: str | None, ranges: Sequence[KeyRange], row: Row) -> bool:
    """Whether the row belongs to one of the ranges; without a value, to one without a low end."""
    value = None if column is None else row.get(column)
    if value is None:
        return any(key_range.low is None for key_range in ranges)
    if _is_all(ranges):
        return True
    number = int(value)
    return any(
        (key_range.low is None or key_range.low <= number) and (key_range.high is None or number < key_range.high)
        for key_range in ranges
    )


def _scope(feed: Feed, marks: Marks, *, overlap: int, tail: int) -> Scope:
    """From where on to read; a missing mark means that the list was empty."""
    highest, latest = marks.get(f"{feed.name}.id"), marks.get(f"{feed.name}.changed")
    below = ID_TAIL if feed.changed is not None else tail
    return Scope(
        is_whole=False,
        since=None if latest is None else earlier(str(latest), overlap),
        above=None if highest is None else int(highest) - below,
    )
