"""Gets Arrow batches into PostgreSQL, beside the table they are for.

A few rows go by psycopg into a temporary table of the load's own transaction. Many go by ADBC, several times as
fast per row but with a connection of its own that takes a tenth of a second to open, into an unlogged table that is
dropped with the load. Either way nothing is in the raw table yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from lettertrail.bitrix.port import ROW_HASH, ZEROED
from lettertrail.errors import ContractError, LetterTrailError
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.target import Target

SMALL_ROWS = 10_000
_SCHEMA = "ops"
_ANALYZE_FROM = 2_000
"""Below this many rows the planner's guess about a new table is good enough."""
_ARROW_TYPES = {
    "bigint": pa.int64(),
    "text": pa.string(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "bytea": pa.large_binary(),
}


class Cleaner:
    """Passes batches on, made fit for PostgreSQL, and counts what it had to change."""

    def __init__(self, target: Target) -> None:
        fields = [pa.field(column.name, _ARROW_TYPES[column.wire_type]) for column in target.columns]
        self.schema = pa.schema([*fields, pa.field(ROW_HASH, pa.int64())])
        self.rows = 0
        self.zero_dates = 0
        self.zero_bytes = 0
        self.failure: Exception | None = None

    def clean(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches with exactly the columns of `schema`."""
        try:
            for batch in batches:
                self.rows += batch.num_rows
                self.zero_dates += pc.sum(batch.column(ZEROED)).as_py() or 0
                arrays = [self._fit(batch.column(field.name), field) for field in self.schema]
                yield pa.record_batch(arrays, schema=self.schema)
        except Exception as error:
            # ADBC reports a broken stream only; the reason is kept here for `land_many` to raise.
            self.failure = error
            raise

    def _fit(self, array: pa.Array, field: pa.Field) -> pa.Array:
        if field.type == pa.string():
            # PHP writes zero bytes into serialised private properties; PostgreSQL takes none in a text.
            found = pc.sum(pc.match_substring(array, "\0")).as_py()
            if found:
                self.zero_bytes += found
                array = pc.replace_substring(array, "\0", "")
        return array if array.type == field.type else array.cast(field.type)

    @property
    def notices(self) -> list[str]:
        """What a person should know about the rows passed on so far."""
        said = []
        if self.zero_dates:
            said.append(f"{self.zero_dates} zero or impossible dates became null")
        if self.zero_bytes:
            said.append(f"{self.zero_bytes} texts lost their zero bytes")
        return said


def look_ahead(batches: Iterator[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch] | None]:
    """The first batches, and all of them again as an iterator when they are many; None when that was all."""
    ahead: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            ahead.append(batch)
            rows += batch.num_rows
        if rows > SMALL_ROWS:
            return ahead, chain(ahead, batches)
    return ahead, None


def land_few(
    connection: Connection, target: Target, batches: Sequence[pa.RecordBatch], cleaner: Cleaner
) -> sql.Composable:
    """Rows into a temporary table that ends with the caller's transaction; returns its name."""
    landing = sql.Identifier("pg_temp", f"landing_{target.table}")
    connection.execute(
        sql.SQL("create temporary table {} ({}) on commit drop").format(
            sql.Identifier(f"landing_{target.table}"), _columns(target)
        )
    )
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy {} from stdin").format(landing)) as copy:
        copy.set_types([*(column.wire_type for column in target.columns), "bigint"])
        for batch in cleaner.clean(iter(batches)):
            for row in zip(*(array.to_pylist() for array in batch.columns), strict=True):
                copy.write_row(row)
    _analyze(connection, landing, cleaner.rows)
    return landing


def land_many(
    connection: Connection,
    warehouse_dsn: str,
    target: Target,
    batches: Iterator[pa.RecordBatch],
    cleaner: Cleaner,
) -> sql.Composable:
    """Rows into an unlogged table, committed; returns its name. `drop` it, whatever happens.

    Raises:
        SourceError: the source broke off.
        ContractError: rows do not fit their columns.
    """
    # Here and not above: its import costs as much as loading a small table, and most loads never need it.
    import adbc_driver_manager  # noqa: PLC0415
    import adbc_driver_postgresql.dbapi  # noqa: PLC0415

    name = f"landing_{target.table}"
    landing = landing_of(target)
    drop(connection, target)
    connection.execute(
        sql.SQL("create unlogged table {} ({}) with (autovacuum_enabled = false)").format(landing, _columns(target))
    )
    reader = pa.RecordBatchReader.from_batches(cleaner.schema, cleaner.clean(batches))
    try:
        with adbc_driver_postgresql.dbapi.connect(warehouse_dsn) as adbc, adbc.cursor() as cursor:
            cursor.adbc_ingest(name, reader, mode="append", db_schema_name=_SCHEMA)
            adbc.commit()
    except adbc_driver_manager.Error as error:
        if isinstance(cleaner.failure, LetterTrailError):
            raise cleaner.failure from None
        reason = cleaner.failure or error
        raise ContractError(f"{target.name}: the rows do not fit their columns: {reason}") from None
    _analyze(connection, landing, cleaner.rows)
    return landing


def landing_of(target: Target) -> sql.Composable:
    """The table `land_many` fills."""
    return sql.Identifier(_SCHEMA, f"landing_{target.table}")


def drop(connection: Connection, target: Target) -> None:
    """Removes what `land_many` made, also what a killed load left behind."""
    connection.execute(sql.SQL("drop table if exists {}").format(landing_of(target)))


def _columns(target: Target) -> sql.Composable:
    lines = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.wire_type)) for column in target.columns
    ]
    lines.append(sql.SQL("{} bigint").format(sql.Identifier(ROW_HASH)))
    return sql.SQL(", ").join(lines)


def _analyze(connection: Connection, landing: sql.Composable, rows: int) -> None:
    if rows >= _ANALYZE_FROM:
        connection.execute(sql.SQL("analyze {}").format(landing))
