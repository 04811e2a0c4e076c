"""Rows from the source into a raw table: copied beside it, merged by key and row hash, accounted for.

The rows arrive in a landing table (see `landing`). What follows, merge, quarantine, ledger row and cursor, is one
transaction: a process that dies anywhere leaves the raw table as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
from psycopg import sql

from lettertrail.bitrix.port import ROW_HASH, KeyRange
from lettertrail.clock import Clock
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.landing import Cleaner, drop, land_few, land_many, look_ahead
from lettertrail.warehouse.ledger import Counts, Load, record
from lettertrail.warehouse.target import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a raw table that a load has read completely; rows there that the source no longer has are deleted."""

    range_by: str | None
    key_range: KeyRange


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
    on_stage: Callable[[str], None] = lambda _: None,
) -> tuple[Counts, list[str]]:
    """Copies, merges and records one load; commits once. `connection` must be in autocommit mode.

    Args:
        make_load: called inside the transaction, once all rows are here.
        scope: what part of the source `batches` is all of; None when it is only a selection, so nothing is deleted.
        on_stage: see `load.STAGES`.
    """
    cleaner = Cleaner(target)
    ahead, many = look_ahead(batches)
    on_stage("source opened")
    try:
        on_stage("rows landing")
        landing = None if many is None else land_many(connection, warehouse_dsn, target, many, cleaner)
        with connection.transaction():
            # The statements around it need not wait for the disk; this commit must.
            connection.execute("set local synchronous_commit = on")
            load = make_load()
            if not ahead and scope is None:
                counts = Counts()
            else:
                landing = landing or land_few(connection, target, ahead, cleaner)
                on_stage("rows landed")
                merge = _Merge(connection, target, landing, load, clock(), timezone)
                counts = merge.run(read=cleaner.rows, scope=scope)
            on_stage("merged")
            said = [*cleaner.notices, *([f"{counts.quarantined} rows quarantined"] if counts.quarantined else [])]
            load = replace(load, notices=(*load.notices, *said))
            record(connection, load, counts, finished_at=clock())
            on_stage("before commit")
        on_stage("committed")
    finally:
        if many is not None and not connection.closed:
            drop(connection, target)
    return counts, said


@dataclass(frozen=True, slots=True)
class _Merge:
    """The landed rows of one load against the rows held."""

    connection: Connection
    target: Target
    landing: sql.Composable
    load: Load
    at: datetime
    timezone: ZoneInfo

    def run(self, *, read: int, scope: Scope | None) -> Counts:
        """Quarantines, then updates, inserts and (within `scope`) marks as deleted."""
        quarantined = self._quarantine()
        unchanged = self._count(
            "select count(*) from {landing} as landed join {target} as held on {same}"
            " where held.{hash} = landed.{hash} and held._deleted_at is null"
        )
        updated = self._execute(
            "update {target} as held set {settings}, {hash} = landed.{hash}, _loaded_at = {at}, _load_id = {load},"
            " _deleted_at = null from {landing} as landed"
            " where {same} and (held.{hash} is distinct from landed.{hash} or held._deleted_at is not null)"
        )
        inserted = self._execute(
            "insert into {target} ({columns}, {hash}, _loaded_at, _load_id)"
            " select {values}, landed.{hash}, {at}, {load} from {landing} as landed"
            " where not exists (select from {target} as held where {same})"
        )
        deleted = 0
        if scope is not None:
            deleted = self._execute(
                "update {target} as held set _deleted_at = {at}, _loaded_at = {at}, _load_id = {load}"
                " where held._deleted_at is null and {scope}"
                " and not exists (select from {landing} as landed where {same})",
                scope=_scope(scope),
            )
        return Counts(read, inserted, updated, unchanged, quarantined, deleted)

    def _quarantine(self) -> int:
        """Moves rows out of the landing table that have no key, or a key another row has already."""
        missing = [sql.SQL("{} is null").format(sql.Identifier(key)) for key in self.target.key]
        without_key = self._execute(
            "with refused as (delete from {landing} where {no_key} returning *) {keep}",
            no_key=sql.SQL(" or ").join(missing),
            keep=self._keep("no key"),
        )
        twins = "select count(*) from (select from {landing} group by {keys} having count(*) > 1) as twins"
        if not self._count(twins):
            return without_key
        return without_key + self._execute(
            "with numbered as ("
            " select ctid, row_number() over (partition by {keys} order by ctid) as number from {landing}"
            "), refused as ("
            " delete from {landing} where ctid in (select ctid from numbered where number > 1) returning *"
            ") {keep}",
            keep=self._keep("duplicate key"),
        )

    def _keep(self, reason: str) -> sql.Composable:
        values = [sql.Literal(value) for value in (self.load.load_id, self.target.name, reason)]
        return sql.SQL(
            "insert into ops.quarantine (load_id, target, reason, record, quarantined_at)"
            " select {}, to_jsonb(refused), {} from refused"
        ).format(sql.SQL(", ").join(values), sql.Literal(self.at))

    def _names(self) -> dict[str, sql.Composable]:
        names = [column.name for column in self.target.columns]
        values = {name: self._value(name) for name in names}
        settings = [sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values.items()]
        same = [
            sql.SQL("held.{0} = landed.{0}::{1}").format(sql.Identifier(key), sql.SQL(self.target.types[key]))
            for key in self.target.key
        ]
        return {
            "target": self.target.relation,
            "landing": self.landing,
            "keys": sql.SQL(", ").join(map(sql.Identifier, self.target.key)),
            "same": sql.SQL(" and ").join(same),
            "hash": sql.Identifier(ROW_HASH),
            "at": sql.Literal(self.at),
            "load": sql.Literal(self.load.load_id),
            "columns": sql.SQL(", ").join(map(sql.Identifier, names)),
            "values": sql.SQL(", ").join(values.values()),
            "settings": sql.SQL(", ").join(settings),
        }

    def _value(self, name: str) -> sql.Composable:
        column = next(column for column in self.target.columns if column.name == name)
        landed = sql.SQL("landed.{}").format(sql.Identifier(name))
        if column.is_session_time:
            zone = sql.Literal(self.timezone.key)
            landed = sql.SQL("(({} at time zone 'UTC') at time zone {})").format(landed, zone)
        return sql.SQL("{}::{}").format(landed, sql.SQL(self.target.types[name]))

    def _execute(self, statement: str, **more: sql.Composable) -> int:
        return self.connection.execute(sql.SQL(statement).format(**self._names(), **more)).rowcount

    def _count(self, statement: str) -> int:
        row = self.connection.execute(sql.SQL(statement).format(**self._names())).fetchone()
        assert row is not None
        return int(row[0])


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
