"""Understands what the inbox took in: deliveries become events in `raw_esp`, each delivery with exactly one outcome.

A group of deliveries is one transaction: events, outcomes and ledger commit together or not at all, so a process that
is killed leaves the group as it was. What is known already is not written again, and never overwrites what was polled.
A delivery that cannot be read is parked with the reason and stops nobody; see `reopen_parked`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, LiteralString, get_args

import psycopg
from psycopg import sql

from lettertrail import esps
from lettertrail.bitrix import outbound
from lettertrail.clock import Clock
from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.esps import port
from lettertrail.inbox import site
from lettertrail.inbox.accounts import BITRIX_NAMES
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import Counts, Load, next_load_id, record
from lettertrail.warehouse.load_esp import STREAMS, copy_rows, create_landing, fitted
from lettertrail.warehouse.session import safe_reason, transaction, translated_errors

log = logging.getLogger(__name__)

_GROUP = 500
_GROUP_BYTES = 16 << 20
_EVENTS = next(stream for stream in STREAMS if stream.table == "events")
_LANDING = sql.Identifier("landing_webhook_events")
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, OSError)
"""What reading a body of an unforeseen shape may end in, besides a ContractError; the last one for times so far off
that the C library cannot tell their date."""
_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""By which the warehouse says that it is the rows; the last one, that a value is too long for an index."""

Outcome = Literal["applied", "duplicate", "superseded", "parked"]
News = Literal["new", "same", "other"]
"""Of one event: not known before; known in these very words; known in other words."""


@dataclass(frozen=True, slots=True)
class InboxResult:
    """What became of one account's deliveries; `events` of what was in them were new, `urgent` of these cannot wait."""

    account: str
    received: int
    applied: int
    duplicate: int
    superseded: int
    parked: int
    events: int
    urgent: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A delivery that waits."""

    delivery_id: int
    kind: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read from a delivery: rows for a table, or the reason why it cannot be read."""

    delivery_id: int
    rows: Sequence[list[Any]] = ()
    reason: str | None = None


def process_deliveries(dsn: str, *, run_id: str, clock: Clock) -> list[InboxResult]:
    """Reads everything that waits, one result per account that had something; may run beside others and beside polls.

    Args:
        dsn: of the role lettertrail_loader.

    Raises:
        WarehouseError: the warehouse broke off; what is committed stays, the rest waits for the next run.
    """
    with connect(dsn, purpose="inbox processing", autocommit=True) as connection, translated_errors("the inbox"):
        create_landing(connection, _LANDING, _EVENTS)
        waiting = "select distinct account from raw_inbox.deliveries where processed_at is null order by account"
        accounts = [str(account) for (account,) in connection.execute(waiting).fetchall()]
        results = [_process_account(connection, account, run_id=run_id, clock=clock) for account in accounts]
    for result in results:
        log.log(
            logging.WARNING if result.parked else logging.INFO,
            "inbox %s: %d received, %d applied, %d duplicate, %d superseded, %d parked; %d new events",
            result.account, result.received, result.applied, result.duplicate, result.superseded, result.parked,
            result.events,
        )  # fmt: skip
    return results


def reopen_parked(dsn: str, *, account: str | None = None) -> int:
    """Lets parked deliveries wait again, for the time after an adapter was mended; gives how many."""
    with connect(dsn, purpose="inbox processing") as connection:
        return connection.execute(
            "update raw_inbox.deliveries set processed_at = null, outcome = null, reason = null, load_id = null"
            " where outcome = 'parked' and account = coalesce(%s, account)",
            [account],
        ).rowcount


def forget_deliveries(dsn: str, *, before: datetime) -> int:
    """Deletes deliveries received before a time that were read; parked and waiting ones stay. Gives how many."""
    with connect(dsn, purpose="inbox processing") as connection:
        return connection.execute(
            "delete from raw_inbox.deliveries where received_at < %s and outcome <> 'parked'", [before]
        ).rowcount


