"""REST values → the values a database of the same site would have given, as Arrow batches.

REST prints times in ISO with an offset (of the user's zone, if the user has one); a database holds them naive in the
site's zone. Dates are printed as midnight UTC. Y/N come as letters or booleans, numbers as texts in the old methods.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from lettertrail.bitrix.cloud_feeds import Feed
from lettertrail.bitrix.cloud_tables import CloudTable, Row
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import ROW_HASH, ZEROED, Unreadable

BATCH_ROWS = 5_000
CANONICAL = "cloud-1"
"""Names the form of a row that is hashed; with another name every stored hash is out of date."""

_ARROW = {
    # Type on the wire -> Arrow type of the batches; no table of the cloud has others.
    "bigint": pa.int64(),
    "text": pa.string(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
_SITE_FORMAT = re.compile(r"\d\d\.\d\d\.\d{4}( \d\d:\d\d:\d\d)?")
_IMPOSSIBLE = ("0000", "-0")
"""How PHP prints a zero date: `0000-00-00` is the last day of November of the year -1."""

_CUSTOM_TYPES = {
    # User field type -> type on the wire, type in the warehouse (bitrix.md 2.10); every other one is text.
    **dict.fromkeys(
        ("integer", "employee", "boolean", "enumeration", "file", "iblock_element", "iblock_section"),
        ("bigint", "integer"),
    ),
    "double": ("double precision", "double precision"),
    "date": ("date", "date"),
    "datetime": ("timestamp", "timestamp"),
}
_TEXT = ("text", "text")


class _Impossible(Exception):
    """A date that does not exist."""


@dataclass(frozen=True, slots=True)
class CustomField:
    """One custom field of a card, as `crm.<card>.userfield.list` describes it."""

    number: int
    """`b_user_field.ID`."""
    name: str
    """Upper case, `UF_CRM_…`."""
    kind: str
    is_multiple: bool

    @property
    def column(self) -> Column:
        """Its column in `b_uts_*`."""
        wire_type, pg_type = _TEXT if self.is_multiple else _CUSTOM_TYPES.get(self.kind, _TEXT)
        return Column(self.name.lower(), "", CANONICAL, wire_type, pg_type, is_date=pg_type in ("date", "timestamp"))


def cloud_columns(columns: Iterable[Column], *, wide: Sequence[str] = ()) -> tuple[Column, ...]:
    """Columns of a database as the cloud gives them: nothing to select, hashed here."""
    return tuple(
        replace(
            column,
            select="",
            source="",
            digest=CANONICAL,
            is_session_time=False,
            pg_type="bigint" if column.name in wide else column.pg_type,
        )
        for column in columns
    )


def custom_rows(table: CloudTable, fields: Sequence[CustomField], row: Row) -> Iterator[Row]:
    """The rows of `b_uts_*` (at most one) or `b_utm_*` (one per value of a multiple field) out of a card."""
    card = int(row["id"])
    if table.name.startswith("b_uts_"):
        values = {field.name.lower(): _single(field, row.get(field.name)) for field in fields}
        if any(value is not None for value in values.values()):
            yield {"value_id": card, **values}
        return
    for field in fields:
        if field.is_multiple:
            for number, value in enumerate(_listed(row.get(field.name))):
                yield {
                    # 32 bits of card, 21 of field, 10 of position.
                    "id": card << 31 | field.number << 10 | number,
                    "value_id": card,
                    "field_id": field.number,
                    **_utm_value(field, value),
                }


def _utm_value(field: CustomField, value: Any) -> Row:
    """The column of `b_utm_*` a value is in, by the field's type."""
    _, kind = _CUSTOM_TYPES.get(field.kind, _TEXT)
    columns = {
        "integer": "value_int",
        "double precision": "value_double",
        "date": "value_date",
        "timestamp": "value_date",
    }
    return {columns.get(kind, "value"): _single(replace(field, is_multiple=False), value)}


def _single(field: CustomField, value: Any) -> Any:
    if field.is_multiple:
        values = _listed(value)
        return php_array([_single(replace(field, is_multiple=False), item) for item in values]) if values else None
    if isinstance(value, Mapping):
        # A file comes with its addresses.
        value = value.get("id", value.get("ID"))
    if field.kind == "boolean":
        return {"Y": 1, "1": 1, "True": 1, "N": 0, "0": 0, "False": 0}.get(str(value))
    return None if value is False else value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [value] if {"id", "ID"} & value.keys() else list(value.values())
    return list(value) if isinstance(value, list) else [] if value in (None, "", False) else [value]


def php_array(values: Sequence[Any]) -> str:
    """A list as PHP's `serialize()` writes it, the form of multiple fields in `b_uts_*`; lengths count bytes."""
    items = "".join(f"i:{number};{_php_scalar(value)}" for number, value in enumerate(values))
    return f"a:{len(values)}:{{{items}}}"


def _php_scalar(value: Any) -> str:
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, float):
        return f"d:{value!r};"
    text = str(value)
    return f's:{len(text.encode())}:"{text}";'


