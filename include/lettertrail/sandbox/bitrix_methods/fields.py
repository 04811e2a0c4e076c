"""The four CRM entities: where their fields live, and how a filter becomes SQL.

A card's fields come from four places: its own table, `b_uts_*` (custom fields), `b_crm_utm` (the UTM tags) and
`b_crm_field_multi` (e-mails, phones …).
"""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from lettertrail.sandbox.bitrix_methods.portal import Column, Params, Portal, columns_of

UTM = ("UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_CONTENT", "UTM_TERM")
MULTI = ("EMAIL", "PHONE", "WEB", "IM", "LINK")
HIDDEN = frozenset({"SEARCH_CONTENT", "BIRTHDAY_SORT", "FULL_NAME", "PRODUCT_ID", "ORDER_STAGE"})
READ_ONLY = frozenset({"ID", "DATE_CREATE", "DATE_MODIFY", "CREATED_BY_ID", "MODIFY_BY_ID", "HAS_EMAIL", "HAS_PHONE"})
# Longest first, so that ">=" is not read as ">".
PREFIXES = ("!=%", "!%=", "!@", "!=", "!%", ">=", "<=", "=%", "%=", "@", "%", ">", "<", "=", "!")


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of CRM card."""

    type_id: int
    code: str
    """CONTACT, LEAD, DEAL, COMPANY: the spelling of `b_crm_field_multi.ENTITY_ID`."""

    @property
    def table(self) -> str:
        """Where its own columns are."""
        return f"b_crm_{self.code.lower()}"

    @property
    def uts(self) -> str:
        """Where its custom fields are."""
        return f"b_uts_crm_{self.code.lower()}"

    @property
    def field_entity(self) -> str:
        """Its spelling in `b_user_field.ENTITY_ID`."""
        return f"CRM_{self.code}"


LEAD, DEAL, CONTACT, COMPANY = Entity(1, "LEAD"), Entity(2, "DEAL"), Entity(3, "CONTACT"), Entity(4, "COMPANY")
ENTITIES = (LEAD, DEAL, CONTACT, COMPANY)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns an entity has at this moment."""

    entity: Entity
    own: Mapping[str, Column]
    custom: Mapping[str, Column]

    @property
    def visible(self) -> list[str]:
        """The entity's own fields that REST shows."""
        return [name for name in self.own if name not in HIDDEN]

    def expression(self, name: str) -> str | None:
        """The SQL expression of a single-valued field; None for a field there is not."""
        if name in self.own and name not in HIDDEN:
            return f"m.`{name}`"
        if name in self.custom:
            return f"u.`{name}`"
        if name in UTM:
            return (
                f"(select t.VALUE from b_crm_utm t where t.ENTITY_TYPE_ID = {self.entity.type_id} "
                f"and t.ENTITY_ID = m.ID and t.CODE = '{name}')"
            )
        return None

    def type_of(self, name: str) -> str:
        """The SQL type of a field."""
        column = self.own.get(name) or self.custom.get(name)
        return column.type if column is not None else "varchar"

    @property
    def source(self) -> str:
        """The from-clause behind every query on cards."""
        return f"`{self.entity.table}` m left join `{self.entity.uts}` u on u.VALUE_ID = m.ID"


def layout_of(cursor: Any, entity: Entity) -> Layout:
    """Reads the present columns."""
    custom = columns_of(cursor, entity.uts)
    custom.pop("VALUE_ID", None)
    return Layout(entity, columns_of(cursor, entity.table), custom)


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


def add_condition(where: Where, portal: Portal, layout: Layout, key: str, value: Any) -> bool:
    """Adds one filter entry. Gives False for a field there is not; the old methods ignore those."""
    prefix, name = split_prefix(key)
    if name in MULTI:
        return _multi_condition(where, layout, prefix, name, value)
    expression = layout.expression(name)
    if expression is None:
        return False
    kind = layout.type_of(name)
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


def _multi_condition(where: Where, layout: Layout, prefix: str, name: str, value: Any) -> bool:
    """Multi-fields are compared exactly, whatever the prefix; `!` turns it round."""
    values = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    inner, bound = "", []
    if values and values != [""]:
        inner = f"and f.VALUE in ({', '.join(['%s'] * len(values))})"
        bound = values
    negative = prefix.startswith("!") != (values == [""])
    where.add(
        f"{'not ' if negative else ''}exists (select 1 from b_crm_field_multi f where f.ENTITY_ID = %s "
        f"and f.ELEMENT_ID = m.ID and f.TYPE_ID = %s {inner})",
        layout.entity.code,
        name,
        *bound,
    )
    return True


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _comparable(portal: Portal, value: Any, kind: str) -> Any:
    if isinstance(value, bool):
        return int(value)
    if kind in {"datetime", "timestamp", "date"} and isinstance(value, str) and value:
        return portal.local(value) or value
    return value


def order_clause(layout: Layout, order: Params) -> str:
    """An `order by`; unknown fields are left out, the id decides between equals."""
    parts = []
    for key, way in order.items():
        expression = layout.expression(str(key))
        if expression is not None:
            parts.append(f"{expression} {'desc' if str(way).lower() == 'desc' else 'asc'}")
    return ", ".join([*parts, "m.ID asc"])


def as_text(portal: Portal, value: Any, kind: str) -> Any:
    """A value as the old methods show it: text, times with offset, an empty text for a missing time, else null."""
    if value is None:
        return "" if kind in {"date", "datetime", "timestamp"} else None
    if isinstance(value, datetime):
        return portal.iso(value)
    if isinstance(value, date):
        # A date is midnight UTC seen from the site's zone.
        return datetime(value.year, value.month, value.day, 3, tzinfo=portal.timezone).isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
