"""Counts and sums over keys, the way the databases and the warehouse compute them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Digest

_WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})
_PRIME = 2**31 - 1
_FACTOR = 1000003


def key_digests(
    entry: TableEntry, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], *, width: int
) -> dict[int, Digest]:
    """Slice number (`range_by` divided by `width`, towards zero) -> how many rows, and the sum over their keys.

    Args:
        rows: with at least the key and `range_by`, as REST wrote them.
    """
    kinds = {column.name: column.pg_type for column in columns}
    is_whole = all(kinds[name] in _WHOLE_NUMBERS for name in entry.key)
    found: dict[int, tuple[int, int]] = {}
    for row in rows:
        number = 0 if entry.range_by is None else _slice(int(row[entry.range_by]), width)
        count, total = found.get(number, (0, 0))
        key = [row[name] for name in entry.key]
        found[number] = (count + 1, total + (_square(key) if is_whole else _text_key(key)))
    return {number: Digest(count, total) for number, (count, total) in found.items()}


def _slice(number: int, width: int) -> int:
    return number // width if number >= 0 else -(-number // width)


def _square(key: Sequence[Any]) -> int:
    folded = _mod(int(key[0]), _PRIME)
    for number in key[1:]:
        folded = _mod(folded * _FACTOR + _mod(int(number), _PRIME), _PRIME)
    return folded * folded


def _mod(number: int, divisor: int) -> int:
    """As SQL has it: with the sign of the number."""
    return number % divisor if number >= 0 else -(-number % divisor)


def _text_key(key: Sequence[Any]) -> int:
    joined = "\x1f".join(map(str, key))
    return int(hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:15], 16)
