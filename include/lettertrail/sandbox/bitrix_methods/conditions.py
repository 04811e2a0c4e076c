"""How the filter and the order of a list method become SQL: the prefixes of bitrix.md 6.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lettertrail.sandbox.bitrix_methods.portal import Params, Portal

# Longest first, so that ">=" is not read as ">".
PREFIXES = ("!=%", "!%=", "!@", "!=", "!%", ">=", "<=", "=%", "%=", "@", "%", ">", "<", "=", "!")
MOMENTS = frozenset({"datetime", "timestamp", "date"})


class Shape(Protocol):
    """What can be filtered and ordered: names a caller may use, each with an SQL expression and a type."""

    def expression(self, name: str) -> str | None:
        """The SQL expression of a field; None for a field there is not."""

    def type_of(self, name: str) -> str:
        """The SQL type of a field."""


@dataclass(slots=True)
class Where:
    """A condition under construction: SQL with placeholders, and the values for them."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, part: str, *values: Any) -> None:
        """One more condition."""
        self.parts.append(part)
        self.values.extend(values)

    def sql(self, joint: str = "and") -> str:
        """The whole condition."""
        return f" {joint} ".join(f"({part})" for part in self.parts) or "1 = 1"


def split_prefix(key: str) -> tuple[str, str]:
    """`>=DATE_MODIFY` → (`>=`, `DATE_MODIFY`)."""
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return prefix, key[len(prefix) :]
    return "", key


def add_condition(where: Where, portal: Portal, shape: Shape, key: str, value: Any) -> bool:
    """Adds one filter entry. Gives False for a field there is not; the old methods ignore those."""
    prefix, name = split_prefix(key)
    expression = shape.expression(name)
    if expression is None:
        return False
    kind = shape.type_of(name)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        values = [_comparable(portal, item, kind) for item in value]
        _compare_list(where, expression, values, negative=prefix.startswith("!"))
        return True
    _compare(where, expression, prefix, _comparable(portal, value, kind))
    return True


def _compare(where: Where, expression: str, prefix: str, value: Any) -> None:
    if prefix in {"", "=", "@", "!", "!=", "!@"} and value in (None, ""):
        negative = prefix.startswith("!")
        empty = f"{expression} is null or {expression} = ''"
        where.add(f"not ({empty})" if negative else empty)
        return
    match prefix:
        case "" | "=" | "@":
            where.add(f"{expression} = %s", value)
        case "!" | "!=" | "!@":
            where.add(f"{expression} is null or {expression} <> %s", value)
        case ">" | ">=" | "<" | "<=":
            where.add(f"{expression} {prefix} %s", value)
        case "%":
            where.add(f"{expression} like %s", f"%{_literal(str(value))}%")
        case "!%":
            where.add(f"{expression} not like %s", f"%{_literal(str(value))}%")
        case "=%" | "%=":
            where.add(f"{expression} like %s", value)
        case _:
            where.add(f"{expression} not like %s", value)


def _compare_list(where: Where, expression: str, values: Sequence[Any], *, negative: bool) -> None:
    if not values:
        where.add("1 = 1" if negative else "1 = 0")
        return
    marks = ", ".join(["%s"] * len(values))
    where.add(f"{expression} {'not in' if negative else 'in'} ({marks})", *values)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _comparable(portal: Portal, value: Any, kind: str) -> Any:
    if isinstance(value, bool):
        return int(value)
    if kind in MOMENTS and isinstance(value, str) and value:
        return portal.local(value) or value
    return value


def order_clause(shape: Shape, order: Params, *, key: str) -> str:
    """An `order by`; unknown fields are left out, `key` decides between equals."""
    parts = []
    for name, way in order.items():
        expression = shape.expression(str(name))
        if expression is not None:
            parts.append(f"{expression} {'desc' if str(way).lower() == 'desc' else 'asc'}")
    return ", ".join([*parts, f"{key} asc"])
