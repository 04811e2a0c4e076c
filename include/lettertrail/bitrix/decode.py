"""From what ConnectorX hands over to the batches of the port; value by value, where it has to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from lettertrail.bitrix.columns import ARROW_TYPES, Column
from lettertrail.bitrix.port import ROW_HASH, ZEROED, Unreadable

_PARSERS: dict[str, Callable[[str], Any]] = {
    "bigint": int,
    "text": str,
    "double precision": float,
    "boolean": lambda text: {"true": True, "false": False}[text],
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
}


def stream_schema(columns: Sequence[Column]) -> pa.Schema:
    """The columns in their types on the wire, the row hash, and the count of dates that became NULL."""
    fields = [pa.field(column.name, ARROW_TYPES[column.wire_type]) for column in columns]
    return pa.schema([*fields, pa.field(ROW_HASH, pa.int64()), pa.field(ZEROED, pa.int64())])


def as_promised(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """A fast read in the types of `stream_schema`.

    Raises:
        pa.ArrowInvalid: a text is no UTF-8.
    """
    return table.cast(stream_schema(columns))


def decoded(
    table: pa.Table, columns: Sequence[Column], key: Sequence[str], *, codec: str
) -> tuple[pa.Table, list[Unreadable]]:
    """A read of `Column.raw`, in which every value is bytes: the good rows, and the others as they are.

    The reasons name the column and what is wrong with it, never a value.
    """
    schema = stream_schema(columns)
    reasons: dict[int, list[str]] = {}
    arrays = []
    for column in columns:
        values: list[Any] = []
        for row, raw in enumerate(table.column(column.name).to_pylist()):
            value, reason = _decoded(raw, column, codec)
            values.append(value)
            if reason is not None:
                reasons.setdefault(row, []).append(f"{column.name}: {reason}")
        arrays.append(pa.array(values, schema.field(column.name).type))
    arrays += [table.column(name).cast(pa.int64()) for name in (ROW_HASH, ZEROED)]
    whole = pa.table(arrays, schema=schema)
    if not reasons:
        return whole, []
    good = pa.array([row not in reasons for row in range(whole.num_rows)])
    unreadable = [
        _unreadable(table, columns, key, row=row, reason="; ".join(said), codec=codec) for row, said in reasons.items()
    ]
    return whole.filter(good), unreadable


def _decoded(raw: bytes | None, column: Column, codec: str) -> tuple[Any, str | None]:
    """The value and None, or None and what is wrong."""
    if raw is None or column.wire_type == "bytea":
        return raw, None
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        return None, f"byte {error.object[error.start]:#04x} at {error.start} is no {error.encoding}"
    try:
        return _PARSERS[column.wire_type](text), None
    except (ValueError, KeyError):
        return None, f"is no {column.wire_type}"


def _unreadable(
    table: pa.Table, columns: Sequence[Column], key: Sequence[str], *, row: int, reason: str, codec: str
) -> Unreadable:
    raw: dict[str, bytes] = {}
    by_name = {column.name: column for column in columns}
    for column in columns:
        value = table.column(column.name)[row].as_py()
        if value is not None:
            raw[column.name] = value
    parts: list[str] = []
    for name in key:
        if name == ROW_HASH:
            parts.append(str(table.column(ROW_HASH)[row].as_py()))
            continue
        value, fault = _decoded(raw.get(name), by_name[name], codec)
        if value is None or fault is not None:
            return Unreadable(None, reason, {column: data.hex() for column, data in raw.items()})
        parts.append(str(value))
    return Unreadable(", ".join(parts), reason, {column: data.hex() for column, data in raw.items()})
