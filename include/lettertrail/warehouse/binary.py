"""Arrow batches in PostgreSQL's binary COPY format, put together by Arrow itself.

The format (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format") is, for each row, the number of
fields and for each field its length and its bytes, all big-endian. Here the fixed parts of all rows of a batch are laid
out as one table of bytes, and Arrow joins them row by row with the texts. That takes half the time of ADBC's writer
(0.48 against 0.92 µs for a row of 16 columns and 235 bytes) and uses the connection that the rest of the load uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH_DAYS = 10_957  # from 1970 to 2000, where PostgreSQL begins to count
_EPOCH_MICROSECONDS = _EPOCH_DAYS * 86_400_000_000
_NULL = pa.scalar(b"\xff\xff\xff\xff", pa.binary())
_JSONB_VERSION = b"\x01"

Bytes = npt.NDArray[np.uint8]
"""One row of bytes per row of the batch."""

_FIXED: dict[str, tuple[pa.DataType, str, int]] = {
    # The Arrow type with its range, its form on the wire, and what PostgreSQL counts from.
    "smallint": (pa.int16(), ">i2", 0),
    "integer": (pa.int32(), ">i4", 0),
    "bigint": (pa.int64(), ">i8", 0),
    "real": (pa.float32(), ">f4", 0),
    "double precision": (pa.float64(), ">f8", 0),
    "boolean": (pa.uint8(), "u1", 0),
    "date": (pa.int32(), ">i4", _EPOCH_DAYS),
    "timestamp": (pa.int64(), ">i8", _EPOCH_MICROSECONDS),
    "timestamptz": (pa.int64(), ">i8", _EPOCH_MICROSECONDS),
}
_VARIABLE = frozenset({"text", "bytea", "jsonb"})
TYPES = frozenset(_FIXED) | _VARIABLE
"""PostgreSQL types that can be written."""


def encode(batch: pa.RecordBatch, types: Sequence[str]) -> memoryview:
    """The rows of a batch in the format, without header and trailer; less than 2 GB of them.

    Args:
        types: the PostgreSQL type of each column, one of `TYPES`.

    Raises:
        pa.ArrowInvalid: a number is too large for its type.
    """
    if not batch.num_rows:
        return memoryview(b"")
    parts: list[pa.Array] = []
    fixed: list[Bytes] = [_bytes(np.full(batch.num_rows, len(types), dtype=">i2"))]
    for array, kind in zip(batch.columns, types, strict=True):
        if kind in _VARIABLE:
            lengths, values = _variable(array, prefix=_JSONB_VERSION if kind == "jsonb" else b"")
            fixed.append(lengths)
            parts += [_joined(fixed), *values]
            fixed = []
        elif array.null_count:
            parts += [_joined(fixed)] if fixed else []
            # The length of a NULL is -1, and nothing follows it.
            parts.append(pc.if_else(array.is_valid(), _joined([_number(array, kind)]), _NULL))
            fixed = []
        else:
            fixed.append(_number(array, kind))
    parts += [_joined(fixed)] if fixed else []
    rows = pc.binary_join_element_wise(*parts, b"") if len(parts) > 1 else parts[0]
    _, ends, data = rows.buffers()
    ends = np.frombuffer(ends, np.int32)[rows.offset : rows.offset + len(rows) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]


def _number(array: pa.Array, kind: str) -> Bytes:
    """Length and value of each row; whatever for NULL."""
    arrow_type, form, epoch = _FIXED[kind]
    if epoch:
        array = array.view(arrow_type)
    elif array.type != arrow_type:
        array = array.cast(arrow_type)
    plain = array.fill_null(0) if array.null_count else array
    _, data = plain.buffers()
    values = np.frombuffer(data, arrow_type.to_pandas_dtype())[plain.offset : plain.offset + len(plain)]
    field = np.empty(len(values), dtype=[("length", ">i4"), ("value", form)])
    field["length"] = field.dtype["value"].itemsize
    field["value"] = values - epoch if epoch else values
    return _bytes(field)


def _variable(array: pa.Array, *, prefix: bytes) -> tuple[Bytes, list[pa.Array]]:
    """The length of each row's value, and the value, with its prefix before it."""
    sizes = pc.add(pc.binary_length(array), len(prefix)).fill_null(-1).cast(pa.int32())
    lengths = np.frombuffer(sizes.buffers()[1], np.int32)[sizes.offset : sizes.offset + len(sizes)].astype(">i4")
    values = array.cast(pa.binary()).fill_null(b"")
    if not prefix:
        return _bytes(lengths), [values]
    prefixes = pc.if_else(array.is_valid(), pa.scalar(prefix, pa.binary()), pa.scalar(b"", pa.binary()))
    return _bytes(lengths), [prefixes, values]


def _bytes(values: npt.NDArray[np.generic]) -> Bytes:
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize)


def _joined(fixed: Sequence[Bytes]) -> pa.Array:
    """Columns of bytes beside each other, as one Arrow column."""
    table = np.ascontiguousarray(np.concatenate(fixed, axis=1)) if len(fixed) > 1 else np.ascontiguousarray(fixed[0])
    rows, width = table.shape
    kind = pa.binary(width)
    return pa.FixedSizeBinaryArray.from_buffers(kind, rows, [None, pa.py_buffer(table)]).cast(pa.binary())
