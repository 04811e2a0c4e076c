"""The SendPulse sandbox with its faults and journal, as the contract wants a service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from tests.running_service import RunningAccount
from tests.sandbox.small import small_world

from lettertrail.clock import fixed_clock
from lettertrail.esps._sendpulse_rows import CONTACT_STATUSES
from lettertrail.esps.port import AccountConnection
from lettertrail.esps.sendpulse import SendPulse
from lettertrail.sandbox.esps.sendpulse import (
    BOOK,
    CAMPAIGNS,
    SendPulseStore,
    asks_for_change,
    create_app,
    seed_sendpulse,
)
from lettertrail.sandbox.esps.sendpulse.store import stored
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.limits import Limit
from lettertrail.sandbox.server import served
from lettertrail.throttle import Throttle

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CLIENT = "0123456789abcdef0123456789abcdef"
STATIC_KEY = "sp_apikey_0123456789"
SECRET = "fedcba9876543210fedcba9876543210"
CHANGES = "^/(addressbooks|blacklist|tags|campaigns|smtp/emails$|smtp/unsubscribe|emails/.)"
"""Paths whose POST changes something: the token and the questions that are asked by POST are not among them."""


class SendPulseService(RunningAccount):
    """A running account: the small world unless it was started empty."""

    secret = SECRET
    subscribed = "person1@example.com"
    left = "person4@example.com"
    absent = "nobody@example.com"
    field = "surname"
    preference = "any"

    def __init__(self, base: str, store: SendPulseStore, journal: Path, clock: SimpleNamespace) -> None:
        super().__init__(base, journal, clock)
        self.store = store

    def adapter(self, *, secret: str = SECRET, **options: object) -> SendPulse:
        """The adapter as production connects it, except that it waits neither between attempts nor between calls."""
        host = self.base.removeprefix("http://")
        extra = {"list_id": BOOK, **options} if options.get("add_missing") else options
        connection = AccountConnection("sendpulse", self.base, login=CLIENT, password=secret, extra=extra)
        esp = SendPulse.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[host])
        for api in (esp.api, esp.api._auth.api):
            api._sleep = lambda seconds: None
            api._throttle = Throttle(max_concurrency=4)
        return esp

    def fault(self, kind: str, **how: Any) -> None:
        """Orders a fault; one of POST means the changes."""
        if how.get("method") == "POST":
            how = {"path": CHANGES, **how}
        super().fault(kind, **how)

    def status_of(self, address: str) -> str | None:
        """What the service holds, in the port's words."""
        key = address.lower()
        rows = self.store.rows("select status from contacts where key = ?", key)
        words = {CONTACT_STATUSES[int(row["status"])] for row in rows}
        if words and self.store.is_blacklisted(key):
            return "unsubscribed"
        return next((word for word in ("subscribed", "pending", *words) if word in words), None)

    def people(self) -> int:
        """How many contacts the service holds."""
        return self.store.number("select count(*) from contacts")

    def leave(self, address: str) -> None:
        """The person unsubscribes by the link in a letter."""
        self.store.leave(address)

    def enrol(self, addresses: Sequence[str], *, status: int | str = 1, list_id: int = BOOK) -> None:
        """Adds contacts behind the interface's back."""
        self.store.enrol(addresses, status=1 if status == "subscribed" else status, list_id=list_id)

    def mail(self, address: str, *, at: datetime, code: int = 250, opens: Sequence[datetime] = (), **more: Any) -> str:
        """Sends a transactional letter behind the interface's back; gives its id."""
        number = f"letter{self.store.number('select count(*) from letters') + 1}"
        seen = [{"browser": "Chrome", "os": "Linux", "ip": "192.0.2.1", "action_date": naive(one)} for one in opens]
        clicks = [{**seen[0], "url": url, "action_date": naive(one)} for url, one in more.get("clicks", ())]
        with self.store.transaction() as db:
            db.execute(
                "insert into letters (id, sender, recipient, subject, size, sent_at, code, clicks, opens) "
                "values (?, 'shop@shop.example', ?, 'Order', 100, ?, ?, ?, ?)",
                (number, address, stored(at), code, json.dumps(clicks), json.dumps(seen)),
            )
        return number

    def happen_unknown(self, word: str) -> None:
        """Makes somebody do something we have no word for."""
        self.store.happen(self.subscribed, word, CAMPAIGNS[1], NOW - timedelta(days=1))


def naive(moment: datetime) -> str:
    """A time as the service writes it, in the account's zone: UTC here."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def sendpulse_service(
    directory: Path,
    *,
    is_empty: bool = False,
    timezone: ZoneInfo | None = None,
    limits: Mapping[str, Limit] = MappingProxyType({}),
) -> Iterator[SendPulseService]:
    """Starts one on a free port, without rate limits unless they are given."""
    clock = SimpleNamespace(now=NOW)
    store = SendPulseStore(":memory:", clock=lambda: clock.now, timezone=timezone)
    if is_empty:
        store.add_book("Newsletter", book_id=BOOK)
    else:
        seed_sendpulse(small_world(), store)
    app = create_app(store, client_id=CLIENT, client_secret=SECRET, api_key=STATIC_KEY, limits=limits)
    journal = directory / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=SECRET),
        Journal(journal),
        service="sendpulse",
        is_write=asks_for_change,
        mask=lambda path: path,
    )
    with served(whole) as base:
        service = SendPulseService(base, store, journal, clock)
        if not is_empty:
            at = datetime(2026, 3, 1, 12, tzinfo=UTC)
            later = at + timedelta(minutes=5)
            service.mail(service.subscribed, at=at, opens=[later, later], clicks=[("https://shop.example/a", later)])
            service.mail("person5@example.com", at=at, code=550)
        yield service
    app.close()
    store.close()
