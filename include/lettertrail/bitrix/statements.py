"""The statements that read a Bitrix database, in words that every server understands.

Names come from the catalogue and from the database's own; the only values ever written into SQL are whole numbers,
times and the catalogue's own words, each checked here.
"""

# ruff: noqa: S608 - names are quoted by the dialect, values checked by `time_literal`, `checked_word` and int()

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from lettertrail.bitrix.catalog import TableEntry, Trigger
from lettertrail.bitrix.columns import Column, has_whole_key, squares
from lettertrail.bitrix.dialect import Dialect
from lettertrail.bitrix.port import ROW_HASH, ZEROED, KeyRange, Mark, Marks

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?")
_WORD = re.compile(r"[A-Za-z0-9_]{1,32}")
_TABLE = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Statements:
    """Writes statements for one server. In each, the table that is read goes by the name `t`."""

    dialect: Dialect
    timezone: ZoneInfo

    def bounds(self, entry: TableEntry) -> str:
        """Smallest and largest value of `range_by`, as text: an unsigned one may be no signed number."""
        column = self._range_column(entry)
        text = self.dialect.text
        return f"select {text(f'min({column})')}, {text(f'max({column})')} from {self._table(entry)}"

    def next_key(self, entry: TableEntry, low: int) -> str:
        """The smallest value of `range_by` from `low` on."""
        column = self._range_column(entry)
        return f"select {self.dialect.number(f'min({column})')} from {self._table(entry)} where {column} >= {int(low)}"

    def count(self, entry: TableEntry) -> str:
        """The number of rows."""
        return f"select {self.dialect.number('count(*)')} from {self._table(entry)}"

    def highest(self, table: str, column: str) -> str:
        """The largest id."""
        name = self.dialect.number(f"max({self.dialect.quote(column)})")
        return f"select {name} from {self.dialect.quote(table)}"

    def latest(self, table: str, column: str, horizon: str) -> str:
        """The latest change time that is believed."""
        name = self.dialect.quote(column)
        return (
            f"select {self.dialect.latest(name)} from {self.dialect.quote(table)}"
            f" where {name} <= {time_literal(horizon)}"
        )

    def ranges(
        self,
        entry: TableEntry,
        columns: Sequence[Column],
        ranges: Sequence[KeyRange],
        *,
        most: int | None = None,
        raw: bool = False,
    ) -> str:
        """The rows of key ranges, `most` at most; `raw`: every value as bytes."""
        where = self._within(entry, ranges, "t")
        return f"select {self._select(columns, raw=raw)} from {self._table(entry)}{where}{_limit(most)}"

    def changes(
        self,
        entry: TableEntry,
        columns: Sequence[Column],
        marks: Marks,
        *,
        now: datetime,
        ranges: Sequence[KeyRange] = (KeyRange(),),
        most: int | None = None,
        raw: bool = False,
    ) -> str | None:
        """The rows that may have changed since `marks`; None when the entry has no rule to find any."""
        arms = list(self._arms(entry, columns, marks, now, ranges))
        if not arms:
            return None
        # A derived table of keys, so that each arm uses its own index instead of one scan with OR.
        quote = self.dialect.quote
        on = " and ".join(f"t.{quote(key)} = changed.{quote(key)}" for key in entry.key)
        return (
            f"select {self._select(columns, raw=raw)} from ({' union '.join(arms)}) as changed"
            f" {self.dialect.join_in_order} {self._table(entry)} on {on}{_limit(most)}"
        )

    def digests(
        self,
        entry: TableEntry,
        columns: Sequence[Column],
        ranges: Sequence[KeyRange],
        *,
        width: int,
        whole_rows: bool,
    ) -> str:
        """Slice number, count and sum per slice of `width` keys."""
        within = self._within(entry, ranges, "t")
        slice_number = "0"
        if entry.range_by is not None:
            column = self._range_column(entry)
            slice_number = self.dialect.slice_number(column, width)
            within = f"{within or ' where true'} and {column} is not null"
        total = self._total(entry, columns, whole_rows=whole_rows)
        return (
            f"select {self.dialect.number(slice_number)}, {self.dialect.number('count(*)')},"
            f" {self.dialect.text(f'coalesce(sum({total}), 0)')} from {self._table(entry)}{within} group by 1"
        )

    def local(self, moment: datetime) -> str:
        """An aware time as the site writes it: naive, in its zone."""
        naive = moment.astimezone(self.timezone).replace(tzinfo=None)
        return naive.isoformat(sep=" ", timespec="microseconds")

    # --- parts ---

    def _table(self, entry: TableEntry) -> str:
        return f"{self.dialect.quote(entry.name)} as t"

    def _range_column(self, entry: TableEntry) -> str:
        if entry.range_by is None:
            raise ValueError("a key range needs a table with range_by")
        return f"t.{self.dialect.quote(entry.range_by)}"

    def _select(self, columns: Sequence[Column], *, raw: bool) -> str:
        quote, number = self.dialect.quote, self.dialect.number
        parts = [f"{column.raw if raw else column.select} as {quote(column.name)}" for column in columns]
        parts.append(f"{self.dialect.row_hash(columns)} as {quote(ROW_HASH)}")
        zeroed = [
            f"case when {column.source} is not null and {column.select} is null then 1 else 0 end"
            for column in columns
            if column.is_date
        ]
        parts.append(f"{number(' + '.join(zeroed) or '0')} as {quote(ZEROED)}")
        return ", ".join(parts)

    def _total(self, entry: TableEntry, columns: Sequence[Column], *, whole_rows: bool) -> str:
        if whole_rows or entry.key == (ROW_HASH,):
            return self.dialect.row_hash(columns)
        names = [f"t.{self.dialect.quote(key)}" for key in entry.key]
        if has_whole_key(columns, entry.key):
            return squares([self.dialect.number(name) for name in names])
        return self.dialect.text_key(names)

    def _within(self, entry: TableEntry, ranges: Sequence[KeyRange], alias: str) -> str:
        """` where …` for rows in any of the ranges; empty when that is all of them."""
        if any(key_range.is_everything for key_range in ranges):
            return ""
        if not ranges:
            return " where false"
        if entry.range_by is None:
            raise ValueError("a key range needs a table with range_by")
        column = f"{alias}.{self.dialect.quote(entry.range_by)}"
        return f" where ({' or '.join(_range_condition(column, key_range) for key_range in ranges)})"

    def _arms(
        self, entry: TableEntry, columns: Sequence[Column], marks: Marks, now: datetime, ranges: Sequence[KeyRange]
    ) -> Iterator[str]:
        """One statement for each rule by which rows may have changed, and for each of its conditions."""
        quote = self.dialect.quote
        keys = ", ".join(f"own.{quote(key)}" for key in entry.key)
        head = f"select {keys} from {quote(entry.name)} as own"
        within = self._within(entry, ranges, "own").replace(" where ", " and ", 1)
        if entry.tail is not None:
            after = _number(marks.get("id")) - entry.tail
            yield f"{head} where own.{quote(entry.key[0])} > {after}{within}"
        if entry.cursor is not None and any(column.name == entry.cursor for column in columns):
            since = _since(marks.get("cursor"), entry.overlap_minutes)
            yield f"{head} where own.{quote(entry.cursor)} >= {since}{within}"
        for trigger in entry.touched_by:
            is_itself = trigger.table == entry.name
            other = "own" if is_itself else "other"
            joined = "" if is_itself else self._joined(trigger)
            where = [f"own.{quote(column)} = '{checked_word(word)}'" for column, word in trigger.where.items()]
            for condition in self._conditions(trigger, marks, now, other):
                yield f"{head}{joined} where {' and '.join([*where, condition])}{within}"

    def _conditions(self, trigger: Trigger, marks: Marks, now: datetime, other: str) -> Iterator[str]:
        quote = self.dialect.quote
        if trigger.new_by is not None:
            after = _number(marks.get(mark_name(trigger, trigger.new_by))) - trigger.tail
            yield f"{other}.{quote(trigger.new_by)} > {after}"
        if trigger.modified_by is not None:
            since = _since(marks.get(mark_name(trigger, trigger.modified_by)), trigger.overlap_minutes)
            yield f"{other}.{quote(trigger.modified_by)} >= {since}"
        for column, words in trigger.open_while.items():
            listed = ", ".join(f"'{checked_word(word)}'" for word in words)
            yield f"{other}.{quote(column)} in ({listed})"
        if trigger.young_by is not None and trigger.young_days is not None:
            since = self.local(now - timedelta(days=trigger.young_days))
            yield f"{other}.{quote(trigger.young_by)} >= {time_literal(since)}"

    def _joined(self, trigger: Trigger) -> str:
        """From `own` to `other`, over a table in between if there is one."""
        quote = self.dialect.quote
        other = f" join {quote(trigger.table)} as other on other.{quote(trigger.column)}"
        if trigger.via is None:
            return f"{other} = own.{quote(trigger.matches)}"
        via = f" join {quote(trigger.via.table)} as via on via.{quote(trigger.via.gives)}"
        return f"{via} = own.{quote(trigger.matches)}{other} = via.{quote(trigger.via.column)}"


