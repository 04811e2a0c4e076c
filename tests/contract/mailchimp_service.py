"""The Mailchimp sandbox with its faults and journal, as the contract wants a service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from tests.running_service import RunningAccount
from tests.sandbox.small import FIRST, KEY, LIST, small_world

from lettertrail.clock import fixed_clock
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import AccountConnection
from lettertrail.sandbox.esps.mailchimp import (
    MailchimpStore,
    asks_for_change,
    create_app,
    seed_mailchimp,
    subscriber_hash,
)
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.server import served

INTEREST = "1a2b3c4d5e"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class MailchimpService(RunningAccount):
    """A running account: the small world unless it was started empty."""

    secret = KEY
    subscribed = "person1@example.com"
    left = "person4@example.com"
    absent = "nobody@example.com"
    field = "LNAME"
    """A custom field the account has."""
    preference = "Sales"
    """A preference category the account has; any word where the service has none."""

    def __init__(self, base: str, store: MailchimpStore, journal: Path, clock: SimpleNamespace) -> None:
        super().__init__(base, journal, clock)
        self.store = store

    def adapter(self, *, secret: str = KEY, **options: object) -> Mailchimp:
        """The adapter as production connects it, except that it does not wait between attempts."""
        host = self.base.removeprefix("http://")
        connection = AccountConnection("mailchimp", self.base, password=secret, extra=options)
        esp = Mailchimp.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[host])
        esp.api._sleep = lambda seconds: None
        return esp

    def status_of(self, address: str) -> str | None:
        """What the service holds."""
        row = self.store.row("select status from members where id = ?", subscriber_hash(address))
        return None if row is None else str(row["status"])

    def people(self) -> int:
        """How many contacts the service holds."""
        return self.store.number("select count(*) from members")

    def prefers(self, address: str) -> bool:
        """Whether a contact has chosen `preference`."""
        row = self.store.row("select interests from members where id = ?", subscriber_hash(address))
        assert row is not None
        return bool(json.loads(row["interests"]).get(INTEREST))

    def leave(self, address: str) -> None:
        """The person unsubscribes by the link in a letter."""
        with self.store.transaction() as db:
            db.execute(
                "update members set status = 'unsubscribed', compliance = 'unsubscribe', last_changed = ? where id = ?",
                (self.store.now(), subscriber_hash(address)),
            )

    def enrol(self, addresses: Sequence[str], *, status: str = "subscribed", list_id: str = LIST) -> None:
        """Adds contacts behind the interface's back."""
        with self.store.transaction() as db:
            db.executemany(
                "insert into members (list_id, id, email_address, status, last_changed) values (?, ?, ?, ?, ?)",
                [(list_id, subscriber_hash(a), a, status, self.store.now()) for a in addresses],
            )

    def happen_unknown(self, word: str) -> None:
        """Makes somebody do something we have no word for."""
        with self.store.transaction() as db:
            db.execute(
                "insert into activity (send, campaign_id, action, timestamp) values (2, ?, ?, ?)",
                (FIRST, word, "2026-03-01T13:00:00+00:00"),
            )

    def pause(self) -> None:
        """Gives a batch, which runs beside the requests, time to go on."""
        time.sleep(0.05)


def _add_interest(store: MailchimpStore) -> None:
    with store.transaction() as db:
        group = {"id": "c1", "list_id": LIST, "title": "Topics", "display_order": 0, "type": "checkboxes"}
        db.execute("insert into interest_categories values ('c1', ?, ?)", (LIST, json.dumps(group)))
        interest = {"category_id": "c1", "list_id": LIST, "id": INTEREST, "name": "Sales", "display_order": 0}
        db.execute("insert into interests values (?, 'c1', ?, ?)", (INTEREST, LIST, json.dumps(interest)))


@contextmanager
def mailchimp_service(directory: Path, *, is_empty: bool = False) -> Iterator[MailchimpService]:
    """Starts one on a free port."""
    clock = SimpleNamespace(now=NOW)
    store = MailchimpStore(":memory:", clock=lambda: clock.now)
    if is_empty:
        with store.transaction() as db:
            db.execute("insert into lists values (?, 1, 'Newsletter', ?, 0)", (LIST, store.now()))
    else:
        seed_mailchimp(small_world(), store)
        _add_interest(store)
    app = create_app(store, api_key=KEY, batch_step_seconds=0.02)
    journal = directory / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=KEY),
        Journal(journal),
        service="mailchimp",
        is_write=asks_for_change,
        mask=lambda path: path,
    )
    with served(whole) as base:
        yield MailchimpService(base, store, journal, clock)
    app.close()
    store.close()
