"""Merges what an ESP account reports into `raw_esp`: lists, campaigns, their totals and links, contacts and events.

The HTML of letters takes most services a call each. It is kept in the payload of its campaign, under `content`, and
asked for again only when the adapter says that it may have changed.

Each is a load of its own. Rows are keyed by (esp, account, external_id) and compared by a hash of their content,
payload included. Reading the same thing again changes nothing, so overlaps are free, and adapters may overlap as much
as their service needs.

The cursor of a stream says up to when everything was read. A window read out of turn moves it only where it joins what
was read before, and never back.
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
from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import Counts, Load, LoadResult, next_load_id, read_state, record
from lettertrail.warehouse.session import Session

log = logging.getLogger(__name__)

BODIES_AT_ONCE = 100
"""Letters whose HTML one reading asks for, newest first; the others wait for the next. Reading all has no limit."""
OVERLAP = timedelta(hours=1)
"""Asked for again below the last reading: an ESP's clock and ours differ, and its reports lag."""
_BATCH = 5_000


class EspReader(Protocol):
    """The reading half of an ESP adapter, see `lettertrail.esps.port.Esp`; records carry the columns as attributes."""

    @property
    def name(self) -> str: ...
    @property
    def account(self) -> str: ...
    def lists(self) -> Iterable[Any]: ...
    def campaigns(self, since: datetime | None) -> Iterable[Any]: ...
    def totals(self, since: datetime | None) -> Iterable[Any]: ...
    def links(self, since: datetime | None) -> Iterable[Any]: ...
    def bodies(self, held: Mapping[str, str]) -> Iterable[Any]: ...
    def contacts(self, since: datetime | None) -> Iterable[Any]: ...
    def events(self, since: datetime | None, until: datetime | None = None) -> Iterable[Any]: ...


@dataclass(frozen=True, slots=True)
class Window:
    """What to read: None means from the last reading, less an overlap, and up to now.

    Raises:
        ConfigurationError: a naive time, an end that is not after the beginning, or a beginning of the whole.
    """

    since: datetime | None = None
    until: datetime | None = None
    is_whole: bool = False
    """From the very beginning, as the first time."""

    def __post_init__(self) -> None:
        for name, moment in (("since", self.since), ("until", self.until)):
            if moment is not None and moment.tzinfo is None:
                raise ConfigurationError(f"{name} needs a time zone, for example 2026-01-31T00:00:00+00:00")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ConfigurationError("until must be later than since")
        if self.since is not None and self.is_whole:
            raise ConfigurationError("everything has no beginning: leave since empty")

    @property
    def strategy(self) -> str:
        """The ledger's word for it: a window that somebody chose is told from the usual reading."""
        return "poll" if self == Window() else "window"

    def start(self, last: str | None) -> datetime | None:
        """Where to read from when the last reading ended at `last`; None: everything."""
        return self.since if self.since is not None or self.is_whole else _start(last)


@dataclass(frozen=True, slots=True)
class Stream:
    """One table of raw_esp; `columns` maps names to types, without esp, account and our own."""

    table: str
    columns: Mapping[str, str]
    has_until: bool = False
    """Its reader can stop at the end of a window; the others read up to now."""
    kept: str | None = None
    """A part of the payload that is read apart: a row that comes without it leaves it as it is."""


STREAMS = (
    Stream(
        "lists",
        {
            "external_id": "text", "name": "text", "status": "text", "contacts": "bigint",
            "created_at": "timestamptz", "payload": "jsonb",
        },
    ),
    Stream(
        "campaigns",
        {
            "external_id": "text", "list_id": "text", "title": "text", "subject": "text", "status": "text",
            "sent_at": "timestamptz", "emails_sent": "bigint", "utm_campaign": "text", "url": "text",
            "updated_at": "timestamptz", "payload": "jsonb",
        },
        kept="content",
    ),
    Stream(
        "campaign_totals",
        {
            "external_id": "text", "sent": "bigint", "delivered": "bigint", "opens": "bigint", "opened": "bigint",
            "opened_without_proxies": "bigint", "clicks": "bigint", "clicked": "bigint", "bounced_hard": "bigint",
            "bounced_soft": "bigint", "bounced": "bigint", "unsubscribed": "bigint", "complained": "bigint",
            "payload": "jsonb",
        },
    ),
    Stream(
        "links",
        {
            "external_id": "text", "campaign_id": "text", "url": "text", "clicks": "bigint", "clicked": "bigint",
            "payload": "jsonb",
        },
    ),
    Stream(
        "contacts",
        {
            "external_id": "text", "list_id": "text", "email": "text", "status": "text", "status_reason": "text",
            "opted_in_at": "timestamptz", "changed_at": "timestamptz", "tags": "text[]", "fields": "jsonb",
            "payload": "jsonb",
        },
    ),
    Stream(
        "events",
        {
            "external_id": "text", "campaign_id": "text", "contact_id": "text", "email": "text", "event_type": "text",
            "bounce_kind": "text", "occurred_at": "timestamptz", "url": "text", "is_proxy": "boolean",
            "reason": "text", "source": "text", "message_ref": "text", "user_agent": "text", "ip": "text",
            "payload": "jsonb",
        },
        has_until=True,
    ),
)  # fmt: skip