def tables_of(entry: TableEntry) -> frozenset[str]:
    """The tables that are read to find what changed in one."""
    return frozenset({entry.name, *(table for trigger in entry.touched_by for table in trigger.tables)})


def mark_name(trigger: Trigger, column: str) -> str:
    """What a trigger's watermark is called."""
    return f"{trigger.table}.{column}"


def time_literal(text: str) -> str:
    """A time in quotes. Raises ValueError when it is none."""
    if not TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no time")
    return f"'{text}'"


def checked_word(word: str) -> str:
    """A word of the catalogue. Raises ValueError when it is more than a word."""
    if not _WORD.fullmatch(word):
        raise ValueError(f"{word!r} is no plain word")
    return word


def checked_table(name: str) -> str:
    """A table's name, to be written as a value. Raises ValueError when it is none."""
    if not _TABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no plain word")
    return name


def _range_condition(column: str, key_range: KeyRange) -> str:
    if key_range.low is None:
        return f"({column} < {int(key_range.high or 0)} or {column} is null)"
    upper = "" if key_range.high is None else f" and {column} < {int(key_range.high)}"
    return f"({column} >= {int(key_range.low)}{upper})"


def _limit(most: int | None) -> str:
    return "" if most is None else f" limit {int(most)}"


def _number(mark: Mark) -> int:
    """A missing mark means the other table was empty: everything in it now is new."""
    return int(mark) if mark is not None else -(2**62)


def _since(mark: Mark, overlap_minutes: int) -> str:
    if mark is None:
        return time_literal("1000-01-01 00:00:00")
    if not TIME.fullmatch(str(mark)):
        raise ValueError(f"the watermark {mark!r} is no time")
    moment = datetime.fromisoformat(str(mark)) - timedelta(minutes=overlap_minutes)
    return time_literal(moment.isoformat(sep=" ", timespec="microseconds"))
