"""Waiting for the jobs of a service without holding a worker: the triggerer asks now and then whether they are done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseHook, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lettertrail.errors import LetterTrailError, RateLimited, TemporaryApiError
from lettertrail.esps.port import Esp, Export

log = logging.getLogger(__name__)

POLL_SECONDS = 20.0
PATIENCE = timedelta(hours=4)
"""For a job; after that the task is tried again."""


class WaitForExports(BaseOperator):
    """Gives the jobs that are done. One that failed is left out: its reader asks for a new one."""

    template_fields = ("exports",)

    def __init__(
        self, *, conn_id: str, exports: Sequence[dict[str, str]], poll_seconds: float = POLL_SECONDS, **options: Any
    ) -> None:
        super().__init__(**options)
        self.conn_id = conn_id
        self.exports = exports
        self.poll_seconds = poll_seconds

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Waits in the triggerer; where there are no jobs it is done at once."""
        if self.exports:
            trigger = ExportsTrigger(self.conn_id, list(self.exports), self.poll_seconds)
            self.defer(trigger=trigger, method_name="resume", timeout=PATIENCE)
        return []

    def resume(self, context: Context, event: dict[str, Any]) -> list[dict[str, str]]:
        """The jobs that are done.

        Raises:
            AirflowFailException: the service refused to answer; trying again cannot help.
        """
        if event["refused"]:
            raise AirflowFailException(event["refused"])
        ready: list[dict[str, str]] = event["ready"]
        return ready


class ExportsTrigger(BaseTrigger):
    """Ends with the jobs that are done, once none is under way."""

    def __init__(self, conn_id: str, exports: list[dict[str, str]], poll_seconds: float = POLL_SECONDS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.exports = exports
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger from again."""
        values = {"conn_id": self.conn_id, "exports": self.exports, "poll_seconds": self.poll_seconds}
        return (f"{__name__}.{type(self).__name__}", values)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `ready`, the jobs, and `refused`, why it makes no sense to go on."""
        from lettertrail.airflow.connections import esp_of

        try:
            esp = esp_of(self.conn_id, await BaseHook.aget_connection(self.conn_id))
            yield TriggerEvent({"ready": await self._wait(esp), "refused": None})
        except LetterTrailError as error:
            yield TriggerEvent({"ready": [], "refused": f"{type(error).__name__}: {error}"})

    async def _wait(self, esp: Esp) -> list[dict[str, str]]:
        waiting = [Export(**export) for export in self.exports]
        ready: list[Export] = []
        while waiting:
            for export in tuple(waiting):
                is_ready = await self._ask(esp, export)
                if is_ready is not False:
                    waiting.remove(export)
                if is_ready:
                    ready.append(export)
            if waiting:
                await asyncio.sleep(self.poll_seconds)
        return [asdict(export) for export in ready]

    async def _ask(self, esp: Esp, export: Export) -> bool | None:
        """Whether the job is done; None: it failed."""
        try:
            return await asyncio.to_thread(esp.is_ready, export)
        except RateLimited:
            return False
        except TemporaryApiError as error:
            log.warning("%s: job %s is given up: %s", self.conn_id, export.kind, error)
            return None