def _process_account(connection: Connection, account: str, *, run_id: str, clock: Clock) -> InboxResult:
    counts: Counter[str] = Counter()
    after = 0
    while numbers := _next_group(connection, account, after):
        after = numbers[-1]
        for found in _process_safely(connection, account, numbers, run_id=run_id, clock=clock):
            counts += found
    return InboxResult(
        account, counts["received"], counts["applied"], counts["duplicate"], counts["superseded"], counts["parked"],
        counts["events"], counts["urgent"],
    )  # fmt: skip


def _next_group(connection: Connection, account: str, after: int) -> list[int]:
    """Ids of deliveries that wait, oldest first: not too many and, together, not too large."""
    rows = connection.execute(
        "select delivery_id from ("
        "  select delivery_id, sum(size) over (order by delivery_id) - size as before from ("
        "    select delivery_id, octet_length(body) as size from raw_inbox.deliveries"
        "    where account = %s and delivery_id > %s and processed_at is null order by delivery_id limit %s"
        "  ) as oldest"
        ") as summed where before < %s order by delivery_id",
        [account, after, _GROUP, _GROUP_BYTES],
    ).fetchall()
    return [int(number) for (number,) in rows]


def _process_safely(
    connection: Connection, account: str, numbers: Sequence[int], *, run_id: str, clock: Clock
) -> Iterator[Counter[str]]:
    """A group; when the warehouse refuses what is in it, its halves, down to the one delivery that is parked."""
    group = partial(_process_group, connection, account, run_id=run_id, clock=clock)
    try:
        yield group(numbers)
    except _REFUSALS as error:
        if len(numbers) == 1:
            yield group(numbers, refusal=f"the warehouse refuses it: {safe_reason(error)}")
            return
        middle = len(numbers) // 2
        for half in (numbers[:middle], numbers[middle:]):
            yield from _process_safely(connection, account, half, run_id=run_id, clock=clock)


def _process_group(
    connection: Connection,
    account: str,
    numbers: Sequence[int],
    *,
    run_id: str,
    clock: Clock,
    refusal: str | None = None,
) -> Counter[str]:
    """One transaction. `refusal`: why the deliveries are to be parked unread."""
    started_at = clock()
    table, store = _target(account)
    with transaction(connection) as session:
        held = _lock(connection, numbers)
        if not held:  # somebody else has them
            return Counter()
        read = _reader(account) if refusal is None else partial(_park, refusal)
        readings = [read(each) for each in held]
        load = Load(next_load_id(session), run_id, f"{table}:{account}", "webhook", started_at)
        news = store(connection, account, readings, load.load_id, clock())
        verdicts = [_outcome(reading, found) for reading, found in zip(readings, news, strict=True)]
        counts: Counter[str] = Counter(outcome for outcome, _ in verdicts)
        every = Counter(word for found in news for word in found)
        known = every["same"] + every["other"]
        record(session, load, Counts(every.total(), every["new"], 0, known, 0), finished_at=clock())
        _settle(connection, load.load_id, readings, verdicts, at=clock())
        _count(connection, load.load_id, account, counts)
        urgent = _urgent(account, readings, news)
    return counts + Counter(received=len(held), events=every["new"], urgent=urgent)


def _lock(connection: Connection, numbers: Sequence[int]) -> list[_Held]:
    rows = connection.execute(
        "select delivery_id, kind, headers, body, received_at from raw_inbox.deliveries"
        " where delivery_id = any(%s) and processed_at is null order by delivery_id for update skip locked",
        [list(numbers)],
    ).fetchall()
    return [_Held(*row) for row in rows]


def _target(account: str) -> tuple[str, Callable[..., list[list[News]]]]:
    """Where the events of an account go, and what puts them there."""
    name = esps.adapter_name(account)
    if name in site.NAMES:
        return "raw_inbox.site_events", _store_site
    return ("raw_inbox.bitrix_events", _store_bitrix) if name in BITRIX_NAMES else ("raw_esp.events", _store_esp)


