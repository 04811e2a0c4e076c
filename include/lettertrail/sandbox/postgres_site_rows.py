"""Writes the rows of the sample site into PostgreSQL, by COPY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from lettertrail.errors import ContractError
from lettertrail.sandbox.bitrix_rows import NULL, ROWS_PER_WRITE, ZERO_DATE, ZERO_DATETIME, Blocks, as_texts
from lettertrail.sandbox.bitrix_schema import Column
from lettertrail.sandbox.postgres_site_schema import postgres_tables

_ZERO = frozenset({ZERO_DATE, ZERO_DATETIME})


@dataclass(frozen=True, slots=True)
class PostgresWriter:
    """Writes into the database of the connection, in its transaction."""

    connection: psycopg.Connection[Any]
    blocks: Blocks = field(default_factory=Blocks)

    @property
    def moves_on_update(self) -> bool:
        """PostgreSQL has no ON UPDATE, and Bitrix makes no trigger for it."""
        return False

    def write(self, table: str, columns: Mapping[str, object]) -> int:
        """See `bitrix_rows.Writer.write`.

        What PostgreSQL cannot hold: a zero date is NULL, and text ends at its first zero byte, where libpq's escaping
        stops. A column without a default that is left out gets MySQL's implicit one.
        """
        rows = self.blocks.make(table, columns)
        if table not in postgres_tables():
            return 0
        own = {column.name: column for column in postgres_tables()[table].columns}
        many = {name: _texts(own[name], values) for name, values in rows.many.items()}
        constant = {name: next(iter(_texts(own[name], [value]))) for name, value in rows.single.items()}
        constant |= {column.name: _implicit(column) for column in own.values() if _is_needed(column, columns)}
        tail = "".join(f"\t{text}" for text in constant.values()) + "\n"
        query = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(name.lower()) for name in (*many, *constant))
        )
        lines = map("\t".join, zip(*many.values(), strict=True))
        try:
            with self.connection.cursor() as cursor, cursor.copy(query) as copy:
                while chunk := list(islice(lines, ROWS_PER_WRITE)):
                    copy.write(tail.join(chunk) + tail)
        except psycopg.DataError as error:
            raise ContractError(f"{table} did not take the generated rows: {error.diag.message_primary}") from error
        return rows.length


def _texts(column: Column, values: Any) -> Iterable[str]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "Miu":
        return as_texts(values)
    if column.mysql_type in ("date", "datetime", "timestamp"):
        return (NULL if text in _ZERO else text for text in as_texts(values))
    return as_texts([_until_zero_byte(value) for value in values])


def _until_zero_byte(value: object) -> object:
    return value.partition("\0")[0] if isinstance(value, str) and "\0" in value else value


def _is_needed(column: Column, given: Mapping[str, object]) -> bool:
    left_out = column.name not in given and not column.is_auto_increment
    return left_out and not column.is_nullable and column.default is None


def _implicit(column: Column) -> str:
    """What MySQL without strict mode writes into a NOT NULL column that an INSERT leaves out.

    Raises:
        ContractError: for a time, where that would be a zero date.
    """
    if column.mysql_type.startswith(("char", "varchar", "text", "mediumtext", "longtext")):
        return ""
    if column.mysql_type in ("date", "datetime", "timestamp"):
        raise ContractError(f"the column {column.name} has no default and got no value")
    return "0"
