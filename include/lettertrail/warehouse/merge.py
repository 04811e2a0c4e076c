"""Rows from the source into a raw table: copied beside it, merged by key and row hash, accounted for.

The rows arrive in an unlogged landing table (no WAL, gone with the load). What follows, merge, quarantine, ledger
row and cursor, is one transaction: a process that dies anywhere leaves the raw table as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from zoneinfo import ZoneInfo

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from lettertrail.bitrix.sql import ROW_HASH, ZEROED, KeyRange
from lettertrail.clock import Clock
from lettertrail.errors import ContractError, LetterTrailError
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.ledger import Counts, Load, record
from lettertrail.warehouse.target import Target

log = logging.getLogger(__name__)

_LANDING_SCHEMA = "ops"
_ANALYZE_FROM = 2000
"""Below this many rows the planner's guess about a new table is good enough."""
_ARROW_TYPES = {
    "bigint": pa.int64(),
    "text": pa.string(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "bytea": pa.large_binary(),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a raw table that a load has read completely; rows there that the source no longer has are deleted."""

    range_by: str | None
    key_range: KeyRange


class _Cleaner:
    """Passes batches on, made fit for PostgreSQL, and counts what it had to change."""

    def __init__(self, target: Target) -> None:
        fields = [pa.field(column.name, _ARROW_TYPES[column.wire_type]) for column in target.columns]
        self.schema = pa.schema([*fields, pa.field(ROW_HASH, pa.int64())])
        self.rows = 0
        self.zero_dates = 0
        self.zero_bytes = 0
        self.failure: BaseException | None = None

    def clean(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                self.rows += batch.num_rows
                self.zero_dates += pc.sum(batch.column(ZEROED)).as_py() or 0
                arrays = [self._fit(batch.column(field.name), field) for field in self.schema]
                yield pa.record_batch(arrays, schema=self.schema)
        except Exception as error:
            # ADBC reports it as a broken stream; the reason is kept here for `_copy` to raise.
            self.failure = error
            raise

    def _fit(self, array: pa.Array, field: pa.Field) -> pa.Array:
        if field.type == pa.string():
            # PHP writes zero bytes into serialised private properties; PostgreSQL takes none in a text.
            holds_zero = pc.match_substring(array, "\0")
            found = pc.sum(holds_zero).as_py()
            if found:
                self.zero_bytes += found
                array = pc.replace_substring(array, "\0", "")
        return array if array.type == field.type else array.cast(field.type)

    @property
    def notices(self) -> list[str]:
        said = []
        if self.zero_dates:
            said.append(f"{self.zero_dates} zero or impossible dates became null")
        if self.zero_bytes:
            said.append(f"{self.zero_bytes} texts lost their zero bytes")
        return said


def load_rows(
    connection: Connection,
    warehouse_dsn: str,
    target: Target,
    batches: Iterator[pa.RecordBatch],
    make_load: Callable[[], Load],
    *,
    clock: Clock,
    timezone: ZoneInfo,
    scope: Scope | None = None,
) -> tuple[Counts, list[str]]:
    """Copies, merges and records one load; commits once. `connection` must be in autocommit mode.

    Args:
        make_load: called inside the transaction, once all rows are here.
        scope: what part of the source `batches` is all of; None when it is only a selection, so nothing is deleted.
    """
    cleaner = _Cleaner(target)
    landing = sql.Identifier(_LANDING_SCHEMA, f"landing_{target.table}")
    first = next(batches, None)
    if first is None and scope is None:
        with connection.transaction():
            record(connection, make_load(), Counts(), finished_at=clock())
        return Counts(), []
    _create_landing(connection, landing, target)
    try:
        if first is not None:
            _copy(warehouse_dsn, f"landing_{target.table}", cleaner.clean(chain([first], batches)), cleaner)
            if cleaner.rows >= _ANALYZE_FROM:
                connection.execute(sql.SQL("analyze {}").format(landing))
        with connection.transaction():
            load = make_load()
            counts, said = _merge(
                connection, target, landing, load, read=cleaner.rows, at=clock(), timezone=timezone, scope=scope
            )
            notices = [*load.notices, *cleaner.notices, *said]
            record(connection, _with_notices(load, notices), counts, finished_at=clock())
    finally:
        if not connection.closed:
            connection.execute(sql.SQL("drop table if exists {}").format(landing))
    return counts, [*cleaner.notices, *said]


def _with_notices(load: Load, notices: Sequence[str]) -> Load:
    return Load(
        load.load_id, load.run_id, load.target, load.strategy, load.started_at, load.cursor_from, load.cursor_to,
        load.state, tuple(notices),
    )  # fmt: skip


def _create_landing(connection: Connection, landing: sql.Composable, target: Target) -> None:
    lines = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.wire_type)) for column in target.columns
    ]
    lines.append(sql.SQL("{} bigint").format(sql.Identifier(ROW_HASH)))
    connection.execute(sql.SQL("drop table if exists {}").format(landing))
    connection.execute(
        sql.SQL("create unlogged table {} ({}) with (autovacuum_enabled = false)").format(
            landing, sql.SQL(", ").join(lines)
        )
    )


def _copy(dsn: str, table: str, batches: Iterator[pa.RecordBatch], cleaner: _Cleaner) -> None:
    reader = pa.RecordBatchReader.from_batches(cleaner.schema, batches)
    try:
        with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=_LANDING_SCHEMA)
            connection.commit()
    except adbc_driver_manager.Error as error:
        if isinstance(cleaner.failure, LetterTrailError):
            raise cleaner.failure from None
        if cleaner.failure is not None:
            raise ContractError(f"{table}: a batch does not fit its columns: {cleaner.failure}") from None
        raise ContractError(f"{table}: PostgreSQL did not take the rows: {error}") from None


def _merge(
    connection: Connection,
    target: Target,
    landing: sql.Composable,
    load: Load,
    *,
    read: int,
    at: datetime,
    timezone: ZoneInfo,
    scope: Scope | None,
) -> tuple[Counts, list[str]]:
    names = {
        "target": target.relation,
        "landing": landing,
        "same": _and(target.key, "held.{0} = landed.{0}::{1}", target),
        "hash": sql.Identifier(ROW_HASH),
        "at": sql.Literal(at),
        "load": sql.Literal(load.load_id),
    }
    quarantined = _quarantine(connection, target, landing, load, at=at)
    values = {column.name: _value(target, column.name, timezone) for column in target.columns}
    unchanged = _count(
        connection,
        "select count(*) from {landing} as landed join {target} as held on {same}"
        " where held.{hash} = landed.{hash} and held._deleted_at is null",
        names,
    )
    settings = [sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values.items()]
    updated = _run(
        connection,
        "update {target} as held set {settings}, {hash} = landed.{hash}, _loaded_at = {at}, _load_id = {load},"
        " _deleted_at = null from {landing} as landed"
        " where {same} and (held.{hash} is distinct from landed.{hash} or held._deleted_at is not null)",
        {**names, "settings": sql.SQL(", ").join(settings)},
    )
    inserted = _run(
        connection,
        "insert into {target} ({columns}, {hash}, _loaded_at, _load_id)"
        " select {values}, landed.{hash}, {at}, {load} from {landing} as landed"
        " where not exists (select from {target} as held where {same})",
        {
            **names,
            "columns": sql.SQL(", ").join(map(sql.Identifier, values)),
            "values": sql.SQL(", ").join(values.values()),
        },
    )
    deleted = 0
    if scope is not None:
        deleted = _run(
            connection,
            "update {target} as held set _deleted_at = {at}, _loaded_at = {at}, _load_id = {load}"
            " where held._deleted_at is null and {scope}"
            " and not exists (select from {landing} as landed where {same})",
            {**names, "scope": _scope(scope)},
        )
    counts = Counts(read, inserted, updated, unchanged, quarantined, deleted)
    return counts, [f"{quarantined} rows quarantined"] if quarantined else []


def _quarantine(connection: Connection, target: Target, landing: sql.Composable, load: Load, *, at: datetime) -> int:
    """Moves rows out of the landing table that have no key or a key another row has already."""
    keys = sql.SQL(", ").join(map(sql.Identifier, target.key))
    names = {
        "landing": landing,
        "keys": keys,
        "no_key": sql.SQL(" or ").join(sql.SQL("{} is null").format(sql.Identifier(key)) for key in target.key),
    }
    without_key = _run(
        connection,
        "with refused as (delete from {landing} where {no_key} returning *) {keep}",
        {**names, "keep": _keep(target, load, "no key", at)},
    )
    twins = _count(
        connection, "select count(*) from (select from {landing} group by {keys} having count(*) > 1) as t", names
    )
    if not twins:
        return without_key
    duplicate = _run(
        connection,
        "with numbered as ("
        " select ctid, row_number() over (partition by {keys} order by ctid) as number from {landing}"
        "), refused as (delete from {landing} where ctid in (select ctid from numbered where number > 1) returning *)"
        " {keep}",
        {**names, "keep": _keep(target, load, "duplicate key", at)},
    )
    return without_key + duplicate


def _keep(target: Target, load: Load, reason: str, at: datetime) -> sql.Composable:
    values = [sql.Literal(value) for value in (load.load_id, target.name, reason)]
    return sql.SQL(
        "insert into ops.quarantine (load_id, target, reason, record, quarantined_at)"
        " select {}, to_jsonb(refused), {} from refused"
    ).format(sql.SQL(", ").join(values), sql.Literal(at))


def _value(target: Target, name: str, timezone: ZoneInfo) -> sql.Composable:
    column = next(column for column in target.columns if column.name == name)
    landed = sql.SQL("landed.{}").format(sql.Identifier(name))
    if column.is_session_time:
        landed = sql.SQL("(({} at time zone 'UTC') at time zone {})").format(landed, sql.Literal(timezone.key))
    return sql.SQL("{}::{}").format(landed, sql.SQL(target.types[name]))


def _and(names: Sequence[str], template: str, target: Target) -> sql.Composable:
    return sql.SQL(" and ").join(
        sql.SQL(template).format(sql.Identifier(name), sql.SQL(target.types[name])) for name in names
    )


def _scope(scope: Scope) -> sql.Composable:
    key_range = scope.key_range
    if key_range.is_everything or scope.range_by is None:
        return sql.SQL("true")
    column = sql.SQL("held.{}").format(sql.Identifier(scope.range_by))
    if key_range.low is None:
        return sql.SQL("({0} < {1} or {0} is null)").format(column, sql.Literal(key_range.high))
    above = sql.SQL("{} >= {}").format(column, sql.Literal(key_range.low))
    if key_range.high is None:
        return above
    return sql.SQL("{} and {} < {}").format(above, column, sql.Literal(key_range.high))


def _run(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    return connection.execute(sql.SQL(statement).format(**names)).rowcount


def _count(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    row = connection.execute(sql.SQL(statement).format(**names)).fetchone()
    assert row is not None
    return int(row[0])
