"""The ledger: what every load did, where the next one starts, and whether the sums add up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from lettertrail.errors import LedgerImbalance
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.session import Session


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the rows of one load: read = inserted + updated + unchanged + quarantined."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    deleted: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.read + other.read,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.quarantined + other.quarantined,
            self.deleted + other.deleted,
        )


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What all loads of one table in one run did together; `seconds` is wall-clock time."""

    table: str
    read: int
    inserted: int
    updated: int
    unchanged: int
    quarantined: int
    deleted: int
    seconds: float
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: str, counts: Counts, *, seconds: float, notices: Sequence[str]) -> LoadResult:
        return cls(
            table, counts.read, counts.inserted, counts.updated, counts.unchanged, counts.quarantined,
            counts.deleted, seconds, tuple(notices),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """One row of ops.loads in the making."""

    load_id: int
    run_id: str
    target: str
    strategy: str
    started_at: datetime
    cursor_from: str | None = None
    cursor_to: str | None = None
    state: Mapping[str, Any] | None = None
    """What ops.cursors holds once the load is committed; None leaves it as it is."""
    notices: tuple[str, ...] = field(default=())


def next_load_id(session: Session) -> int:
    """A load id of its own, before its row exists: rows carry it in `_load_id`."""
    ((load_id,),) = session.rows(sql.SQL("select nextval('ops.loads_load_id_seq')"))
    return int(load_id)


def record(session: Session, load: Load, counts: Counts, *, finished_at: datetime) -> None:
    """Writes the ledger row and the cursor, inside the transaction that wrote the rows."""
    values = (
        load.load_id, load.run_id, load.target, load.strategy, load.cursor_from, load.cursor_to,
        counts.read, counts.inserted, counts.updated, counts.unchanged, counts.quarantined, counts.deleted,
        load.started_at, finished_at, json.dumps(list(dict.fromkeys(load.notices))),
    )  # fmt: skip
    session.run(
        sql.SQL(
            "insert into ops.loads (load_id, run_id, target, strategy, cursor_from, cursor_to, read, inserted,"
            " updated, unchanged, quarantined, deleted, started_at, finished_at, notices) values ({})"
        ).format(literals(values))
    )
    if load.notices:
        session.run(
            sql.SQL("delete from ops.untold_notices where target = {} and notice in ({})").format(
                sql.Literal(load.target), literals(load.notices)
            )
        )
    if load.state is not None:
        session.run(
            sql.SQL(
                "insert into ops.cursors (target, state, load_id, updated_at) values ({})"
                " on conflict (target) do update set state = excluded.state, load_id = excluded.load_id,"
                " updated_at = excluded.updated_at"
            ).format(literals([load.target, json.dumps(load.state), load.load_id, finished_at]))
        )


def literals(values: Iterable[Any]) -> sql.Composable:
    """Values as a list in a statement, quoted."""
    return sql.SQL(", ").join(map(sql.Literal, values))


def read_state(connection: Connection, target: str) -> dict[str, Any]:
    """Where the next load of `target` starts; empty before the first."""
    row = connection.execute("select state from ops.cursors where target = %s", [target]).fetchone()
    return {} if row is None else dict(row[0])


_IMBALANCES = """
    select format('load %%s of %%s: read %%s, accounted for %%s', load_id, target, read,
                  inserted + updated + unchanged + quarantined)
    from ops.loads
    where run_id = %(run_id)s and read <> inserted + updated + unchanged + quarantined

    union all

    select format('load %%s of %%s: %%s quarantined, %%s records kept', loads.load_id, loads.target,
                  loads.quarantined, count(quarantine.load_id))
    from ops.loads
    left join ops.quarantine on quarantine.load_id = loads.load_id and quarantine.column_name is null
    where loads.run_id = %(run_id)s
    group by loads.load_id
    having loads.quarantined <> count(quarantine.load_id)

    union all

    select format('%%s of %%s by run %%s: range %%s is %%s', copies.kind, copies.target, copies.run_id, number,
                  case
                      when loads.load_id is null then 'done without a load'
                      else format('of load %%s, which is of %%s and another range', loads.load_id, loads.target)
                  end)
    from ops.copies
    join ops.copy_ranges using (copy_id)
    left join ops.loads using (load_id)
    where copy_ranges.status = 'done'
        and copy_id in (
            select copy_id from ops.copy_ranges join ops.loads using (load_id) where loads.run_id = %(run_id)s
            union
            select copy_id from ops.copies where run_id = %(run_id)s
        )
        and (
            loads.load_id is null
            or (loads.target, loads.strategy) <> (copies.target, copies.kind)
            or (loads.cursor_from, loads.cursor_to) is distinct from (copy_ranges.low::text, copy_ranges.high::text)
        )

    union all

    select format('%%s of %%s by run %%s: finished with %%s of %%s ranges done', copies.kind, copies.target,
                  copies.run_id,
                  count(*) filter (where status = 'done'), count(*))
    from ops.copies
    join ops.copy_ranges using (copy_id)
    where run_id = %(run_id)s and outcome = 'finished'
    group by copy_id
    having count(*) filter (where status = 'done') < count(*)

    union all

    select format('sync run %%s to %%s/%%s of %%s: %%s', sync_run_id, destination, account, audience,
                  case
                      when finished_at is null then 'not finished'
                      else format('planned %%s, accounted for %%s', planned,
                                  applied + already_ok + rejected + retry_pending + held)
                  end)
    from ops.sync_runs
    where run_id = %(run_id)s
        and (finished_at is null or planned <> applied + already_ok + rejected + retry_pending + held)

    union all

    select format('sync run %%s to %%s/%%s of %%s: %%s counts differ from its records', sync_run_id, destination,
                  account, audience, count(*))
    from ops.sync_runs
    cross join lateral (
        values ('applied', applied), ('already_ok', already_ok), ('rejected', rejected),
               ('retry_pending', retry_pending), ('held', held)
    ) as said (outcome, n)
    where run_id = %(run_id)s and finished_at is not null and said.n <> (
        select count(*) from ops.sync_records
        where sync_records.sync_run_id = sync_runs.sync_run_id and sync_records.outcome = said.outcome
    )
    group by sync_run_id
"""


def check_balance(warehouse_dsn: str, *, run_id: str) -> int:
    """Checks every sum of a run by SQL; returns how many loads and sync runs were looked at.

    `read = inserted + updated + unchanged + quarantined` with one quarantine record each, every range of a copy done by
    a load of its own,
    `planned = applied + already_ok + rejected + retry_pending + held` with one record each, and nothing unfinished.

    Raises:
        LedgerImbalance: naming each load or sync run that does not add up.
    """
    with connect(warehouse_dsn, purpose="check balance") as connection:
        found = [row[0] for row in connection.execute(_IMBALANCES, {"run_id": run_id}).fetchall()]
        checked = connection.execute(
            "select (select count(*) from ops.loads where run_id = %(run_id)s)"
            " + (select count(*) from ops.sync_runs where run_id = %(run_id)s)",
            {"run_id": run_id},
        ).fetchone()
    if found:
        raise LedgerImbalance(f"run {run_id}: " + "; ".join(found))
    assert checked is not None
    return int(checked[0])
