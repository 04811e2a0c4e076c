"""What the page shows and what was chosen on it: two functions of the warehouse, and nothing else of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import psycopg

from lettertrail.errors import ConfigurationError, WarehouseError

log = logging.getLogger(__name__)

CATEGORIES = ("company_news", "sales_and_discounts", "product_updates", "event_invitations")
"""What there is to choose from, in the page's order; dbt's var `preference_categories` has the same."""

Way = Literal["page", "one_click"]

_ANSWER_WITHIN = 3.0
"""Seconds; a person waits for it."""
_READ = "select wanted, has_left, may_return from raw_inbox.read_preferences(%s)"
_CHOOSE = "select is_known from raw_inbox.choose(%s, %s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for the address of a link."""

    wanted: frozenset[str]
    has_left: bool
    may_return: bool
    """False after a complaint or an erasure, which nobody takes back by ticking a box."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The text somebody acted on."""

    version: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chose; `wanted` empty: to leave altogether."""

    link: UUID
    way: Way
    wanted: tuple[str, ...]
    chosen_at: datetime
    wording: Wording | None = None
    """None for one click, which shows no text of ours."""


class Choices(Protocol):
    """Where the page's state is."""

    async def standing(self, link: UUID) -> Standing | None:
        """None when there is no such link.

        Raises:
            WarehouseError: it cannot be said now.
        """

    async def store(self, choice: Choice) -> bool:
        """Returns when it is on disk; False when there is no such link.

        Raises:
            WarehouseError: it may or may not be; asking again is harmless.
        """

    async def close(self) -> None:
        """Lets go of the database."""


class PostgresChoices:
    """Through one connection, which is opened again when it broke. Belongs to the event loop that first uses it."""

    def __init__(self, dsn: str, *, answer_within: float = _ANSWER_WITHIN) -> None:
        """Connects at the first request.

        Args:
            dsn: libpq URI of the role lettertrail_inbox.
            answer_within: seconds for everything, connecting included.
        """
        self._dsn = dsn
        self._answer_within = answer_within
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def standing(self, link: UUID) -> Standing | None:
        """See `Choices.standing`."""
        row = await self._one(_READ, [link])
        return None if row is None else Standing(frozenset(row[0]), row[1], row[2])

    async def store(self, choice: Choice) -> bool:
        """See `Choices.store`."""
        wording = choice.wording
        texts = (wording.language, wording.version, wording.text) if wording else (None, None, None)
        values = [choice.link, choice.way, list(choice.wanted), list(CATEGORIES), *texts, choice.chosen_at]
        row = await self._one(_CHOOSE, values)
        return row is not None and bool(row[0])

    async def close(self) -> None:
        """See `Choices.close`."""
        async with self._turn:
            await self._disconnect()

    async def _one(self, statement: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        """The statement's one row. A second try for a connection that was dead, or a mart that was just replaced."""
        try:
            async with asyncio.timeout(self._answer_within), self._turn:
                try:
                    return await self._ask(statement, values)
                except psycopg.Error:
                    return await self._ask(statement, values)
        except (psycopg.Error, OSError, TimeoutError, ConfigurationError) as error:
            log.error("preferences: the warehouse does not answer (%s)", _kind(error))
            raise WarehouseError("the warehouse does not answer") from None

    async def _ask(self, statement: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = await _connect(self._dsn)
        is_done = False
        try:
            row = await (await connection.execute(statement.encode(), values)).fetchone()
            is_done = True
        finally:
            if not is_done:  # also when the caller's time is up: what it still answers is nobody's
                await self._disconnect()
        return row

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


async def _connect(dsn: str) -> psycopg.AsyncConnection[Any]:
    # The disk is waited for whatever the server's own setting says: 200 means that the wish is kept.
    options = "-c statement_timeout=3s -c timezone=UTC -c synchronous_commit=on"
    return await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, application_name="lettertrail: preferences", connect_timeout=3, options=options,
        tcp_user_timeout=3000, keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
    )  # fmt: skip


def _kind(error: BaseException) -> str:
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__} {state}" if state else type(error).__name__
