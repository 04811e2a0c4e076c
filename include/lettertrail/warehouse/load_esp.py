"""Merges what an ESP account reports into `raw_esp`: campaigns, contacts and events, each a load of its own.

Rows are keyed by (esp, account, external_id) and compared by a hash of their content, payload included. Reading the
same thing again changes nothing, so overlaps are free, and adapters may overlap as much as their service needs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Protocol

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.errors import ContractError
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import Counts, Load, LoadResult, next_load_id, read_state, record
from lettertrail.warehouse.session import Session

log = logging.getLogger(__name__)

OVERLAP = timedelta(hours=1)
"""Asked for again below the last reading: an ESP's clock and ours differ, and its reports lag."""
_BATCH = 5_000


class EspReader(Protocol):
    """The reading half of an ESP adapter, see `lettertrail.esps.port.Esp`; records carry the columns as attributes."""

    @property
    def name(self) -> str: ...
    @property
    def account(self) -> str: ...
    def campaigns(self, since: datetime | None) -> Iterable[Any]: ...
    def contacts(self, since: datetime | None) -> Iterable[Any]: ...
    def events(self, since: datetime | None) -> Iterable[Any]: ...


@dataclass(frozen=True, slots=True)
class Stream:
    """One table of raw_esp; `columns` maps names to types, without esp, account and our own."""

    table: str
    columns: Mapping[str, str]


STREAMS = (
    Stream(
        "campaigns",
        {
            "external_id": "text", "list_id": "text", "title": "text", "subject": "text", "status": "text",
            "sent_at": "timestamptz", "emails_sent": "bigint", "utm_campaign": "text", "url": "text",
            "updated_at": "timestamptz", "payload": "jsonb",
        },
    ),
    Stream(
        "contacts",
        {
            "external_id": "text", "list_id": "text", "email": "text", "status": "text", "status_reason": "text",
            "opted_in_at": "timestamptz", "changed_at": "timestamptz", "tags": "text[]", "payload": "jsonb",
        },
    ),
    Stream(
        "events",
        {
            "external_id": "text", "campaign_id": "text", "contact_id": "text", "email": "text", "event_type": "text",
            "bounce_kind": "text", "occurred_at": "timestamptz", "url": "text", "is_proxy": "boolean",
            "reason": "text", "payload": "jsonb",
        },
    ),
)  # fmt: skip


def load_account(
    esp: EspReader,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    since: datetime | None = None,
) -> list[LoadResult]:
    """Reads an account's campaigns, contacts and events and merges them; one result per stream, in that order.

    Args:
        since: read from here instead of from the last reading (less an overlap). The first reading reads everything.

    Raises:
        ApiError: from the adapter; the streams before stay loaded, the failed one leaves no trace.
        ContractError: a record has a naive time or a word its column does not know.
    """
    readers: dict[str, Callable[[datetime | None], Iterable[Any]]] = {
        "campaigns": esp.campaigns,
        "contacts": esp.contacts,
        "events": esp.events,
    }
    results = []
    with connect(warehouse_dsn, purpose=f"load {esp.name}", autocommit=True) as connection:
        lock = f"load raw_esp {esp.name} {esp.account}"
        connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [lock])
        for stream in STREAMS:
            result = _load_stream(
                connection, stream, esp, readers[stream.table], run_id=run_id, clock=clock, since=since
            )
            log.info(
                "%s: %s read, %s inserted, %s updated, %s unchanged, %s quarantined in %.1f s",
                result.table, result.read, result.inserted, result.updated, result.unchanged, result.quarantined,
                result.seconds,
            )  # fmt: skip
            results.append(result)
    return results


def _load_stream(
    connection: Connection,
    stream: Stream,
    esp: EspReader,
    reader: Callable[[datetime | None], Iterable[Any]],
    *,
    run_id: str,
    clock: Clock,
    since: datetime | None,
) -> LoadResult:
    began, started_at = time.monotonic(), clock()
    target = f"raw_esp.{stream.table}:{esp.account}"
    last = read_state(connection, target).get("read_at")
    start = since if since is not None else _start(last)
    landing = sql.Identifier(f"landing_{stream.table}")
    _create_landing(connection, landing, stream)
    read = 0
    records = iter(reader(start))
    while batch := list(islice(records, _BATCH)):
        _copy(connection, landing, stream, batch, first=read)
        read += len(batch)
    with connection.transaction():
        load = Load(
            load_id=next_load_id(Session(connection)),
            run_id=run_id,
            target=target,
            strategy="poll",
            started_at=started_at,
            cursor_from=None if start is None else start.isoformat(),
            cursor_to=started_at.isoformat(),
            state={"read_at": started_at.isoformat()},
        )
        counts = _merge(connection, landing, stream, esp, load, read=read, at=clock())
        record(Session(connection), load, counts, finished_at=clock())
    connection.execute(sql.SQL("drop table {}").format(landing))
    return LoadResult.of(target, counts, seconds=time.monotonic() - began, notices=())