def _urgent(account: str, readings: Sequence[_Reading], news: Sequence[Sequence[News]]) -> int:
    """How many new events the models should see at once: of a site only who left or came."""
    found = [
        row
        for reading, words in zip(readings, news, strict=True)
        for row, word in zip(reading.rows, words, strict=True)
        if word == "new"
    ]
    is_site = esps.adapter_name(account) in site.NAMES
    return sum(not is_site or row[1] in site.URGENT for row in found)


def _reader(account: str) -> Callable[[_Held], _Reading]:
    """What reads an account's deliveries."""
    name = esps.adapter_name(account)
    if name in BITRIX_NAMES:
        return _read_bitrix
    if name in site.NAMES:
        return _read_site
    try:
        return partial(_read_esp, esps.load(name))
    except ConfigurationError as error:
        return partial(_park, str(error))


def _park(reason: str, held: _Held) -> _Reading:
    return _Reading(held.delivery_id, reason=reason)


def _read_esp(adapter: type[port.Esp], held: _Held) -> _Reading:
    """The events of a service's webhook as rows of `raw_esp.events`."""
    delivery = port.Delivery("POST", f"/{adapter.name}/{held.kind}", held.headers, held.body, held.received_at)
    try:
        rows = [_row(event) for event in adapter.read_hook(held.kind, delivery)]
    except ContractError as error:
        return _park(str(error), held)
    except _UNREADABLE as error:
        # Its text may quote what is in the body.
        return _park(f"the adapter cannot read it ({type(error).__name__})", held)
    return _Reading(held.delivery_id, rows)


def _row(event: port.Event) -> list[Any]:
    """An event as a row that the table will take.

    Raises:
        ContractError: a word is not one of ours.
        ValueError: it holds what neither JSON nor Unicode has: an endless number, half a character.
    """
    words = {
        "event type": (event.event_type, get_args(port.EventType)),
        "bounce kind": (event.bounce_kind, (None, *get_args(port.BounceKind))),
        "source": (event.source, get_args(port.EventSource)),
    }
    for name, (word, known) in words.items():
        if word not in known:
            raise ContractError(f"an event has an unknown {name}")
    if not event.external_id:
        raise ContractError("an event has no id")
    json.dumps(event.payload, allow_nan=False)
    row = fitted(_EVENTS, event)
    for value in row:
        if isinstance(value, str):
            value.encode()
    return row


def _read_bitrix(held: _Held) -> _Reading:
    """The event of a portal as a row of `raw_inbox.bitrix_events`."""
    try:
        event = outbound.read_event(held.body)
    except ContractError as error:
        return _park(str(error), held)
    row = [event.event_id, event.event, event.object_id, event.member_id, event.domain, event.occurred_at]
    return _Reading(held.delivery_id, [row])


def _read_site(held: _Held) -> _Reading:
    """The events of a site's handler as rows of `raw_inbox.site_events`."""
    try:
        events = site.read_events(held.body)
    except ContractError as error:
        return _park(str(error), held)
    rows = [[event.event_id, event.event_type, event.occurred_at, json.dumps(event.data)] for event in events]
    return _Reading(held.delivery_id, rows)