def load_account(
    esp: EspReader,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    since: datetime | None = None,
    until: datetime | None = None,
    is_whole: bool = False,
) -> list[LoadResult]:
    """Reads an account and merges what it says; one result per stream, in the order of `STREAMS`, then the bodies'.

    Args:
        since: read from here instead of from the last reading (less an overlap). The first reading reads everything.
        until: events after this need not be read.
        is_whole: read everything again that the service still knows.

    Raises:
        ApiError: from the adapter; the streams before stay loaded, the failed one leaves no trace.
        ConfigurationError: the window is none.
        ContractError: a record has a naive time or a word its column does not know.
    """
    window = Window(since, until, is_whole)
    results = []
    with connect(warehouse_dsn, purpose=f"load {esp.name}", autocommit=True) as connection:
        lock = f"load raw_esp {esp.name} {esp.account}"
        connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [lock])
        for stream in STREAMS:
            result = _load_stream(connection, stream, esp, run_id=run_id, clock=clock, window=window)
            log.info(
                "%s: %s read, %s inserted, %s updated, %s unchanged, %s quarantined in %.1f s",
                result.table, result.read, result.inserted, result.updated, result.unchanged, result.quarantined,
                result.seconds,
            )  # fmt: skip
            results.append(result)
        results.append(_load_bodies(connection, esp, run_id=run_id, clock=clock, window=window))
    return results


def _load_bodies(connection: Connection, esp: EspReader, *, run_id: str, clock: Clock, window: Window) -> LoadResult:
    """Puts the HTML of letters to their campaigns."""
    began, started_at = time.monotonic(), clock()
    target = f"raw_esp.bodies:{esp.account}"
    held = {} if window.is_whole else _held_bodies(connection, esp)
    bodies = list(islice(esp.bodies(held), None if window.is_whole else BODIES_AT_ONCE))
    known = _held_bodies(connection, esp) if window.is_whole else held
    with connection.transaction():
        load = Load(
            load_id=next_load_id(Session(connection)),
            run_id=run_id,
            target=target,
            strategy=window.strategy,
            started_at=started_at,
        )
        kept = {body.external_id for body in bodies if _keep_body(connection, esp, body, load, at=clock())}
        updated = len(kept & known.keys())
        counts = Counts(len(bodies), len(kept) - updated, updated, len(bodies) - len(kept), 0)
        record(Session(connection), load, counts, finished_at=clock())
    result = LoadResult.of(target, counts, seconds=time.monotonic() - began, notices=())
    log.info("%s: %s read in %.1f s", result.table, result.read, result.seconds)
    return result


def _held_bodies(connection: Connection, esp: EspReader) -> dict[str, str]:
    """Campaign id → version of the body that is held."""
    rows = connection.execute(
        "select external_id, payload #>> '{content,version}' from raw_esp.campaigns"
        " where esp = %s and account = %s and payload #>> '{content,version}' is not null",
        [esp.name, esp.account],
    )
    return {str(campaign): str(version) for campaign, version in rows.fetchall()}


def _keep_body(connection: Connection, esp: EspReader, body: Any, load: Load, *, at: datetime) -> bool:
    """Whether there is a campaign to keep it with, and it is not what is held already."""
    content = json.dumps(_without_zero_bytes({"version": body.version, "html": body.html}), ensure_ascii=False)
    return bool(
        connection.execute(
            "update raw_esp.campaigns set payload = payload || jsonb_build_object('content', %s::jsonb),"
            " _loaded_at = %s, _load_id = %s where esp = %s and account = %s and external_id = %s"
            " and payload -> 'content' is distinct from %s::jsonb",
            [content, at, load.load_id, esp.name, esp.account, body.external_id, content],
        ).rowcount
    )


def read_since(warehouse_dsn: str, esp: str, account: str) -> datetime | None:
    """From when `load_account` reads the account next, over all its streams; None: everything."""
    targets = [f"raw_esp.{stream.table}:{account}" for stream in STREAMS]
    with connect(warehouse_dsn, purpose=f"load {esp}") as connection:
        starts = [_start(read_state(connection, target).get("read_at")) for target in targets]
    known = [start for start in starts if start is not None]
    return min(known) if len(known) == len(starts) else None


