"""Gets cleaned batches into a temporary table beside the raw one; it ends with the transaction, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa
from psycopg import sql

from lettertrail.bitrix.port import ROW_HASH
from lettertrail.warehouse.clean import Cleaner
from lettertrail.warehouse.session import BulkSession, RowSession, Session
from lettertrail.warehouse.target import Target

SMALL_ROWS = 20_000
"""More rows than this are worth opening a bulk connection for."""
_ANALYZE_FROM = 2_000
"""Below this many rows the planner's guess about a new table is good enough."""


def look_ahead(batches: Iterator[pa.RecordBatch]) -> tuple[Iterator[pa.RecordBatch], int]:
    """All batches again, and how many rows they hold: exactly when few, else some number above `SMALL_ROWS`."""
    ahead: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            ahead.append(batch)
            rows += batch.num_rows
        if rows > SMALL_ROWS:
            return chain(ahead, batches), rows
    return iter(ahead), rows


def land(session: Session, target: Target, batches: Iterator[pa.RecordBatch], cleaner: Cleaner) -> sql.Composable:
    """Copies batches into a temporary table of the columns' wire types; returns its name."""
    name = f"landing_{target.table}"[:63]
    landing = sql.Identifier("pg_temp", name)
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.wire_type)) for column in target.columns
    ]
    columns.append(sql.SQL("{} bigint").format(sql.Identifier(ROW_HASH)))
    session.run(
        sql.SQL("create temporary table {} ({}) on commit drop").format(
            sql.Identifier(name), sql.SQL(", ").join(columns)
        )
    )
    cleaned = cleaner.clean(batches)
    if isinstance(session, BulkSession):
        ingest(session, cleaned, cleaner.schema, table=name, schema=None)
    elif isinstance(session, RowSession):
        _copy_rows(session, target, landing, cleaned)
    if cleaner.rows >= _ANALYZE_FROM:
        session.run(sql.SQL("analyze {}").format(landing))
    return landing


def ingest(
    session: BulkSession, batches: Iterator[pa.RecordBatch], wire: pa.Schema, *, table: str, schema: str | None
) -> int:
    """Copies batches in binary; returns how many rows.

    Raises:
        Exception: what broke the stream of batches, or else the driver's error.
    """
    watched = _Watched(batches)
    try:
        return session.ingest(pa.RecordBatchReader.from_batches(wire, iter(watched)), table=table, schema=schema)
    except Exception:
        if watched.failure is not None:
            raise watched.failure from None
        raise


class _Watched:
    """Passes batches on and remembers what ended them: ADBC itself reports a broken stream only."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.failure: BaseException | None = None
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise


def _copy_rows(session: RowSession, target: Target, landing: sql.Composable, batches: Iterator[pa.RecordBatch]) -> None:
    statement = sql.SQL("copy {} from stdin").format(landing)
    with session.connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([*(column.wire_type for column in target.columns), "bigint"])
        for batch in batches:
            for row in zip(*(array.to_pylist() for array in batch.columns), strict=True):
                copy.write_row(row)
