"""A list method over one table: filter, order and page become one bounded SQL query."""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lettertrail.sandbox.bitrix_methods.conditions import Where, add_condition, order_clause
from lettertrail.sandbox.bitrix_methods.fields import as_text
from lettertrail.sandbox.bitrix_methods.paging import PAGE, page_of
from lettertrail.sandbox.bitrix_methods.portal import (
    Column,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    columns_of,
    mapping,
    sequence,
)

NUMBERS = frozenset({"int", "bigint", "smallint", "tinyint"})
FRACTIONS = frozenset({"decimal", "double", "float"})

Show = Callable[[Portal, Any, str], Any]


@dataclass(frozen=True, slots=True)
class TableShape:
    """The fields of one table under the names that callers use."""

    table: str
    columns: Mapping[str, Column]

    def expression(self, name: str) -> str | None:
        """The column behind a name."""
        column = self.columns.get(name)
        return None if column is None else f"m.`{column.name}`"

    def type_of(self, name: str) -> str:
        """The SQL type of a field."""
        return self.columns[name].type


def camel(name: str) -> str:
    """`DATE_INSERT` → `dateInsert`, `UPDATED_1C` → `updated1c`."""
    first, *rest = name.lower().split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def as_typed(portal: Portal, value: Any, kind: str) -> Any:
    """A value as the newer methods show it: numbers are numbers, times have an offset, nothing is null."""
    if isinstance(value, datetime):
        return portal.iso(value)
    if isinstance(value, date):
        return portal.iso_date(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return int(value) if kind in NUMBERS and value is not None else value


@dataclass(frozen=True, slots=True)
class TableList:
    """One list method.

    Called as a method is: `TableList(…)(portal, params)`.
    """

    table: str
    result: str | None = None
    """The key below `result` under which the rows come; None: `result` is the list."""
    name: Callable[[str], str] = str
    """How a column is called outside."""
    show: Show = as_text
    only: Sequence[str] = ()
    """The columns there are outside, when it is not all of them."""
    hidden: frozenset[str] = frozenset()
    fixed: str = ""
    """A condition that always holds."""
    key: str = "ID"
    """The column that decides between equals, and comes along whatever is selected."""
    is_paged: bool = True
    filters: Sequence[str] = ("filter", "FILTER")
    complete: Callable[[Portal, Any, list[Row], Sequence[str]], None] | None = None
    """Adds to the shown rows what is in other tables; gets the cursor and what was selected."""

    def __call__(self, portal: Portal, params: Params) -> Reply:
        """One page.

        Raises:
            RestError: 404 `ERROR_METHOD_NOT_FOUND` when the module with this table is not installed.
        """
        page = page_of(params)
        with portal.database.transaction() as cursor:
            shape = self.shape(cursor)
            where = self._where(portal, shape, params)
            selected = [str(name) for name in sequence(params, "select") or sequence(params, "SELECT")]
            order = order_clause(shape, mapping(params, "order") or mapping(params, "ORDER"), key=f"m.`{self.key}`")
            limit = f" limit {PAGE} offset {page.offset}" if self.is_paged else ""
            names = ", ".join(f"{shape.expression(name)} as `{name}`" for name in self._wanted(shape, selected))
            cursor.execute(
                f"select {names} from `{shape.table}` m where {where.sql()} order by {order}{limit}", where.values
            )
            rows = list(cursor.fetchall())
            total = self._count(cursor, shape, where) if page.is_counted or not self.is_paged else None
            shown = [
                {name: self.show(portal, value, shape.type_of(name)) for name, value in row.items()} for row in rows
            ]
            if self.complete is not None:
                self.complete(portal, cursor, shown, selected)
        result: Any = {self.result: shown} if self.result else shown
        if not self.is_paged:
            return Reply(result, total=len(shown))
        return page.reply(result, shown=len(shown), total=total)

    def shape(self, cursor: Any) -> TableShape:
        """The fields there are outside."""
        columns = columns_of(cursor, self.table)
        if not columns:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", status=404)
        kept = [columns[name] for name in self.only if name in columns] if self.only else list(columns.values())
        return TableShape(
            self.table, {self.name(column.name): column for column in kept if column.name not in self.hidden}
        )

    def _where(self, portal: Portal, shape: TableShape, params: Params) -> Where:
        where = Where()
        if self.fixed:
            where.add(self.fixed)
        for source in self.filters:
            for key, value in mapping(params, source).items():
                add_condition(where, portal, shape, str(key), value)
        return where

    def _wanted(self, shape: TableShape, selected: Sequence[str]) -> list[str]:
        key = self.name(self.key)
        if not selected or "*" in selected:
            return list(shape.columns)
        return list(dict.fromkeys([key, *(name for name in selected if name in shape.columns)]))

    def _count(self, cursor: Any, shape: TableShape, where: Where) -> int:
        cursor.execute(f"select count(*) as number from `{shape.table}` m where {where.sql()}", where.values)
        return int(cursor.fetchone()["number"])
