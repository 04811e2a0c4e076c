"""The two ways into the warehouse that one load has, spoken to alike.

A row-wise connection (psycopg) is there at once and right for few rows. The bulk one (ADBC) writes Arrow batches as
binary COPY, several times as fast per row, but takes a tenth of a second to open. Rows, ledger row and cursor of a load
go through the same one, in one transaction; statements carry their values as quoted literals, because the two do not
share a way of binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lettertrail.errors import ContractError, LetterTrailError, WarehouseError
from lettertrail.warehouse.connect import Connection

_UNFIT = ("21", "22", "23")
"""SQLSTATE classes in which the rows themselves are at fault: cardinality, data, constraints."""
_DATATYPE_MISMATCH = "42804"


Statement = sql.SQL | sql.Composed


class Session(Protocol):
    """An open transaction."""

    def run(self, statement: Statement) -> int:
        """Executes a statement and returns how many rows it touched."""

    def rows(self, query: Statement) -> list[tuple[Any, ...]]:
        """All rows of a query."""


class RowSession:
    """A psycopg connection as a session."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def run(self, statement: Statement) -> int:
        return self.connection.execute(statement).rowcount

    def rows(self, query: Statement) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()


class BulkSession:
    """An ADBC connection as a session; a transaction is open from the first statement to `commit` or `rollback`."""

    def __init__(self, dsn: str, *, purpose: str) -> None:
        # Here and not above: its import costs as much as loading a small table, and most loads never need it.
        import adbc_driver_manager  # noqa: PLC0415
        import adbc_driver_postgresql.dbapi  # noqa: PLC0415

        self.error: type[Exception] = adbc_driver_manager.Error
        settings = {"statement_timeout": "1800s", "lock_timeout": "120s", "timezone": "UTC"}
        conninfo = make_conninfo(
            dsn,
            application_name=f"lettertrail: {purpose}"[:63],
            connect_timeout=10,
            options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
        )
        try:
            self._connection = adbc_driver_postgresql.dbapi.connect(conninfo)
        except self.error as error:
            raise WarehouseError(f"no bulk connection to the warehouse: {safe_reason(error)}") from None

    # A cursor for each statement: one remembers its last query and, when told the same again, runs whatever statement
    # or options it holds by then.

    def run(self, statement: Statement) -> int:
        with self._connection.cursor() as cursor:
            native = cursor.adbc_statement
            native.set_sql_query(statement.as_string(None))
            touched: int = native.execute_update()
        return touched

    def rows(self, query: Statement) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query.as_string(None))
            return [tuple(row) for row in cursor.fetchall()]

    def ingest(self, reader: pa.RecordBatchReader, *, table: str, schema: str | None) -> int:
        """Copies batches into a table of the same column names and binary types; without `schema` a temporary one."""
        place: dict[str, Any] = {"temporary": True} if schema is None else {"db_schema_name": schema}
        with self._connection.cursor() as cursor:
            rows: int = cursor.adbc_ingest(table, reader, mode="append", **place)
        return rows

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


class Writer:
    """Both ways into the warehouse; the bulk one is opened when it is needed first and then kept.

    Args:
        connection: in autocommit mode; stays the caller's.
    """

    def __init__(self, connection: Connection, dsn: str, *, purpose: str) -> None:
        self.connection = connection
        self._dsn = dsn
        self._purpose = purpose
        self._bulk: BulkSession | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bulk is not None:
            self._bulk.close()

    @contextmanager
    def transaction(self, *, bulk: bool) -> Iterator[Session]:
        """One transaction: committed at the end and on disk, rolled back on any error."""
        if not bulk:
            with self.connection.transaction():
                # The statements around it need not wait for the disk; this commit must.
                self.connection.execute("set local synchronous_commit = on")
                yield RowSession(self.connection)
            return
        if self._bulk is None:
            self._bulk = BulkSession(self._dsn, purpose=self._purpose)
        session = self._bulk
        try:
            yield session
            session.commit()
        except BaseException:
            try:
                session.rollback()
            except session.error:
                # The server is gone and took the transaction with it; what happened first is what matters.
                self._bulk = None
                session.close()
            raise


@contextmanager
def translated_errors(work: str) -> Iterator[None]:
    """Turns what the database drivers raise into our errors, without the values they quote.

    Raises:
        ContractError: rows do not fit their columns.
        WarehouseError: anything else; trying again may help.
    """
    try:
        yield
    except LetterTrailError:
        raise
    except Exception as error:
        if not _is_of_a_driver(error):
            raise
        if is_unfit(error):
            raise ContractError(f"{work}: the rows do not fit their columns: {safe_reason(error)}") from None
        raise WarehouseError(f"{work}: {safe_reason(error)}") from None


def is_unfit(error: BaseException) -> bool:
    """Whether a driver says that the rows themselves are at fault."""
    state = str(getattr(error, "sqlstate", None) or "")
    return isinstance(error, pa.ArrowException) or state.startswith(_UNFIT) or state == _DATATYPE_MISMATCH


def safe_reason(error: BaseException) -> str:
    """What a driver's error says, less the row values that PostgreSQL quotes in it."""
    said = dict(getattr(error, "details", None) or [])
    primary = said.get("PG_DIAG_MESSAGE_PRIMARY", said.get(b"PG_DIAG_MESSAGE_PRIMARY"))
    if isinstance(primary, bytes):
        text = primary.decode(errors="replace")
    elif isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
    else:
        # No answer of the server, but of the driver: one line, no statement, no DETAIL.
        text = str(error).partition("\n")[0]
    return without_values(text)[:300] or type(error).__name__


def without_values(text: str) -> str:
    """A message of PostgreSQL or Arrow with its quoted values blanked; names of tables and columns stay."""
    # 'invalid input syntax for type integer: "anna@…"': what follows a colon in quotes is a value.
    text = re.sub(r""": ["'].*""", "", text, flags=re.DOTALL)
    text = re.sub(r"""\b(value|string|from) (["']).*?\2""", r"\1 …", text, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"""\S*@\S*""", "…", text)


def _is_of_a_driver(error: Exception) -> bool:
    return isinstance(error, psycopg.Error | pa.ArrowException) or type(error).__module__.startswith(
        "adbc_driver_manager"
    )
