"""What the translations of rows have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lettertrail.errors import ContractError

Row = Mapping[str, Any]


def needed(service: str, row: Row, name: str) -> Any:
    """A field that cannot be done without.

    Raises:
        ContractError: the row lacks it.
    """
    if name not in row:
        raise ContractError(f"{service}: a row lacks {name!r}")
    return row[name]


def numbered(rows: Iterable[Row], *names: str) -> Iterator[tuple[int, Row]]:
    """Each with how many before it agree in these fields: two opens in one second are two."""
    before: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        alike = tuple(row.get(name) for name in names)
        yield before[alike], row
        before[alike] += 1
