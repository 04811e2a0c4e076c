"""From what came in to a run that works it in, within seconds: the triggerer listens to the warehouse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from lettertrail.airflow.accounts import WAREHOUSE_LOADER
from lettertrail.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

CHANNEL = "lettertrail_inbox"
POLL_SECONDS = 15.0
"""How often to look where no notification came, and to try again when the warehouse is away."""
SETTLE_SECONDS = 3.0
"""Webhooks come in swarms: one run for all that come within this time."""

_NEWEST = """
    select
        (select max(delivery_id) from raw_inbox.deliveries where processed_at is null),
        (select max(choice_id) from raw_inbox.choices where choice_id > coalesce(
            (select (state ->> 'choice_id')::bigint from ops.cursors where target = 'raw_inbox.choices'), 0
        ))
"""


class InboxTrigger(BaseEventTrigger):
    """An event whenever deliveries or choices wait that were not there at the event before."""

    def __init__(
        self,
        conn_id: str = WAREHOUSE_LOADER,
        poll_seconds: float = POLL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.poll_seconds = poll_seconds
        self.settle_seconds = settle_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger from again."""
        values = {
            "conn_id": self.conn_id,
            "poll_seconds": self.poll_seconds,
            "settle_seconds": self.settle_seconds,
        }
        return (f"{__name__}.{type(self).__name__}", values)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Never ends; a warehouse that is away is waited for."""
        import psycopg

        from lettertrail.airflow.connections import warehouse_dsn_of

        told = (0, 0)
        while True:
            try:
                dsn = warehouse_dsn_of(await BaseHook.aget_connection(self.conn_id))
                async with await psycopg.AsyncConnection.connect(
                    dsn, autocommit=True, connect_timeout=10, application_name="lettertrail: inbox"
                ) as connection:
                    # Listens before it looks: what comes in between is told.
                    await connection.execute(f"listen {CHANNEL}".encode())
                    while True:
                        newest = await _newest(connection)
                        if newest[0] > told[0] or newest[1] > told[1]:
                            told = (max(newest[0], told[0]), max(newest[1], told[1]))
                            yield TriggerEvent({"newest_delivery": newest[0], "newest_choice": newest[1]})
                        await self._wait_for_news(connection)
            except (psycopg.Error, ConfigurationError) as error:
                log.warning("the inbox cannot be watched (%s); trying again", type(error).__name__)
                await asyncio.sleep(self.poll_seconds)

    async def _wait_for_news(self, connection: psycopg.AsyncConnection[Any]) -> None:
        async for _ in connection.notifies(timeout=self.poll_seconds, stop_after=1):
            await asyncio.sleep(self.settle_seconds)


async def _newest(connection: psycopg.AsyncConnection[Any]) -> tuple[int, int]:
    """Of the deliveries and of the choices that wait; 0 when none does."""
    row = await (await connection.execute(_NEWEST)).fetchone()
    delivery, choice = row or (None, None)
    return int(delivery or 0), int(choice or 0)
