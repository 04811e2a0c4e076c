"""What every part of the sample site is written with: the port to a database, and MariaDB behind it.

The parts work out columns of values and hand them to a `Writer`; `MariaDbWriter` puts them into a tab-separated file
and LOAD DATA LOCAL INFILE, `postgres_site_rows.PostgresWriter` into COPY. Both read the same text form (`as_texts`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pandas as pd
from MySQLdb.cursors import Cursor
from numpy.typing import NDArray

from lettertrail.errors import ContractError
from lettertrail.sandbox.bitrix_schema import tables

ROWS_PER_WRITE = 50_000
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
NULL = "\\N"
ZERO_DATETIME = "0000-00-00 00:00:00"
ZERO_DATE = "0000-00-00"


class Writer(Protocol):
    """Takes the rows of the sample site, one table at a time."""

    @property
    def moves_on_update(self) -> bool:
        """Whether ON UPDATE CURRENT_TIMESTAMP works there, so that a change time follows the change (bitrix.md 4)."""

    def write(self, table: str, columns: Mapping[str, object]) -> int:
        """Appends rows to `table` and gives their number; 0 for a table that this kind of site does not have.

        `columns`: column name → array or list (all of one length), or one value for all rows. None, NA and NaT become
        NULL; datetime64 arrays must be in the site's own naive time. Columns left out keep their default.

        Raises:
            KeyError: when the table has no such column.
            ContractError: when the server changed or left out a row.
        """


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one write, split into those with a value per row and those with one value for all."""

    many: Mapping[str, Any]
    single: Mapping[str, object]
    length: int


class Blocks:
    """Makes blocks for empty tables. Ids left out are numbered on, here and not by the servers: MariaDB leaves gaps
    between two loads, and a PostgreSQL identity knows nothing of ids that were given."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def make(self, table: str, columns: Mapping[str, object]) -> Block:
        """`columns` checked against the table and against each other; raises like `Writer.write`."""
        unknown = [name for name in columns if name not in tables()[table].column_names]
        if unknown:
            raise KeyError(f"{table} has no column {', '.join(unknown)}")
        many: dict[str, Any] = {
            name: value for name, value in columns.items() if isinstance(value, (np.ndarray, list, tuple))
        }
        lengths = {len(value) for value in many.values()}
        if len(lengths) != 1:
            raise ValueError(f"{table}: columns of different lengths")
        length = lengths.pop()
        key = next((column.name for column in tables()[table].columns if column.is_auto_increment), None)
        if key is not None and length:
            last = self._last.get(table, 0)
            many.setdefault(key, np.arange(last + 1, last + 1 + length))
            self._last[table] = max(last, int(np.max(many[key])))
        return Block(many, {name: value for name, value in columns.items() if name not in many}, length)


@dataclass(frozen=True, slots=True)
class MariaDbWriter:
    """Writes into the database the cursor is in."""

    cursor: Cursor
    blocks: Blocks = field(default_factory=Blocks)

    @property
    def moves_on_update(self) -> bool:
        """MariaDB maintains such columns."""
        return True

    def write(self, table: str, columns: Mapping[str, object]) -> int:
        """See `Writer.write`."""
        rows = self.blocks.make(table, columns)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", suffix=".tsv") as out:
            lines = zip(*(as_texts(value) for value in rows.many.values()), strict=True)
            while chunk := list(islice(lines, ROWS_PER_WRITE)):
                out.write("\n".join(map("\t".join, chunk)))
                out.write("\n")
            out.flush()
            names = ", ".join(f"`{name}`" for name in rows.many)
            fixed = ", ".join(f"`{name}` = %s" for name in rows.single)
            self.cursor.execute(
                f"LOAD DATA LOCAL INFILE %s INTO TABLE `{table}` CHARACTER SET utf8mb4 ({names})"
                + (f" SET {fixed}" if fixed else ""),
                (out.name, *rows.single.values()),
            )
        # LOCAL turns errors (a duplicate key, a cut value) into warnings and goes on.
        self.cursor.execute("SHOW WARNINGS LIMIT 1")
        warning = self.cursor.fetchone()
        if warning is not None:
            raise ContractError(f"{table} did not take the generated rows: {warning[2]}")
        return rows.length


def as_texts(values: Any) -> Iterable[str]:
    """Each value as LOAD DATA and COPY read it."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        texts = np.datetime_as_string(values, unit="D" if values.dtype == "datetime64[D]" else "s")
        return (NULL if text == "NaT" else text for text in texts.tolist())
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return map(str, values.tolist())
    if isinstance(values, np.ndarray):
        values = values.tolist()
    known: dict[object, str] = {}  # flags, codes and a person's own fields repeat many times
    return (known.get(value) or known.setdefault(value, _text(value)) for value in values)


def _text(value: object) -> str:
    if isinstance(value, np.datetime64):
        return NULL if np.isnat(value) else str(value).replace("T", " ")
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return NULL
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers that pandas made floats because some were missing; COPY takes no "7.0"
    return str(value).translate(_ESCAPES)


def by_column(names: str, rows: Sequence[Sequence[object]]) -> dict[str, object]:
    """Rows as columns for `Writer.write`; `names` are separated by spaces, in the order of a row's values."""
    return {name: [row[place] for row in rows] for place, name in enumerate(names.split())}


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


def moment(time: pd.Timestamp) -> np.datetime64:
    """One aware time as the site's naive wall time, to the second."""
    naive: np.datetime64 = local(pd.Series([time]))[0]
    return naive