def _start(last: str | None) -> datetime | None:
    return None if last is None else datetime.fromisoformat(last) - OVERLAP


def _create_landing(connection: Connection, landing: sql.Composable, stream: Stream) -> None:
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in stream.columns.items()]
    # `number` is the order of reading: of a record that was read twice, the later one counts.
    statement = sql.SQL("create temporary table {} (number bigint, {}, _row_hash bigint)")
    connection.execute(sql.SQL("drop table if exists pg_temp.{}").format(landing))
    connection.execute(statement.format(landing, sql.SQL(", ").join(columns)))


def _copy(
    connection: Connection, landing: sql.Composable, stream: Stream, records: Iterable[Any], *, first: int
) -> None:
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy {} from stdin").format(landing)) as copy:
        # JSON is text already; told that it is jsonb, psycopg would wrap it in a JSON string.
        kinds = ["text" if kind == "jsonb" else kind for kind in stream.columns.values()]
        copy.set_types(["bigint", *kinds, "bigint"])
        for number, found in enumerate(records, start=first):
            row = [_fit(stream, name, getattr(found, name)) for name in stream.columns]
            copy.write_row([number, *row, _hash(row)])


def _fit(stream: Stream, name: str, value: Any) -> Any:
    kind = stream.columns[name]
    if value is None:
        return None
    if kind == "jsonb":
        return json.dumps(_without_zero_bytes(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if kind == "timestamptz" and (not isinstance(value, datetime) or value.tzinfo is None):
        raise ContractError(f"raw_esp.{stream.table}: {name} must be an aware time")
    if kind == "text[]":
        return [_without_zero_bytes(item) for item in value]
    return _without_zero_bytes(value)


def _without_zero_bytes(value: Any) -> Any:
    """PostgreSQL takes no zero byte in a text or in JSON."""
    if isinstance(value, str):
        return value.replace("\0", "") if "\0" in value else value
    if isinstance(value, Mapping):
        return {str(key).replace("\0", ""): _without_zero_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_zero_bytes(item) for item in value]
    return value


def _hash(row: list[Any]) -> int:
    """60 bits over the row, the same for the same content in every process."""
    text = json.dumps(row, default=datetime.isoformat, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 4


def _merge(
    connection: Connection,
    landing: sql.Composable,
    stream: Stream,
    esp: EspReader,
    load: Load,
    *,
    read: int,
    at: datetime,
) -> Counts:
    columns = [sql.Identifier(name) for name in stream.columns]
    names: dict[str, sql.Composable] = {
        "landing": landing,
        "table": sql.Identifier("raw_esp", stream.table),
        "columns": sql.SQL(", ").join(columns),
        "landed": sql.SQL(", ").join(sql.SQL("landed.{}").format(column) for column in columns),
        "settings": sql.SQL(", ").join(sql.SQL("{0} = landed.{0}").format(column) for column in columns),
        "esp": sql.Literal(esp.name),
        "account": sql.Literal(esp.account),
        "at": sql.Literal(at),
        "load": sql.Literal(load.load_id),
        "target": sql.Literal(load.target),
    }
    quarantined = _run(
        connection,
        "with refused as (delete from {landing} where coalesce(external_id, '') = '' returning *)"
        " insert into ops.quarantine (load_id, target, reason, record, quarantined_at)"
        " select {load}, {target}, 'no key', to_jsonb(refused), {at} from refused",
        names,
    )
    repeated = _run(
        connection,
        "delete from {landing} as earlier using (select external_id, max(number) as number from {landing}"
        " group by external_id having count(*) > 1) as latest"
        " where earlier.external_id = latest.external_id and earlier.number < latest.number",
        names,
    )
    names["same"] = sql.SQL(
        "held.esp = {esp} and held.account = {account} and held.external_id = landed.external_id"
    ).format(esp=names["esp"], account=names["account"])
    unchanged = _count(
        connection,
        "select count(*) from {landing} as landed join {table} as held on {same}"
        " where held._row_hash = landed._row_hash and held._deleted_at is null",
        names,
    )
    updated = _run(
        connection,
        "update {table} as held set {settings}, _row_hash = landed._row_hash, _loaded_at = {at}, _load_id = {load},"
        " _deleted_at = null from {landing} as landed"
        " where {same} and (held._row_hash <> landed._row_hash or held._deleted_at is not null)",
        names,
    )
    inserted = _run(
        connection,
        "insert into {table} (esp, account, {columns}, _row_hash, _loaded_at, _load_id)"
        " select {esp}, {account}, {landed}, landed._row_hash, {at}, {load} from {landing} as landed"
        " where not exists (select from {table} as held where {same})",
        names,
    )
    # A record that was read again in the same reading left no trace of its own: it counts as unchanged.
    return Counts(read, inserted, updated, unchanged + repeated, quarantined)


def _run(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    return connection.execute(sql.SQL(statement).format(**names)).rowcount


def _count(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    row = connection.execute(sql.SQL(statement).format(**names)).fetchone()
    assert row is not None
    return int(row[0])
