"""The eSputnik sandbox with its faults and journal, as the contract wants a service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

from tests.running_service import RunningAccount
from tests.sandbox.small import small_world

from lettertrail.clock import fixed_clock
from lettertrail.esps._esputnik_rows import CONTACT_STATUSES
from lettertrail.esps.esputnik import Esputnik
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.esps.esputnik import (
    BROADCASTS,
    GROUP,
    EsputnikStore,
    asks_for_change,
    create_app,
    seed_esputnik,
)
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.limits import Limit
from lettertrail.sandbox.server import served
from lettertrail.throttle import Throttle

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LOGIN = "owner@shop.example"
KEY = "0123456789ABCDEF0123456789ABCDEF"


class EsputnikService(RunningAccount):
    """A running account: the small world unless it was started empty."""

    secret = KEY
    subscribed = "person1@example.com"
    left = "person4@example.com"
    absent = "nobody@example.com"
    field = "City"
    preference = "Sales"

    def __init__(self, base: str, store: EsputnikStore, journal: Path, clock: SimpleNamespace) -> None:
        super().__init__(base, journal, clock)
        self.store = store

    def adapter(self, *, secret: str = KEY, **options: object) -> Esputnik:
        """The adapter as production connects it, except that it waits neither between attempts nor between calls."""
        host = self.base.removeprefix("http://")
        connection = AccountConnection("esputnik", self.base, login=LOGIN, password=secret, extra=options)
        esp = Esputnik.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[host])
        esp.api._sleep = lambda seconds: None
        esp.api._throttle = Throttle(max_concurrency=4)
        return esp

    def status_of(self, address: str) -> str | None:
        """What the service holds, in the port's words."""
        word = self.store.status_of(address)
        return None if word is None else CONTACT_STATUSES[word]

    def people(self) -> int:
        """How many contacts the service holds."""
        return self.store.people()

    def prefers(self, address: str) -> bool:
        """Whether a contact has chosen `preference`."""
        row = self.store.row("select subscriptions from contacts where key = ?", address)
        assert row is not None
        return self.preference in json.loads(row["subscriptions"])

    def leave(self, address: str) -> None:
        """The person unsubscribes by the link in a letter."""
        self.store.leave(address)

    def enrol(self, addresses: Sequence[str], *, status: str = "subscribed", list_id: int = GROUP) -> None:
        """Adds contacts behind the interface's back."""
        self.store.enrol(addresses, status="CONFIRMED" if status == "subscribed" else status, list_id=list_id)

    def happen_unknown(self, word: str) -> None:
        """Makes somebody do something we have no word for."""
        self.store.happen(self.subscribed, word, BROADCASTS[1], NOW - timedelta(days=1))


@contextmanager
def esputnik_service(
    directory: Path, *, is_empty: bool = False, limits: Mapping[str, Limit] = MappingProxyType({})
) -> Iterator[EsputnikService]:
    """Starts one on a free port, without rate limits unless they are given."""
    clock = SimpleNamespace(now=NOW)
    store = EsputnikStore(":memory:", clock=lambda: clock.now)
    if is_empty:
        store.configure(activity="on")
        store.add_group("Newsletter", group_id=GROUP)
    else:
        seed_esputnik(small_world(), store)
    app = create_app(store, login=LOGIN, api_key=KEY, limits=limits)
    journal = directory / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=KEY),
        Journal(journal),
        service="esputnik",
        is_write=asks_for_change,
        mask=lambda path: path,
    )
    with served(whole) as base:
        yield EsputnikService(base, store, journal, clock)
    app.close()
    store.close()
