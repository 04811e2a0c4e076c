"""Makes Arrow batches of a source fit for PostgreSQL, and keeps count of what that took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lettertrail.bitrix import php
from lettertrail.bitrix.columns import ARROW_TYPES, Column
from lettertrail.bitrix.port import ROW_HASH, ZEROED, Unreadable
from lettertrail.errors import PhpSyntaxError
from lettertrail.warehouse.target import Target

JSON_SUFFIX = "__json"
BATCH_ROWS = 10_000
BATCH_BYTES = 8 * 2**20
"""What is cleaned and written at once; each step holds a copy of it."""
MOST_UNPARSED = 1_000
"""Values that are no PHP are kept up to this many per load: a column declared wrongly must not fill the disk."""


def with_json_columns(columns: tuple[Column, ...], names: Sequence[str]) -> tuple[Column, ...]:
    """The columns and, for each PHP-serialized one of `names` that is there, `<name>__json jsonb` behind them."""
    here = [column.name for column in columns if column.name in names]
    parsed = (Column(name=name + JSON_SUFFIX, select="", digest="", wire_type="text", pg_type="jsonb") for name in here)
    return (*columns, *parsed)


def of_the_source(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Without the columns that `with_json_columns` added."""
    return tuple(column for column in columns if not is_parsed(column))


def is_parsed(column: Column) -> bool:
    """Whether `with_json_columns` made it."""
    return column.name.endswith(JSON_SUFFIX) and column.pg_type == "jsonb" and not column.digest


@dataclass(frozen=True, slots=True)
class Unparsed:
    """One value that should have been PHP: its row is stored with NULL beside it."""

    key: dict[str, object]
    column: str
    reason: str
    raw: str
    """Hex of the value's bytes."""


class Cleaner:
    """Passes batches on with exactly the columns of `schema`.

    Args:
        on_stage: told "source opened" and "rows landing", see `load.STAGES`.
    """

    def __init__(self, target: Target, *, on_stage: Callable[[str], None] = lambda _: None) -> None:
        fields = [pa.field(column.name, ARROW_TYPES[column.wire_type]) for column in target.columns]
        self.schema = pa.schema([*fields, pa.field(ROW_HASH, pa.int64())])
        self.rows = 0
        self.unparsed: list[Unparsed] = []
        self._key = target.key
        self._serialized = {
            column.name: column.name.removesuffix(JSON_SUFFIX) for column in target.columns if is_parsed(column)
        }
        self._on_stage = on_stage
        self._zero_dates = 0
        self._zero_bytes = 0
        self._unparsed_count = 0

    def clean(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, as they come."""
        is_first = True
        for batch in _small(batches):
            if is_first:
                self._on_stage("source opened")
            yield self._cleaned(batch)
            if is_first:
                self._on_stage("rows landing")
            is_first = False
        if is_first:
            self._on_stage("source opened")
            self._on_stage("rows landing")

    @property
    def notices(self) -> list[str]:
        """What a person should know about the rows passed on so far."""
        said = []
        if self._zero_dates:
            said.append(f"{self._zero_dates} zero or impossible dates became null")
        if self._zero_bytes:
            said.append(f"{self._zero_bytes} texts lost their zero bytes")
        if self._unparsed_count:
            said.append(f"{self._unparsed_count} values are no PHP")
        return said

    def _cleaned(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.rows += batch.num_rows
        self._zero_dates += pc.sum(batch.column(ZEROED)).as_py() or 0
        arrays = [
            self._parsed(batch, self._serialized[field.name])
            if field.name in self._serialized
            else self._fit(batch.column(field.name), field.type)
            for field in self.schema
        ]
        return pa.record_batch(arrays, schema=self.schema)

    def _fit(self, array: pa.Array, kind: pa.DataType) -> pa.Array:
        if array.type != kind:
            array = array.cast(kind)
        if kind == pa.string() and _has_zero_byte(array):
            # PHP writes zero bytes into serialized private properties; PostgreSQL takes none in a text.
            self._zero_bytes += pc.sum(pc.match_substring(array, "\0")).as_py() or 0
            array = pc.replace_substring(array, "\0", "")
        return array

    def _parsed(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        """JSON of a PHP-serialized column, from its bytes as they came; NULL where there is none or it cannot be."""
        found: list[str | None] = []
        for position, value in enumerate(batch.column(name).cast(pa.large_binary()).to_pylist()):
            try:
                found.append(php.to_json(value) if value else None)
            except PhpSyntaxError as error:
                found.append(None)
                self._unparsed_count += 1
                if len(self.unparsed) < MOST_UNPARSED:
                    key = {part: batch.column(part)[position].as_py() for part in self._key}
                    self.unparsed.append(Unparsed(key, name, str(error), value.hex()))
        return pa.array(found, pa.string())


def unreadable_keys(unreadable: Sequence[Unreadable]) -> list[str] | None:
    """The keys of rows that are in the source although no batch holds them; None when one of them is not known."""
    keys = [row.key for row in unreadable]
    return None if None in keys else [key for key in keys if key is not None]


def _small(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most `BATCH_ROWS`, and of about `BATCH_BYTES`."""
    for batch in batches:
        row_bytes = max(1, batch.nbytes // max(1, batch.num_rows))
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _has_zero_byte(array: pa.Array) -> bool:
    """Looks at all bytes of all texts at once: a search text by text takes thirty times as long."""
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return False
    ends = np.frombuffer(offsets, np.int32)
    region = np.frombuffer(data, np.uint8)[ends[array.offset] : ends[array.offset + len(array)]]
    return bool(region.size) and int(region.min()) == 0
