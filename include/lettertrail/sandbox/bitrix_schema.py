"""The Bitrix tables as MariaDB DDL, generated from `bitrix_columns.csv`.

The CSV holds 152 tables and 1,545 columns of sender 25.0, crm 25.300, sale 25.0, main 25.550 and relatives: type,
nullability, keys (`PRI`, `UNI`, `IX`, with the column list when there is more than one, prefix lengths in brackets) and
a note that holds defaults and `auto_increment`. There are no foreign keys anywhere in Bitrix, and none here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lettertrail.sandbox.bitrix_user_fields import fields_of

COLUMNS_FILE = Path(__file__).parents[1] / "bitrix" / "bitrix_columns.csv"
TABLE_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"

ALIKE: Mapping[str, str] = {"b_utm_crm_lead": "b_utm_crm_contact", "b_utm_crm_company": "b_utm_crm_contact"}
"""Tables the file leaves out because they look like another one: Bitrix makes one per entity (bitrix.md 2.10)."""

_DEFAULT = re.compile(r"\bdefault ('(?:[^']*)'|\d+|CURRENT_TIMESTAMP|NOW\(\))", re.IGNORECASE)
_KEY = re.compile(r"^(PRI|UNI|IX)(?:\((.*)\))?$")
_PREFIXED = re.compile(r"^(\w+)(\(\d+\))?$")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as `bitrix_columns.csv` states it."""

    name: str
    mysql_type: str
    is_nullable: bool
    default: str | None
    """A SQL literal or expression, or None when there is no default."""
    is_auto_increment: bool
    moves_on_update: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key, unique key or index; `columns` in order, each possibly with a prefix length."""

    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One Bitrix table."""

    name: str
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(column.name for column in self.columns)

    def ddl(self, *, with_keys: bool = True) -> str:
        """The CREATE TABLE statement; every identifier is quoted, since SYSTEM, OFFSET, SUM … are keywords.

        Without keys only the primary one is made; `add_keys` follows when the rows are in.
        """
        lines = [_column_sql(column) for column in self.columns]
        lines += [
            _key_sql(number, key) for number, key in enumerate(self.keys, start=1) if with_keys or key.kind == "PRI"
        ]
        return f"CREATE TABLE `{self.name}` (\n  " + ",\n  ".join(lines) + f"\n) {TABLE_OPTIONS}"

    def add_keys(self) -> str:
        """The ALTER TABLE statement for the keys that `ddl(with_keys=False)` left out."""
        late = [_key_sql(number, key) for number, key in enumerate(self.keys, start=1) if key.kind != "PRI"]
        return f"ALTER TABLE `{self.name}` " + ", ".join(f"ADD {key}" for key in late)


@cache
def tables() -> Mapping[str, Table]:
    """All tables by name: those of the file in its order, then those of `ALIKE`."""
    rows: dict[str, list[dict[str, str]]] = {}
    with COLUMNS_FILE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            rows.setdefault(row["table"], []).append(row)
    for name, model in ALIKE.items():
        rows[name] = rows[model]
    return {name: _table(name, own) for name, own in rows.items()}


def _table(name: str, rows: list[dict[str, str]]) -> Table:
    columns: list[Column] = []
    keys: dict[tuple[str, tuple[str, ...]], None] = {}
    for row in rows:
        if row["column"] == "UF_CRM_<n>":
            columns += [Column(field.name, field.mysql_type, True, None, False, False) for field in fields_of(name)]
            continue
        columns.append(_column(row))
        for text in filter(None, (part.strip() for part in row["key"].split(";"))):
            keys[_parse_key(text, row["column"])] = None
    return Table(name, tuple(columns), tuple(Key(*key) for key in keys))


def _column(row: dict[str, str]) -> Column:
    note = row["note"]
    default = _DEFAULT.search(note)
    return Column(
        name=row["column"],
        mysql_type=row["mysql_type"],
        is_nullable=row["nullable"] == "YES",
        default=default.group(1) if default else None,
        is_auto_increment="auto_increment" in note,
        moves_on_update="on update CURRENT_TIMESTAMP" in note,
    )


def _parse_key(text: str, column: str) -> tuple[str, tuple[str, ...]]:
    match = _KEY.match(text)
    if match is None:
        raise ValueError(f"{COLUMNS_FILE.name}: unknown key {text!r}")
    columns = tuple(match.group(2).split(",")) if match.group(2) else (column,)
    return match.group(1), columns


def _column_sql(column: Column) -> str:
    parts = [f"`{column.name}`", column.mysql_type, "NULL" if column.is_nullable else "NOT NULL"]
    if column.is_auto_increment:
        parts.append("AUTO_INCREMENT")
    elif column.default is not None:
        parts.append(f"DEFAULT {column.default}")
    elif column.mysql_type == "timestamp":
        # Without this MariaDB adds its own CURRENT_TIMESTAMP default to the first timestamp of a table.
        parts.append("DEFAULT NULL")
    if column.moves_on_update:
        parts.append("ON UPDATE CURRENT_TIMESTAMP")
    return " ".join(parts)


def _key_sql(number: int, key: Key) -> str:
    columns = ", ".join(_quoted(column) for column in key.columns)
    match key.kind:
        case "PRI":
            return f"PRIMARY KEY ({columns})"
        case "UNI":
            return f"UNIQUE KEY `ux_{number}` ({columns})"
    return f"KEY `ix_{number}` ({columns})"


def _quoted(column: str) -> str:
    match = _PREFIXED.match(column.strip())
    if match is None:
        raise ValueError(f"{COLUMNS_FILE.name}: unknown key column {column!r}")
    return f"`{match.group(1)}`{match.group(2) or ''}"
