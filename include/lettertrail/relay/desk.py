"""What an operator asks of the outbox, and may decide. Nothing here shows an address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from lettertrail.relay.outbox import WORKERS, told_briefly
from lettertrail.warehouse.connect import Connection, connect

LATE = timedelta(minutes=1)
"""A letter that is due for longer is one that nobody sends."""


def is_healthy(dsn: str, *, now: datetime) -> bool:
    """Whether a worker lives and nothing waits that should be gone.

    Raises:
        WarehouseError: the warehouse cannot be asked.
    """
    with _connected(dsn) as db:
        row = db.execute(
            "select exists (select from pg_locks where locktype = 'advisory' and granted and objsubid = 2"
            " and classid = %s and database = (select oid from pg_database where datname = current_database()))"
            " and not exists (select from ops.outbox where state = 'queued' and next_attempt_at < %s)",
            [WORKERS, now - LATE],
        ).fetchone()
    return bool(row and row[0])


def held(dsn: str) -> Iterator[str]:
    """A line for each letter that is dead, or of which nobody can say whether it went out."""
    with _connected(dsn) as db:
        rows = db.execute(
            "select outbox_id, state, event_name, queued_at, attempts, esp_account, reason from ops.outbox"
            " where state = 'dead' or (state = 'unknown' and next_attempt_at is null) order by outbox_id"
        ).fetchall()
    for number, state, event_name, queued_at, attempts, account, reason in rows:
        yield (
            f"{number}  {state}  {event_name}  {queued_at:%Y-%m-%d %H:%M}  {attempts} attempts, the last through"
            f" {account or 'none'}: {reason}"
        )


def release(dsn: str, numbers: Sequence[int], *, now: datetime) -> int:
    """Lets letters go once more with all their attempts; gives how many could: those not settled and not forgotten."""
    return _change(
        dsn,
        "update ops.outbox set state = 'queued', reason = null, settled_at = null, attempts_from = attempts,"
        " next_attempt_at = %s where outbox_id = any(%s) and state in ('dead', 'unknown') and forgotten_at is null",
        now,
        numbers,
    )


def book_as_sent(dsn: str, numbers: Sequence[int], *, now: datetime) -> int:
    """Settles letters that went out as somebody found; gives how many were waiting for that."""
    return _change(
        dsn,
        "update ops.outbox set state = 'sent', reason = 'booked by hand', settled_at = %s, next_attempt_at = null"
        " where outbox_id = any(%s) and state = 'unknown'",
        now,
        numbers,
    )


def _change(dsn: str, statement: str, now: datetime, numbers: Sequence[int]) -> int:
    with _connected(dsn) as db:
        return db.execute(statement.encode(), [now, list(numbers)]).rowcount


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    with told_briefly(), connect(dsn, purpose="relay desk") as db:
        yield db
