"""Reading the simulated world's tables into the twins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows, by column name."""
    names = list(frame.columns)
    for row in frame.itertuples(index=False, name=None):
        yield dict(zip(names, row, strict=True))


def is_given(value: Any) -> bool:
    """Whether a cell holds something."""
    return isinstance(value, str) or str(value) not in {"None", "NaT", "<NA>", "nan"}


def text(value: Any) -> str:
    """A cell as text, empty when it holds nothing."""
    return str(value) if is_given(value) else ""
