"""Writes columns of values into a MariaDB table, quickly: a tab-separated file and LOAD DATA LOCAL INFILE."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from MySQLdb.cursors import Cursor
from numpy.typing import NDArray

from lettertrail.errors import ContractError
from lettertrail.sandbox.bitrix_schema import tables

ROWS_PER_WRITE = 50_000
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
ZERO_DATETIME = "0000-00-00 00:00:00"
ZERO_DATE = "0000-00-00"


def write_rows(cursor: Cursor, table: str, columns: Mapping[str, object]) -> int:
    """Appends rows to `table` and gives their number.

    `columns`: column name → array or list (all of one length), or one value for all rows. None, NA and NaT become NULL;
    datetime64 arrays must be in the site's own naive time. Columns left out keep their default.

    Raises:
        KeyError: when the table has no such column.
        ContractError: when the server changed or left out a row.
    """
    known = set(tables()[table].column_names)
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise KeyError(f"{table} has no column {', '.join(unknown)}")
    many = {name: value for name, value in columns.items() if _is_many(value)}
    single = {name: value for name, value in columns.items() if name not in many}
    lengths = {len(value) for value in many.values()}  # type: ignore[arg-type]
    if len(lengths) != 1:
        raise ValueError(f"{table}: columns of different lengths")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", suffix=".tsv") as out:
        rows = zip(*(as_texts(value) for value in many.values()), strict=True)
        while chunk := list(islice(rows, ROWS_PER_WRITE)):
            out.write("\n".join(map("\t".join, chunk)))
            out.write("\n")
        out.flush()
        names = ", ".join(f"`{name}`" for name in many)
        fixed = ", ".join(f"`{name}` = %s" for name in single)
        cursor.execute(
            f"LOAD DATA LOCAL INFILE %s INTO TABLE `{table}` CHARACTER SET utf8mb4 ({names})"
            + (f" SET {fixed}" if fixed else ""),
            (out.name, *single.values()),
        )
    # LOCAL turns errors (a duplicate key, a cut value) into warnings and goes on.
    cursor.execute("SHOW WARNINGS LIMIT 1")
    warning = cursor.fetchone()
    if warning is not None:
        raise ContractError(f"{table} did not take the generated rows: {warning[2]}")
    return lengths.pop()


def as_texts(values: Any) -> Iterable[str]:
    """Each value as LOAD DATA reads it."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        texts = np.datetime_as_string(values, unit="D" if values.dtype == "datetime64[D]" else "s")
        return ("\\N" if text == "NaT" else text for text in texts.tolist())
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return map(str, values.tolist())
    if isinstance(values, np.ndarray):
        values = values.tolist()
    known: dict[object, str] = {}  # flags, codes and a person's own fields repeat many times
    return (known.get(value) or known.setdefault(value, _text(value)) for value in values)


def _text(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return "\\N"
    return str(value).translate(_ESCAPES)


def _is_many(value: object) -> bool:
    return isinstance(value, (np.ndarray, list, tuple))


def yes_no(flags: Sequence[bool] | NDArray[np.bool_]) -> list[str]:
    """Bitrix writes booleans as the letters Y and N."""
    return ["Y" if flag else "N" for flag in np.asarray(flags, dtype=bool).tolist()]


def encode_emoji(text: str) -> str:
    """Characters beyond three bytes as `:f09f9880:`, the way the sender module stores them (bitrix.md 5)."""
    return "".join(f":{char.encode().hex()}:" if ord(char) > 0xFFFF else char for char in text)


def local(times: pd.Series[Any]) -> NDArray[np.datetime64]:
    """Aware times as the site's naive wall time, to the second."""
    naive = times.dt.tz_convert("Europe/Moscow").dt.tz_localize(None)
    moments: NDArray[np.datetime64] = naive.to_numpy(dtype="datetime64[s]")
    return moments