def _read(esp: EspReader, stream: Stream, since: datetime | None, until: datetime | None) -> Iterable[Any]:
    readers: dict[str, Callable[[], Iterable[Any]]] = {
        "lists": esp.lists,
        "campaigns": lambda: esp.campaigns(since),
        "campaign_totals": lambda: esp.totals(since),
        "links": lambda: esp.links(since),
        "contacts": lambda: esp.contacts(since),
        "events": lambda: esp.events(since, until),
    }
    return readers[stream.table]()


def _load_stream(
    connection: Connection, stream: Stream, esp: EspReader, *, run_id: str, clock: Clock, window: Window
) -> LoadResult:
    began, started_at = time.monotonic(), clock()
    target = f"raw_esp.{stream.table}:{esp.account}"
    last = read_state(connection, target).get("read_at")
    start = window.start(last)
    end = min(window.until, started_at) if stream.has_until and window.until else started_at
    landing = sql.Identifier(f"landing_{stream.table}")
    create_landing(connection, landing, stream)
    read = 0
    records = iter(_read(esp, stream, start, window.until))
    while batch := list(islice(records, _BATCH)):
        _copy(connection, landing, stream, batch, first=read)
        read += len(batch)
    with connection.transaction():
        load = Load(
            load_id=next_load_id(Session(connection)),
            run_id=run_id,
            target=target,
            strategy=window.strategy,
            started_at=started_at,
            cursor_from=None if start is None else start.isoformat(),
            cursor_to=end.isoformat(),
            state=_next_state(last, start, end),
        )
        counts = _merge(connection, landing, stream, esp, load, read=read, at=clock())
        record(Session(connection), load, counts, finished_at=clock())
    connection.execute(sql.SQL("drop table {}").format(landing))
    return LoadResult.of(target, counts, seconds=time.monotonic() - began, notices=())


def _start(last: str | None) -> datetime | None:
    return None if last is None else datetime.fromisoformat(last) - OVERLAP


def _next_state(last: str | None, start: datetime | None, end: datetime) -> Mapping[str, str] | None:
    """Where the next reading goes on after one from `start` to `end`; None: where it was to go on anyway."""
    due = _start(last)
    is_joined = start is None or (due is not None and start <= due)
    is_newer = last is None or end > datetime.fromisoformat(last)
    return {"read_at": end.isoformat()} if is_joined and is_newer else None


def create_landing(connection: Connection, landing: sql.Composable, stream: Stream) -> None:
    """Makes an empty temporary table for rows of a stream; what bore its name before is gone."""
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in stream.columns.items()]
    # `number` is the order of reading: of a record that was read twice, the later one counts.
    statement = sql.SQL("create temporary table {} (number bigint, {}, _row_hash bigint)")
    connection.execute(sql.SQL("drop table if exists pg_temp.{}").format(landing))
    connection.execute(statement.format(landing, sql.SQL(", ").join(columns)))


def _copy(
    connection: Connection, landing: sql.Composable, stream: Stream, records: Iterable[Any], *, first: int
) -> None:
    rows = ([number, *fitted(stream, found)] for number, found in enumerate(records, start=first))
    copy_rows(connection, landing, stream, rows)


def copy_rows(connection: Connection, landing: sql.Composable, stream: Stream, rows: Iterable[list[Any]]) -> None:
    """Adds rows to a landing table: each a number, then what `fitted` gives."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy {} from stdin").format(landing)) as copy:
        # JSON is text already; told that it is jsonb, psycopg would wrap it in a JSON string.
        kinds = ["text" if kind == "jsonb" else kind for kind in stream.columns.values()]
        copy.set_types(["bigint", *kinds, "bigint"])
        for row in rows:
            copy.write_row(row)


def fitted(stream: Stream, record: Any) -> list[Any]:
    """A record as a row: the columns of its stream in order, then the hash of them.

    Raises:
        ContractError: a time is naive.
    """
    row = [_fit(stream, name, getattr(record, name)) for name in stream.columns]
    return [*row, _hash(row)]


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
        "settings": sql.SQL(", ").join(_setting(stream, name) for name in stream.columns),
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


def _setting(stream: Stream, name: str) -> sql.Composed:
    if name == "payload" and stream.kept:
        return sql.SQL(
            "payload = landed.payload || case when held.payload ? {kept} and not landed.payload ? {kept}"
            " then jsonb_build_object({kept}, held.payload -> {kept}) else '{{}}' end"
        ).format(kept=sql.Literal(stream.kept))
    return sql.SQL("{0} = landed.{0}").format(sql.Identifier(name))


def _run(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    return connection.execute(sql.SQL(statement).format(**names)).rowcount


def _count(connection: Connection, statement: str, names: dict[str, sql.Composable]) -> int:
    row = connection.execute(sql.SQL(statement).format(**names)).fetchone()
    assert row is not None
    return int(row[0])
