"""The connection a load goes through: rows, ledger row and cursor in one transaction, statements with quoted values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from lettertrail.errors import ContractError, LetterTrailError, WarehouseError
from lettertrail.warehouse.binary import HEADER, TRAILER, encode
from lettertrail.warehouse.connect import Connection

_UNFIT = ("21", "22", "23")
"""SQLSTATE classes in which the rows themselves are at fault: cardinality, data, constraints."""
_DATATYPE_MISMATCH = "42804"

Statement = sql.SQL | sql.Composed


class Session:
    """An open transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def run(self, statement: Statement) -> int:
        """Executes a statement and returns how many rows it touched."""
        return self.connection.execute(statement).rowcount

    def rows(self, query: Statement) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.connection.execute(query).fetchall()

    def copy(self, table: sql.Composable, columns: Sequence[tuple[str, str]], batches: Iterator[pa.RecordBatch]) -> int:
        """Copies batches in binary; returns how many rows the server has taken.

        Args:
            columns: name and PostgreSQL type (one of `binary.TYPES`) of each column of the batches.
        """
        names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
        types = [kind for _, kind in columns]
        statement = sql.SQL("copy {} ({}) from stdin with (format binary)").format(table, names)
        with self.connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                copy.write(HEADER)
                for batch in batches:
                    copy.write(encode(batch, types))
                copy.write(TRAILER)
            return cursor.rowcount


@contextmanager
def transaction(connection: Connection) -> Iterator[Session]:
    """One transaction: committed at the end and on disk, rolled back on any error.

    Args:
        connection: in autocommit mode.
    """
    with connection.transaction():
        # The statements around it need not wait for the disk; this commit must.
        connection.execute("set local synchronous_commit = on")
        yield Session(connection)


@contextmanager
def translated_errors(work: str) -> Iterator[None]:
    """Turns what the database driver raises into our errors, without the values they quote.

    Raises:
        ContractError: rows do not fit their columns.
        WarehouseError: anything else; trying again may help.
    """
    try:
        yield
    except LetterTrailError:
        raise
    except (psycopg.Error, pa.ArrowException) as error:
        if is_unfit(error):
            raise ContractError(f"{work}: the rows do not fit their columns: {safe_reason(error)}") from None
        raise WarehouseError(f"{work}: {safe_reason(error)}") from None


def is_unfit(error: BaseException) -> bool:
    """Whether it is the rows themselves that are at fault."""
    state = str(getattr(error, "sqlstate", None) or "")
    return isinstance(error, pa.ArrowException) or state.startswith(_UNFIT) or state == _DATATYPE_MISMATCH


def safe_reason(error: BaseException) -> str:
    """What an error says, less the row values that PostgreSQL quotes in it."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    # Without the server's own word it is the driver's or Arrow's: one line, no statement, no DETAIL.
    text = primary or str(error).partition("\n")[0]
    return without_values(text)[:300] or type(error).__name__


def without_values(text: str) -> str:
    """A message of PostgreSQL or Arrow with its quoted values blanked; names of tables and columns stay."""
    # 'invalid input syntax for type integer: "anna@…"': what follows a colon in quotes is a value.
    text = re.sub(r""": ["'].*""", "", text, flags=re.DOTALL)
    text = re.sub(r"""\b(value|string|from) (["']).*?\2""", r"\1 …", text, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"""\S*@\S*""", "…", text)
