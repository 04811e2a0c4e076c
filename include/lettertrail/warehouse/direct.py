"""Rows straight into the raw table: for key ranges in which it holds nothing yet.

What makes it fast is what it leaves out: no landing table, no join, no cast in PostgreSQL. It needs every column to
arrive in a form that the raw table's own type has in binary; a table with a column that does not (numeric, interval)
goes the long way.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import ROW_HASH
from lettertrail.warehouse.target import Target

_PAIRS = frozenset(
    {
        ("bigint", "smallint"), ("bigint", "integer"), ("bigint", "bigint"), ("text", "text"), ("text", "jsonb"),
        ("double precision", "double precision"), ("double precision", "real"), ("boolean", "boolean"),
        ("date", "date"), ("timestamp", "timestamp"), ("bytea", "bytea"),
    }
)  # fmt: skip
"""Types on the wire and in the raw table between which nothing but the width changes."""


def is_direct(target: Target) -> bool:
    """Whether all columns can go straight into the raw table."""
    return all(can_be_copied(column, target.types[column.name]) for column in target.columns)


def can_be_copied(column: Column, held_type: str) -> bool:
    """Whether the raw column takes in binary what arrives."""
    return (column.wire_type, held_type) in _PAIRS


def held_columns(target: Target) -> list[tuple[str, str]]:
    """Name and type of every column that a direct copy fills."""
    ours = [(ROW_HASH, "bigint"), ("_loaded_at", "timestamptz"), ("_load_id", "bigint")]
    return [*((column.name, target.types[column.name]) for column in target.columns), *ours]


def as_held(
    target: Target, batches: Iterator[pa.RecordBatch], *, at: datetime, load_id: int, timezone: ZoneInfo
) -> Iterator[pa.RecordBatch]:
    """Cleaned batches with the columns of `held_columns`."""
    names = [name for name, _ in held_columns(target)]
    moment = pa.scalar(at, pa.timestamp("us", "UTC"))
    for batch in batches:
        arrays = [
            _local(batch.column(column.name), timezone) if column.is_session_time else batch.column(column.name)
            for column in target.columns
        ]
        arrays += [
            batch.column(ROW_HASH),
            pa.repeat(moment, batch.num_rows),
            pa.repeat(pa.scalar(load_id, pa.int64()), batch.num_rows),
        ]
        yield pa.record_batch(arrays, names=names)


def _local(array: pa.Array, zone: ZoneInfo) -> pa.Array:
    """A MySQL `timestamp` arrives in UTC; raw holds the wall time of the site's zone."""
    return pc.local_timestamp(pc.assume_timezone(array, "UTC").cast(pa.timestamp("us", zone.key)))