class RowMaker:
    """Makes batches of one table.

    Args:
        rows_of: the table's rows, by column name, out of one row of a feed.
        unreadable: gets the rows that cannot be converted.
    """

    def __init__(
        self,
        table: CloudTable,
        columns: Sequence[Column],
        timezone: ZoneInfo,
        *,
        rows_of: Callable[[Feed, Row], Iterator[Row]],
        unreadable: list[Unreadable],
    ) -> None:
        self._table = table
        self._columns = columns
        self._timezone = timezone
        self._rows_of = rows_of
        self._unreadable = unreadable
        self._schema = pa.schema(
            [pa.field(column.name, _ARROW[column.wire_type]) for column in columns]
            + [pa.field(ROW_HASH, pa.int64()), pa.field(ZEROED, pa.int64())]
        )

    def batches(
        self, rows: Iterator[tuple[Feed, Row]], *, keep: Callable[[Row], bool] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of all table rows for which `keep` holds, given the values as REST wrote them."""
        made: list[list[Any]] = []
        for feed, row in rows:
            for values in self._rows_of(feed, row):
                if keep is None or keep(values):
                    self._add(made, values)
            if len(made) >= BATCH_ROWS:
                yield self._batch(made)
                made = []
        if made:
            yield self._batch(made)

    def _add(self, made: list[list[Any]], values: Row) -> None:
        converted: list[Any] = []
        zeroed = 0
        for column in self._columns:
            value = values.get(column.name)
            try:
                converted.append(self._value(column, value))
            except _Impossible:
                converted.append(None)
                zeroed += 1
            except (ValueError, TypeError, InvalidOperation):
                reason = f"column {column.name} is no {column.pg_type}"
                raw = json.dumps(value, ensure_ascii=False, default=str).encode().hex()
                key = values.get(self._table.card or self._columns[0].name)
                self._unreadable.append(Unreadable(None if key is None else str(key), reason, {column.name: raw}))
                return
        made.append([*converted, row_hash(converted), zeroed])

    def _batch(self, made: list[list[Any]]) -> pa.RecordBatch:
        arrays = [
            pa.array(values, field.type)
            for field, values in zip(self._schema, zip(*made, strict=True), strict=True)
        ]  # fmt: skip
        return pa.record_batch(arrays, schema=self._schema)

    def _value(self, column: Column, value: Any) -> Any:  # noqa: PLR0911  # one return a type
        kind = column.pg_type
        if value is None or (value == "" and (self._table.empty_is_null or kind != "text")):
            return None
        if isinstance(value, dict | list):
            # An object where a value should be, as `user.get` writes some of its times: it says nothing.
            return None
        if kind == "text":
            return ("Y" if value else "N") if isinstance(value, bool) else str(value)
        if kind == "date":
            return self._day(str(value)).date()
        if kind == "timestamp":
            return self._day(str(value)) if column.name in self._table.days else self._local(_moment(str(value)))
        if kind == "double precision":
            return float(value)
        if kind.startswith("numeric"):
            return _decimal(kind, value)
        return int(value)

    def _day(self, text: str) -> datetime:
        """A date, or a time that may be one: REST prints dates as midnight UTC, in whatever zone."""
        moment = _moment(text)
        if moment.tzinfo is not None and moment.astimezone(UTC).time() == time.min:
            return moment.astimezone(UTC).replace(tzinfo=None)
        return self._local(moment)

    def _local(self, moment: datetime) -> datetime:
        return moment if moment.tzinfo is None else moment.astimezone(self._timezone).replace(tzinfo=None)


def row_hash(values: Iterable[Any]) -> int:
    """64 bits over the values of a row as they are stored, signed; the same for the same row in every run."""
    digest = hashlib.blake2b(digest_size=8)
    for value in values:
        # A zero byte cannot be in a text that PostgreSQL takes, so it marks NULL apart from ''.
        digest.update(b"\x00" if value is None else _canonical(value).encode())
        digest.update(b"\x1f")
    return int.from_bytes(digest.digest(), signed=True)


def _canonical(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else repr(value) if isinstance(value, float) else str(value)


def _moment(text: str) -> datetime:
    """A time as PHP prints it, aware when it has an offset.

    Raises:
        _Impossible: it is a zero date.
        ValueError: it is no time.
    """
    if text.startswith(_IMPOSSIBLE):
        raise _Impossible
    if _SITE_FORMAT.fullmatch(text):
        # Multiple custom fields keep their dates as the site writes them.
        text = "-".join(reversed(text[:10].split("."))) + text[10:]
    return datetime.fromisoformat(text)


def _decimal(kind: str, value: Any) -> str:
    """A number as a text with the column's own number of digits. A float is the number it prints as."""
    scale = int(kind.rpartition(",")[2].rstrip(")"))
    number = Decimal(repr(value) if isinstance(value, float) else str(value))
    if not number.is_finite():
        raise ValueError("not a finite number")
    return str(number.quantize(Decimal(1).scaleb(-scale)))
