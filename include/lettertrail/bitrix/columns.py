"""How a source column travels: a guarded expression there, a type on the wire, a type in the warehouse.

What the expressions look like is the business of `mysql.py` and `postgres.py`; every one of them speaks of the table
under the alias `t`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

ARROW_TYPES: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "text": pa.string(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "bytea": pa.large_binary(),
}
"""Type on the wire -> Arrow type of the batches."""
WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})
"""PostgreSQL types whose values all fit 64 bits."""
_PRIME = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Column:
    """One source column, ready to be selected, copied and stored."""

    name: str
    """Lower case: its name in raw_bitrix."""
    select: str
    """The guarded expression, without an alias."""
    digest: str
    """How the column enters the row hash. Part of a table's signature: when it changes, all hashes are out of date."""
    wire_type: str
    """PostgreSQL type of the column in the landing table; a key of `ARROW_TYPES`."""
    pg_type: str
    """PostgreSQL type in raw_bitrix."""
    is_date: bool = False
    is_session_time: bool = False
    """The server converts it to the session's zone, which is UTC for us (`timestamp` of MySQL)."""
    source: str = ""
    """The quoted column itself."""
    moves_by_itself: bool = False
    """The database sets it to the time of every change (ON UPDATE CURRENT_TIMESTAMP)."""
    indexed: bool = False
    """Some index begins with it."""
    is_nullable: bool = True
    raw: str = ""
    """An expression for the bytes of its text form, for values that cannot be read otherwise."""
    terms: tuple[str, ...] = ()
    """What it adds to the text that is hashed."""
    chained: str = ""
    """A large value, hashed behind that text instead of copied into it."""


def has_whole_key(columns: Sequence[Column], key: Sequence[str]) -> bool:
    """Whether all key columns are whole numbers, so that `squares` can stand for the key."""
    kinds = {column.name: column.pg_type for column in columns}
    return all(kinds.get(name) in WHOLE_NUMBERS for name in key)


def squares(numbers: Sequence[str]) -> str:
    """SQL for one number per key, the same in MySQL, MariaDB and PostgreSQL, to be summed over a slice.

    The plain sum of ids does not notice that one went up and another down; a sum of squares does, for a tenth more
    time (measured: 0.22 instead of 0.20 µs per row in MariaDB, 0.13 instead of 0.12 in PostgreSQL). Several columns
    are folded into one number first: 0.25 µs, where a hash over their texts takes 0.96.

    Args:
        numbers: the key's columns as SQL expressions of 64 bits.
    """
    folded = f"mod({numbers[0]}, {_PRIME})"
    for number in numbers[1:]:
        # 2^31 * 1000003 + 2^31 is far below 2^63.
        folded = f"mod({folded} * 1000003 + mod({number}, {_PRIME}), {_PRIME})"
    return f"({folded} * {folded})"
