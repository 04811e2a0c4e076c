"""The UniSender sandbox with its faults and journal, as the contract wants a service."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.running_service import RunningAccount
from tests.sandbox.small import small_world

from lettertrail.clock import fixed_clock
from lettertrail.esps.port import AccountConnection
from lettertrail.esps.unisender import Unisender
from lettertrail.sandbox.esps.unisender import (
    LIST_ID,
    UnisenderStore,
    asks_for_change,
    campaign_id,
    create_app,
    seed_unisender,
)
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.server import served
from lettertrail.throttle import Throttle

KEY = "6ahhs7dr84xfmq4n1bzm5ykcm9aj1fdugm5qcj3y"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
FIRST, SECOND = campaign_id(71), campaign_id(72)
OURS = {"active": "subscribed", "new": "subscribed", "invited": "pending", "inactive": "cleaned"}


class UnisenderService(RunningAccount):
    """A running account: the small world unless it was started empty."""

    secret = KEY
    subscribed = "person1@example.com"
    left = "person4@example.com"
    absent = "nobody@example.com"
    field = "LastName"
    preference = "any"

    def __init__(self, base: str, store: UnisenderStore, journal: Path, clock: SimpleNamespace) -> None:
        super().__init__(base, journal, clock)
        self.store = store

    def adapter(self, *, secret: str = KEY, **options: object) -> Unisender:
        """The adapter as production connects it, except that it waits for nothing."""
        hosts = [self.base.removeprefix("http://"), str(options.get("transactional_host", "")).removeprefix("http://")]
        connection = AccountConnection("unisender", self.base, password=secret, extra=options)
        esp = Unisender.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[host for host in hosts if host])
        esp.export_throttle = Throttle()
        for api in (esp.api, esp.go.api if esp.go else esp.api):
            api._sleep = lambda seconds: None
            api._throttle = Throttle()
        return esp

    def fault(self, kind: str, **how: Any) -> None:
        """Orders a fault; see `lettertrail.sandbox.faults`. Reading is by POST here too: writes go by their path."""
        if how.pop("method", None) == "POST":
            how = {"path": "/(importContacts|unsubscribe)$", **how}
        super().fault(kind, **how)

    def status_of(self, address: str) -> str | None:
        """What the service holds, in our words."""
        status = self.store.status_of(address)
        return OURS.get(status, status) if status else None

    def people(self) -> int:
        """How many contacts the service holds."""
        return self.store.people()

    def enrol(self, addresses: Sequence[str], *, status: str = "active") -> None:
        """Adds contacts behind the interface's back."""
        self.store.enrol(addresses, status=status)

    def leave(self, address: str) -> None:
        """The person unsubscribes by the link in a letter."""
        self.store.leave(address)

    def happen_unknown(self, word: str) -> None:
        """Makes somebody do something we have no word for."""
        self.store.happen(self.subscribed, word, FIRST, "2026-03-01 13:00:00")


@contextmanager
def unisender_service(directory: Path, *, is_empty: bool = False) -> Iterator[UnisenderService]:
    """Starts one on a free port, whose limits forget at once."""
    clock = SimpleNamespace(now=NOW)
    store = UnisenderStore(":memory:", clock=lambda: clock.now)
    if is_empty:
        with store.transaction() as db:
            db.execute("insert into lists (id, title) values (?, 'Newsletter')", (LIST_ID,))
    else:
        seed_unisender(small_world(), store, letters=(71, 72))
    ages = itertools.count(step=100)
    app = create_app(store, api_key=KEY, monotonic=lambda: float(next(ages)))
    journal = directory / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=KEY),
        Journal(journal),
        service="unisender",
        is_write=asks_for_change,
        mask=lambda path: path,
    )
    with served(whole) as base:
        yield UnisenderService(base, store, journal, clock)
    app.close()
    store.close()
