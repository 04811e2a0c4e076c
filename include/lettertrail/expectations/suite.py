"""What a suite is. Great Expectations takes seconds to import, so nothing here does it before a door is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Expectation = Any
"""One of `great_expectations.expectations`, which is untyped to its users."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Expectations about the rows of one relation, or of one query that answers with a few figures."""

    name: str
    """Also the page in Data Docs: `raw_bitrix.b_sender_posting`."""
    expectations: tuple[Expectation, ...]
    relation: str | None = None
    """`<schema>.<table>`: looked at where it lies, in one or two scans."""
    query: str | None = None
    """A select without parameters, for figures only: its whole answer is fetched, and it runs more than once."""
    rows_behind: Mapping[str, str] = field(default_factory=dict)
    """By figure of that query, the select of the rows it counts: they are kept when the figure is out of its limits."""


def computed_once(query: str) -> str:
    """The query in a form in which the figures asked of it are not each computed anew."""
    return f"select * from (with figures as materialized ({query}) select * from figures) as computed"  # noqa: S608


def not_null(*columns: str) -> list[Expectation]:
    """Each column has a value in every row."""
    return [_gxe().ExpectColumnValuesToNotBeNull(column=column) for column in columns]


def unique(column: str) -> Expectation:
    """No value of the column comes twice."""
    return _gxe().ExpectColumnValuesToBeUnique(column=column)


def one_of(column: str, words: Sequence[Any]) -> Expectation:
    """The column holds known words only (or nothing)."""
    return _gxe().ExpectColumnValuesToBeInSet(column=column, value_set=list(words))


def not_empty(at_least: int = 1) -> Expectation:
    """The query has rows."""
    return _gxe().ExpectTableRowCountToBeBetween(min_value=at_least)


def between(
    column: str, *, at_least: float | None = None, at_most: float | None = None, warn_only: bool = False
) -> Expectation:
    """Every value of a figure (a count or a share, never an address) lies within the limits; no value is fine."""
    return _gxe().ExpectColumnValuesToBeBetween(
        column=column,
        min_value=at_least,
        max_value=at_most,
        severity="warning" if warn_only else "critical",
    )


def contains(column: str, words: Sequence[str]) -> Expectation:
    """Every one of the words comes at least once."""
    return _gxe().ExpectColumnDistinctValuesToContainSet(column=column, value_set=list(words))


def matches(column: str, regex: str) -> Expectation:
    """Every value fits the pattern."""
    return _gxe().ExpectColumnValuesToMatchRegex(column=column, regex=regex)


def not_before(later: str, earlier: str, *, warn_only: bool = False) -> Expectation:
    """Where both times are known, one is not before the other."""
    return _gxe().ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=later,
        column_B=earlier,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        severity="warning" if warn_only else "critical",
    )


def _gxe() -> Any:
    import great_expectations.expectations as gxe  # noqa: PLC0415

    return gxe
