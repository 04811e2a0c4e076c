"""How a MySQL or MariaDB column travels: a guarded expression there, a type on the wire, a type in the warehouse.

Guards are there because ConnectorX ends with a Rust panic on zero and impossible dates, on negative or long TIME
values and on decimals it did not expect (seen with 0.4.6). Decimals, TIME and `bigint unsigned` therefore travel
as text and are cast by PostgreSQL, which loses nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_INTEGERS = {
    # MySQL type: (signed, unsigned)
    "tinyint": ("smallint", "integer"),
    "smallint": ("smallint", "integer"),
    "mediumint": ("integer", "integer"),
    "int": ("integer", "bigint"),
    "bigint": ("bigint", "numeric(20,0)"),
    "year": ("smallint", "smallint"),
}
_BINARY = {"blob", "tinyblob", "mediumblob", "longblob", "binary", "varbinary"}
_LARGE = {"mediumtext", "longtext", "mediumblob", "longblob", "json"}
_TEXT = {"char", "varchar", "text", "tinytext", "mediumtext", "longtext", "enum", "set", "json"}
_SIMPLE_NAME = re.compile(r"[A-Za-z0-9_$]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One source column, ready to be selected, copied and stored."""

    name: str
    """Lower case: its name in raw_bitrix."""
    select: str
    """The guarded expression, without an alias."""
    digest: str
    """The expression that goes into the row hash: a string or number, never NULL."""
    wire_type: str
    """PostgreSQL type of the column in the landing table, as ADBC writes it."""
    pg_type: str
    """PostgreSQL type in raw_bitrix."""
    is_date: bool = False
    is_session_time: bool = False
    """A MySQL `timestamp`: the server converts it to the session's zone, which is UTC for us."""
    source: str = ""
    """The quoted column itself."""


def mysql_column(
    name: str, data_type: str, column_type: str, *, precision: int | None = None, scale: int | None = None
) -> Column:
    """Maps one row of `information_schema.columns`.

    Args:
        data_type: the bare type, `int`.
        column_type: the full type, `int(10) unsigned`.
        precision, scale: of a decimal.
    """
    quoted = quote(name)
    kind = data_type.lower()
    # A zero byte cannot be in a text that PostgreSQL takes, so it marks NULL apart from ''.
    digest = f"ifnull({quoted}, 0x00)"
    if kind in _LARGE:
        # A concatenation longer than max_allowed_packet is NULL; large values go in by their own hash.
        digest = f"ifnull(md5({quoted}), 0x00)"
    elif kind == "bit":
        digest = f"ifnull({quoted} + 0, 0x00)"
    select, wire_type, pg_type = _route(quoted, kind, column_type.lower(), f"numeric({precision},{scale})")
    return Column(
        name=name.lower(),
        source=quoted,
        select=select,
        digest=digest,
        wire_type=wire_type,
        pg_type=pg_type,
        is_date=kind in {"date", "datetime", "timestamp"},
        is_session_time=kind == "timestamp",
    )


def _route(quoted: str, kind: str, column_type: str, numeric: str) -> tuple[str, str, str]:
    """Guarded expression, type on the wire, type in the warehouse."""
    as_text = f"cast({quoted} as char)"
    # Adding nothing makes NULL of every date that does not exist, in MySQL and MariaDB alike.
    routes = {
        "bit": (f"cast({quoted} + 0 as signed)", "bigint", "bigint"),
        "decimal": (as_text, "text", numeric),
        "double": (f"{quoted} + 0e0", "double precision", "double precision"),
        "float": (f"{quoted} + 0e0", "double precision", "double precision"),
        "date": (f"date_add({quoted}, interval 0 day)", "date", "date"),
        "datetime": (f"date_add({quoted}, interval 0 second)", "timestamp", "timestamp"),
        "timestamp": (f"date_add({quoted}, interval 0 second)", "timestamp", "timestamp"),
        "time": (as_text, "text", "interval"),
        **dict.fromkeys(_BINARY, (quoted, "bytea", "bytea")),
        **dict.fromkeys(_TEXT, (quoted, "text", "text")),
    }
    if kind in _INTEGERS:
        pg_type = _INTEGERS[kind]["unsigned" in column_type]
        if pg_type.startswith("numeric"):
            return as_text, "text", pg_type
        return f"cast({quoted} as signed)", "bigint", pg_type
    # What is left (geometry, inet6, uuid …) comes as text, so that nothing is dropped silently.
    return routes.get(kind, (as_text, "text", "text"))


def quote(name: str) -> str:
    """A MySQL identifier in backticks.

    Raises:
        ValueError: on a name no Bitrix table or column has.
    """
    if not _SIMPLE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain identifier")
    return f"`{name}`"


def hash_expression(digests: list[str]) -> str:
    """60 bits of the MD5 over all digests joined by the unit separator: a whole number, never NULL.

    60 and not 64 bits, so that it fits a signed bigint and a sum of it needs no care about signs.
    """
    joined = f"concat_ws(0x1f, {', '.join(digests)})"
    # 0x… literals are binary strings, so the whole is one: no "illegal mix of collations", no conversion.
    return f"coalesce(cast(conv(left(md5({joined}), 15), 16, 10) as signed), -1)"
