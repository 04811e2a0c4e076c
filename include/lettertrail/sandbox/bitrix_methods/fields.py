"""The four CRM entities: where their fields live, and how a filter becomes SQL.

A card's fields come from four places: its own table, `b_uts_*` (custom fields), `b_crm_utm` (the UTM tags) and
`b_crm_field_multi` (e-mails, phones …).
"""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from lettertrail.sandbox.bitrix_methods.conditions import Where, add_condition, split_prefix
from lettertrail.sandbox.bitrix_methods.php_value import unserialize
from lettertrail.sandbox.bitrix_methods.portal import Column, Portal, columns_of

UTM = ("UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_CONTENT", "UTM_TERM")
MULTI = ("EMAIL", "PHONE", "WEB", "IM", "LINK")
HIDDEN = frozenset(
    {
        "SEARCH_CONTENT",
        "BIRTHDAY_SORT",
        "FULL_NAME",
        "PRODUCT_ID",
        "ORDER_STAGE",
        "FACE_ID",
        # The amounts in the accounting currency stay inside the portal, in the old methods as in crm.item.*.
        "OPPORTUNITY_ACCOUNT",
        "TAX_VALUE_ACCOUNT",
        "ACCOUNT_CURRENCY_ID",
        "EXCH_RATE",
    }
)
READ_ONLY = frozenset({"ID", "DATE_CREATE", "DATE_MODIFY", "CREATED_BY_ID", "MODIFY_BY_ID", "HAS_EMAIL", "HAS_PHONE"})


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
    def utm(self) -> str:
        """Where the single values of its multiple custom fields are; nothing to do with UTM tags."""
        return f"b_utm_crm_{self.code.lower()}"

    @property
    def recycled_id(self) -> int:
        """Its type id while it lies in the recycle bin (bitrix.md 2.1)."""
        return self.type_id + 17

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
    multiple: frozenset[str] = frozenset()
    """The custom fields that hold several values: a PHP array in `b_uts_*`, a row a value in `b_utm_*`."""

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
    cursor.execute(
        "select FIELD_NAME from b_user_field where ENTITY_ID = %s and MULTIPLE = 'Y'", (entity.field_entity,)
    )
    multiple = frozenset(row["FIELD_NAME"] for row in cursor.fetchall())
    return Layout(entity, columns_of(cursor, entity.table), custom, multiple)


def card_condition(where: Where, portal: Portal, layout: Layout, key: str, value: Any) -> bool:
    """Adds one filter entry on cards. Gives False for a field there is not; the old methods ignore those."""
    prefix, name = split_prefix(key)
    if name in MULTI:
        return _multi_condition(where, layout, prefix, name, value)
    return add_condition(where, portal, layout, key, value)


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


def several(value: Any) -> list[Any]:
    """The values of a multiple custom field: PHP's empty array is an empty list."""
    if value in (None, ""):
        return []
    try:
        values = unserialize(str(value))
    except ValueError:
        return [value]
    if isinstance(values, dict):
        return list(values.values())
    return values if isinstance(values, list) else []


def as_text(portal: Portal, value: Any, kind: str) -> Any:
    """A value as the old methods show it: text, times with offset, an empty text for a missing time, else null."""
    if value is None:
        return "" if kind in {"date", "datetime", "timestamp"} else None
    if isinstance(value, datetime):
        return portal.iso(value)
    if isinstance(value, date):
        return portal.iso_date(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
