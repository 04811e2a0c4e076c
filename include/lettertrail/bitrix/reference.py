"""What a Bitrix table looks like where nobody can be asked: the module is not installed, or the site is in the cloud.

`bitrix_columns.csv` holds 152 tables and 1,545 columns of the install scripts of mid 2025 (bitrix.md, "Versions
covered"). A raw table made from it is empty, but the models that read it build.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lettertrail.bitrix.catalog import is_secret
from lettertrail.bitrix.columns import Column

COLUMNS_FILE = Path(__file__).with_name("bitrix_columns.csv")

SAME_SHAPE: Mapping[str, str] = {
    # Custom fields of what has no table of its own in the file; the shape is the same for all of them (bitrix.md 2.10).
    "b_utm_crm_lead": "b_utm_crm_contact",
    "b_utm_crm_company": "b_utm_crm_contact",
    "b_utm_user": "b_utm_crm_contact",
    "b_uts_user": "b_uts_crm_contact",
}
"""Table -> the table of the file it looks like."""

_TYPE = re.compile(r"(?P<kind>[a-z]+)(?:\([\d,]+\))?(?P<unsigned> unsigned)?")
_TYPES = {
    # MySQL type: (type on the wire, type in raw_bitrix)
    "tinyint": ("bigint", "smallint"),
    "int": ("bigint", "integer"),
    "bigint": ("bigint", "bigint"),
    "tinyint unsigned": ("bigint", "integer"),
    "int unsigned": ("bigint", "bigint"),
    "bigint unsigned": ("text", "numeric(20,0)"),
    "double": ("double precision", "double precision"),
    "float": ("double precision", "double precision"),
    "date": ("date", "date"),
    "datetime": ("timestamp", "timestamp"),
    "timestamp": ("timestamp", "timestamp"),
    **dict.fromkeys(("char", "varchar", "text", "mediumtext", "longtext"), ("text", "text")),
}


def reference_columns(table: str) -> tuple[Column, ...]:
    """The columns Bitrix's own install scripts give the table, with the types raw_bitrix has for them.

    Without secrets, and without custom fields (`UF_...`), which every site makes for itself. Empty for a table the
    reference does not know.
    """
    return _tables().get(SAME_SHAPE.get(table, table), ())


@cache
def _tables() -> Mapping[str, tuple[Column, ...]]:
    found: dict[str, tuple[Column, ...]] = {}
    with COLUMNS_FILE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            column = _column(row["column"], row["mysql_type"])
            found[row["table"]] = (*found.get(row["table"], ()), *([] if column is None else [column]))
    return found


def _column(name: str, mysql_type: str) -> Column | None:
    match = _TYPE.fullmatch(mysql_type)
    if match is None or is_secret(name):
        # "varies by user-field type": one line that stands for all custom fields.
        return None
    kind = match["kind"]
    if kind == "decimal":
        wire_type, pg_type = "text", mysql_type.replace(kind, "numeric")
    else:
        wire_type, pg_type = _TYPES[kind + (match["unsigned"] or "")]
    is_date = pg_type in {"date", "timestamp"}
    return Column(name.lower(), select="", digest="", wire_type=wire_type, pg_type=pg_type, is_date=is_date)
