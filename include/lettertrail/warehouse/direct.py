"""Rows straight into the raw table, as its own binary types: for key ranges in which it holds nothing yet.

What makes it fast is what it leaves out: no landing table, no join, no cast in PostgreSQL. It needs every column to
have a binary form that Arrow can write; a table with a column that has none (interval, unbounded numeric) goes the
long way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import ROW_HASH
from lettertrail.warehouse.target import Target

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_MOST_DIGITS = 38
_PLAIN: dict[tuple[str, str], pa.DataType] = {
    ("bigint", "smallint"): pa.int16(),
    ("bigint", "integer"): pa.int32(),
    ("bigint", "bigint"): pa.int64(),
    ("text", "text"): pa.string(),
    ("double precision", "double precision"): pa.float64(),
    ("double precision", "real"): pa.float32(),
    ("boolean", "boolean"): pa.bool_(),
    ("date", "date"): pa.date32(),
    ("timestamp", "timestamp"): pa.timestamp("us"),
    ("bytea", "bytea"): pa.large_binary(),
    # jsonb's binary form is one byte of version and the text.
    ("text", "jsonb"): pa.large_binary(),
}
_JSONB_VERSION = pa.scalar(b"\x01", pa.large_binary())


def direct_type(column: Column, held_type: str) -> pa.DataType | None:
    """The Arrow type whose binary form the raw table's column takes; None when there is none."""
    plain = _PLAIN.get((column.wire_type, held_type))
    if plain is not None or column.wire_type != "text":
        return plain
    numeric = _NUMERIC.fullmatch(held_type)
    if numeric is None or int(numeric[1]) > _MOST_DIGITS:
        return None
    return pa.decimal128(int(numeric[1]), int(numeric[2]))


def is_direct(target: Target) -> bool:
    """Whether all columns can go straight into the raw table."""
    return all(direct_type(column, target.types[column.name]) is not None for column in target.columns)


def direct_schema(target: Target) -> pa.Schema:
    """The raw table's own types, with the columns that are ours."""
    fields = [pa.field(column.name, direct_type(column, target.types[column.name])) for column in target.columns]
    ours = [
        pa.field(ROW_HASH, pa.int64()),
        pa.field("_loaded_at", pa.timestamp("us", "UTC")),
        pa.field("_load_id", pa.int64()),
    ]
    return pa.schema([*fields, *ours])


def as_held(
    target: Target, batches: Iterator[pa.RecordBatch], *, at: datetime, load_id: int, timezone: ZoneInfo
) -> Iterator[pa.RecordBatch]:
    """Cleaned batches in the types of `direct_schema`.

    Raises:
        pa.ArrowInvalid: a value does not fit its column.
    """
    schema = direct_schema(target)
    session_times = [column.is_session_time for column in target.columns]
    for batch in batches:
        arrays = [
            _cast(batch.column(number), schema.field(number).type, timezone if is_session_time else None)
            for number, is_session_time in enumerate(session_times)
        ]
        arrays.append(batch.column(ROW_HASH))
        arrays.append(pa.repeat(pa.scalar(at, schema.field("_loaded_at").type), batch.num_rows))
        arrays.append(pa.repeat(pa.scalar(load_id, pa.int64()), batch.num_rows))
        yield pa.record_batch(arrays, schema=schema)


def _cast(array: pa.Array, kind: pa.DataType, zone: ZoneInfo | None) -> pa.Array:
    if zone is not None and pa.types.is_timestamp(kind):
        # A MySQL `timestamp` arrives in UTC; raw holds the wall time of the site's zone.
        aware = pc.assume_timezone(array, "UTC").cast(pa.timestamp("us", zone.key))
        return pc.local_timestamp(aware)
    if pa.types.is_string(array.type) and pa.types.is_large_binary(kind):
        text = array.cast(pa.large_string()).cast(pa.large_binary())
        return pc.binary_join_element_wise(_JSONB_VERSION, text, pa.scalar(b"", pa.large_binary()))
    return array if array.type == kind else array.cast(kind)
