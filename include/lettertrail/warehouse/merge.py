"""Landed rows into a raw table: by key and row hash, each with its one outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.bitrix.port import ROW_HASH, KeyRange
from lettertrail.warehouse.clean import Unparsed
from lettertrail.warehouse.ledger import Counts, literals
from lettertrail.warehouse.session import Session
from lettertrail.warehouse.target import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a raw table that a load has read completely; rows there that the source no longer has are deleted."""

    range_by: str | None
    ranges: tuple[KeyRange, ...]

    def predicate(self, table: str = "held") -> sql.Composable:
        """The condition that a row of the raw table is in the scope."""
        if self.range_by is None or any(part.is_everything for part in self.ranges):
            return sql.SQL("true")
        column = sql.Identifier(table, self.range_by)
        return sql.SQL("({})").format(sql.SQL(" or ").join(_within(column, part) for part in self.ranges))


@dataclass(frozen=True, slots=True)
class Merge:
    """The landed rows of one load against the rows held."""

    session: Session
    target: Target
    landing: sql.Composable
    load_id: int
    at: datetime
    timezone: ZoneInfo
    rewrites: bool = False
    """Write every row that is held again: its columns are new ones, and values that only moved to another column (a
    renamed one, one whose old type is kept aside, one that is now parsed) leave the row hash as it was."""

    def run(self, *, read: int, scope: Scope | None, spared: Sequence[str] | None = ()) -> Counts:
        """Quarantines, then updates, inserts and (within `scope`) marks as deleted.

        Args:
            spared: keys, as text, of rows that are in the source although they did not land; None when they are not
                known, and then nothing is marked as deleted.
        """
        # A few thousand rows among millions: the planner must not think that reading the whole table is cheaper.
        self.session.run(sql.SQL("set local random_page_cost = 1.1"))
        quarantined = self._quarantine()
        unchanged = self._count(
            "select count(*) from {landing} as landed join {target} as held on {same}"
            " where not ({differs}) and held._deleted_at is null"
        )
        updated = self._execute(
            "update {target} as held set {settings}, {hash} = landed.{hash}, _loaded_at = {at}, _load_id = {load},"
            " _deleted_at = null from {landing} as landed"
            " where {same} and (({differs}) or held._deleted_at is not null)"
        )
        inserted = self._execute(
            "insert into {target} ({columns}, {hash}, _loaded_at, _load_id)"
            " select {values}, landed.{hash}, {at}, {load} from {landing} as landed"
            " where not exists (select from {target} as held where {same})"
        )
        deleted = 0
        if scope is not None and spared is not None:
            deleted = self._execute(
                "update {target} as held set _deleted_at = {at}, _loaded_at = {at}, _load_id = {load}"
                " where held._deleted_at is null and {scope} and {not_spared}"
                " and not exists (select from {landing} as landed where {same})",
                scope=scope.predicate(),
                not_spared=self._not_spared(spared),
            )
        return Counts(read, inserted, updated, unchanged, quarantined, deleted)

    def stored(self, values: Sequence[Unparsed]) -> list[Unparsed]:
        """Those of the values whose rows this load wrote; the others were reported when they were."""
        return [value for value in values if self._was_written(value.key)]

    def _was_written(self, key: dict[str, object]) -> bool:
        parts = [
            sql.SQL("held.{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in key.items()
        ]
        found = self._count(
            "select count(*) from {target} as held where held._load_id = {load} and {key}",
            key=sql.SQL(" and ").join(parts),
        )
        return found > 0

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
        return sql.SQL(
            "insert into ops.quarantine (load_id, target, reason, record, quarantined_at)"
            " select {}, to_jsonb(refused), {} from refused"
        ).format(literals([self.load_id, self.target.name, reason]), sql.Literal(self.at))

    def _not_spared(self, keys: Sequence[str]) -> sql.Composable:
        if not keys:
            return sql.SQL("true")
        texts = [sql.SQL("held.{}::text").format(sql.Identifier(key)) for key in self.target.key]
        return sql.SQL("concat_ws(', ', {}) not in ({})").format(sql.SQL(", ").join(texts), literals(keys))

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
            "differs": sql.SQL("true" if self.rewrites else "held.{0} is distinct from landed.{0}").format(
                sql.Identifier(ROW_HASH)
            ),
            "hash": sql.Identifier(ROW_HASH),
            "at": sql.Literal(self.at),
            "load": sql.Literal(self.load_id),
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
        return self.session.run(sql.SQL(statement).format(**self._names(), **more))

    def _count(self, statement: str, **more: sql.Composable) -> int:
        ((count,),) = self.session.rows(sql.SQL(statement).format(**self._names(), **more))
        return int(count)


def _within(column: sql.Composable, part: KeyRange) -> sql.Composable:
    if part.low is None:
        return sql.SQL("({0} < {1} or {0} is null)").format(column, sql.Literal(part.high))
    above = sql.SQL("{} >= {}").format(column, sql.Literal(part.low))
    if part.high is None:
        return sql.SQL("({})").format(above)
    return sql.SQL("({} and {} < {})").format(above, column, sql.Literal(part.high))
