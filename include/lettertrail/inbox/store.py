"""Stores deliveries in groups: while one commit waits for the disk, the next group gathers.

So the number of commits does not grow with the number of senders. Who put a delivery in is told only after the commit
that holds it. A store belongs to the event loop that first uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import psycopg

from lettertrail.errors import ConfigurationError, WarehouseError
from lettertrail.relay.intake import OutboxLetter

log = logging.getLogger(__name__)

MAX_GROUP = 500
MAX_GROUP_BYTES = 8 << 20
MAX_WAITING_BYTES = 64 << 20
"""More than this is not taken in while the database is slow."""
_ANSWER_WITHIN = 0.8
"""Seconds. The services want an answer in a few; we promise one."""
_GIVE_UP_AFTER = 5.0
"""Seconds after which a commit or a connection is taken for lost."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_RECEIVE_MAIL = "select added, repeated from raw_inbox.receive_mail(%b, %b, %b, %b, %b, %b, %b, %s::jsonb)"
_RECEIVE = "select added, repeated from raw_inbox.receive(%b, %b, %b, %b, %b, %b, %b)"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivery that was let in."""

    account: str
    kind: str
    content: bytes = field(repr=False)
    """What it is known by when it comes again."""
    verdict: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime
    letters: tuple[OutboxLetter, ...] = field(default=(), repr=False)
    """What goes into the outbox with it, both or neither."""

    @property
    def size(self) -> int:
        """What it weighs while it waits, in bytes or thereabouts."""
        return len(self.body) + sum(len(letter.body) for letter in self.letters)

    def content_hash(self) -> bytes:
        """The same for the same content to the same account and kind."""
        digest = hashlib.sha256(f"{self.account}\0{self.kind}\0".encode())
        digest.update(self.content)
        return digest.digest()


class Store(Protocol):
    """Where the receiver puts what it lets in."""

    async def put(self, delivery: Incoming) -> None:
        """Returns when the delivery is on disk.

        Raises:
            WarehouseError: it may or may not be; the sender has to come again.
        """

    async def close(self) -> None:
        """Writes what waits and lets go of the database."""

    def is_well(self) -> bool:
        """Whether the last attempt to write succeeded, or none was made yet."""


@dataclass(slots=True)
class _Waiting:
    """A delivery and the one who waits for it."""

    delivery: Incoming
    done: asyncio.Future[None]


class PostgresStore:
    """`raw_inbox.deliveries` through one connection, which is opened again whenever it breaks."""

    def __init__(self, dsn: str, *, answer_within: float = _ANSWER_WITHIN) -> None:
        """Connects at the first delivery.

        Args:
            dsn: libpq URI of a role that may call `raw_inbox.receive`.
            answer_within: seconds after which `put` gives up; the delivery may still be stored later.
        """
        self._dsn = dsn
        self._answer_within = answer_within
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived: asyncio.Event | None = None
        self._writer: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._is_well = True
        self._is_closing = False

    async def put(self, delivery: Incoming) -> None:
        """See `Store.put`."""
        if self._is_closing or self._waiting_bytes + delivery.size > MAX_WAITING_BYTES:
            raise WarehouseError("the inbox takes nothing in now")
        arrived = self._started()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(delivery, loop.create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += delivery.size
        arrived.set()
        expiry = loop.call_later(self._answer_within, _expire, waiting.done)
        try:
            await waiting.done
        finally:
            expiry.cancel()

    def is_well(self) -> bool:
        """See `Store.is_well`."""
        return self._is_well

    async def close(self) -> None:
        """See `Store.close`."""
        self._is_closing = True
        if self._writer is not None and self._arrived is not None:
            self._arrived.set()
            await self._writer
        await self._disconnect()

    def _started(self) -> asyncio.Event:
        """The writer is started by the first delivery: an app mounted in another one hears of no start."""
        if self._arrived is None or self._writer is None or self._writer.done():
            self._arrived = self._arrived or asyncio.Event()
            self._writer = asyncio.create_task(self._write_all(self._arrived), name="inbox writer")
        return self._arrived

    async def _write_all(self, arrived: asyncio.Event) -> None:
        pause = _FIRST_PAUSE
        while self._waiting or not self._is_closing:
            if not self._waiting:
                arrived.clear()
                await arrived.wait()
                continue
            group = self._take()
            if not group:
                continue
            try:
                async with asyncio.timeout(_GIVE_UP_AFTER):
                    await self._write(group)
            except (psycopg.Error, OSError, TimeoutError, ConfigurationError) as error:
                self._tell(error)
                self._put_back(group)
                await self._disconnect()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause, self._is_well = _FIRST_PAUSE, True
                for waiting in group:
                    if not waiting.done.done():
                        waiting.done.set_result(None)

    def _take(self) -> list[_Waiting]:
        """The next group, without those whose sender has been sent away."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP and size < MAX_GROUP_BYTES:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= waiting.delivery.size
            if not waiting.done.done():
                group.append(waiting)
                size += waiting.delivery.size
        return group

    def _put_back(self, group: list[_Waiting]) -> None:
        for waiting in reversed(group):
            self._waiting.appendleft(waiting)
            self._waiting_bytes += waiting.delivery.size

    async def _write(self, group: list[_Waiting]) -> None:
        """One statement, which is one transaction: the answer to it means that it is on disk."""
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = await _connect(self._dsn)
        found = [waiting.delivery for waiting in group]
        columns = [
            [one.account for one in found],
            [one.kind for one in found],
            [one.content_hash() for one in found],
            [one.verdict for one in found],
            [json.dumps(one.headers) for one in found],
            [one.body for one in found],
            [one.received_at for one in found],
        ]
        letters = [letter.row() for one in found for letter in one.letters]
        if letters:
            await connection.execute(_RECEIVE_MAIL, [*columns, json.dumps(letters)], prepare=True)
        else:
            await connection.execute(_RECEIVE, columns, prepare=True)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    def _tell(self, error: BaseException) -> None:
        # Once per outage: the senders come again by the thousand.
        if self._is_well:
            log.error("inbox: deliveries cannot be stored (%s); their senders are asked to come again", _kind(error))
        self._is_well = False


def _expire(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_exception(WarehouseError("the warehouse did not commit in time"))


def _kind(error: BaseException) -> str:
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__} {state}" if state else type(error).__name__


async def _connect(dsn: str) -> psycopg.AsyncConnection[Any]:
    # The disk is waited for whatever the server's own setting says.
    options = f"-c statement_timeout={int(_GIVE_UP_AFTER)}s -c timezone=UTC -c synchronous_commit=on"
    return await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, application_name="lettertrail: inbox", connect_timeout=3, options=options,
        # A server that is gone without a word is found out by the network, not by waiting for its answer.
        tcp_user_timeout=int(1000 * _GIVE_UP_AFTER), keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
    )  # fmt: skip