def _store_esp(
    connection: Connection, account: str, readings: Sequence[_Reading], load_id: int, at: datetime
) -> list[list[News]]:
    """Writes the events that are new; says of each event of each reading what it was."""
    rows = [row for reading in readings for row in reading.rows]
    connection.execute(sql.SQL("truncate {}").format(_LANDING))
    copy_rows(connection, _LANDING, _EVENTS, ([number, *row] for number, row in enumerate(rows)))
    names = {
        "landing": _LANDING,
        "columns": sql.SQL(", ").join(map(sql.Identifier, _EVENTS.columns)),
        "esp": sql.Literal(esps.adapter_name(account)),
        "account": sql.Literal(account),
        "load": sql.Literal(load_id),
        "at": sql.Literal(at),
    }
    # A poll that merges at the same time must see these rows or not see them, all the way through.
    connection.execute("lock table raw_esp.events in share row exclusive mode")
    inserted = connection.execute(
        sql.SQL(
            "insert into raw_esp.events (esp, account, {columns}, _row_hash, _loaded_at, _load_id)"
            " select distinct on (external_id) {esp}, {account}, {columns}, _row_hash, {at}, {load} from {landing}"
            " order by external_id, number on conflict (esp, account, external_id) do nothing returning external_id"
        ).format(**names)
    ).fetchall()
    compared = connection.execute(
        sql.SQL(
            "select landed.external_id, landed._row_hash = held._row_hash from {landing} as landed"
            " join raw_esp.events as held"
            " on held.esp = {esp} and held.account = {account} and held.external_id = landed.external_id"
            " order by landed.number"
        ).format(**names)
    ).fetchall()
    news = _news({str(key) for (key,) in inserted}, [(str(key), bool(is_same)) for key, is_same in compared])
    return [[next(news) for _ in reading.rows] for reading in readings]


def _store_own(
    connection: Connection,
    account: str,
    readings: Sequence[_Reading],
    load_id: int,
    at: datetime,
    *,
    statement: LiteralString,
) -> list[list[News]]:
    """As `_store_esp`, for events that have ids of their own: such a one is never known in other words."""
    found: list[list[News]] = []
    for reading in readings:
        rows = [[*row, account, reading.delivery_id, at, load_id] for row in reading.rows]
        added = [connection.execute(statement, row).rowcount for row in rows]
        found.append(["new" if count else "same" for count in added])
    return found


_store_bitrix = partial(
    _store_own,
    statement="insert into raw_inbox.bitrix_events (event_id, event, object_id, member_id, domain, occurred_at,"
    " account, delivery_id, _loaded_at, _load_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " on conflict do nothing",
)
_store_site = partial(
    _store_own,
    statement="insert into raw_inbox.site_events (event_id, event_type, occurred_at, data,"
    " account, delivery_id, _loaded_at, _load_id) values (%s, %s, %s, %s::jsonb, %s, %s, %s, %s)"
    " on conflict do nothing",
)


def _news(new: set[str], compared: Sequence[tuple[str, bool]]) -> Iterator[News]:
    """Per event, in order: of the same event twice in a group, the first is the news."""
    for key, is_same in compared:
        if key in new:
            new.remove(key)
            yield "new"
        else:
            yield "same" if is_same else "other"


def _outcome(reading: _Reading, news: Sequence[News]) -> tuple[Outcome, str | None]:
    if reading.reason is not None:
        return "parked", reading.reason
    if not news:
        return "applied", "holds no event"
    if "new" in news:
        return "applied", None
    return ("superseded" if "other" in news else "duplicate"), None


def _settle(
    connection: Connection,
    load_id: int,
    readings: Sequence[_Reading],
    verdicts: Sequence[tuple[Outcome, str | None]],
    *,
    at: datetime,
) -> None:
    connection.execute(
        "update raw_inbox.deliveries as held"
        " set processed_at = %s, outcome = settled.outcome, reason = settled.reason, load_id = %s"
        " from unnest(%s::bigint[], %s::text[], %s::text[]) as settled (delivery_id, outcome, reason)"
        " where held.delivery_id = settled.delivery_id",
        [
            at,
            load_id,
            [reading.delivery_id for reading in readings],
            [outcome for outcome, _ in verdicts],
            [None if reason is None else reason.replace("\0", "") for _, reason in verdicts],
        ],
    )


def _count(connection: Connection, load_id: int, account: str, counts: Counter[str]) -> None:
    connection.execute(
        "insert into ops.inbox_loads (load_id, account, received, applied, duplicate, superseded, parked)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        [load_id, account, counts.total(), *(counts[outcome] for outcome in get_args(Outcome))],
    )
