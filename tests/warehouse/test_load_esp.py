"""Merging an ESP account into raw_esp."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.source_site import NOW
from tests.warehouse.conftest import Warehouse

from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError, TemporaryApiError
from lettertrail.esps.port import Campaign, Contact, Event
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.load_esp import OVERLAP, STREAMS, load_account

SENT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)

CAMPAIGN = Campaign(
    external_id="c1", list_id="l1", title="Осень 😀", subject="Скидки", status="sent", sent_at=SENT, emails_sent=3,
    utm_campaign="autumn", url=None, updated_at=None, payload={"id": "c1", "zero": "a\0b"},
)  # fmt: skip
CONTACT = Contact(
    external_id="l1:m1", list_id="l1", email="anna@example.com", status="subscribed", status_reason=None,
    opted_in_at=SENT, changed_at=SENT, tags=("vip", 'a "quoted", one'), payload={"id": "m1"},
)  # fmt: skip
EVENT = Event(
    external_id="e1", campaign_id="c1", contact_id="l1:m1", email="anna@example.com", event_type="opened",
    bounce_kind=None, occurred_at=SENT, url=None, is_proxy=None, reason=None, payload={"action": "open"},
)  # fmt: skip


class FakeEsp:
    """Says what a test tells it to, and remembers what it was asked."""

    name = "mailchimp"

    def __init__(self, *, account: str = "mailchimp", events: list[Any] | None = None) -> None:
        self.account = account
        self.said: dict[str, list[Any]] = {
            "campaigns": [CAMPAIGN], "contacts": [CONTACT], "events": [EVENT] if events is None else events
        }  # fmt: skip
        self.asked: list[datetime | None] = []

    def campaigns(self, since: datetime | None) -> Iterator[Any]:
        """All campaigns."""
        self.asked.append(since)
        return iter(self.said["campaigns"])

    def contacts(self, since: datetime | None) -> Iterator[Any]:
        """All contacts."""
        return iter(self.said["contacts"])

    def events(self, since: datetime | None) -> Iterator[Any]:
        """All events; an exception among them is raised."""
        for event in self.said["events"]:
            if isinstance(event, Exception):
                raise event
            yield event


def load(esp: FakeEsp, warehouse: Warehouse, **options: Any) -> list[tuple[int, int, int, int, int]]:
    """Loads the account; (read, inserted, updated, unchanged, quarantined) per stream."""
    settings = {"run_id": "run", "clock": fixed_clock(NOW), **options}
    results = load_account(esp, warehouse.dsn, **settings)
    check_balance(warehouse.dsn, run_id="run")
    return [(r.read, r.inserted, r.updated, r.unchanged, r.quarantined) for r in results]


def test_reading_again_changes_nothing(warehouse: Warehouse) -> None:
    """The second reading finds all records unchanged."""
    assert load(FakeEsp(), warehouse) == [(1, 1, 0, 0, 0)] * 3
    assert load(FakeEsp(), warehouse) == [(1, 0, 0, 1, 0)] * 3


def test_all_columns_arrive(warehouse: Warehouse) -> None:
    """Every column of every stream holds what the adapter said; only zero bytes are lost."""
    load(FakeEsp(), warehouse)
    for stream, said in zip(STREAMS, (CAMPAIGN, CONTACT, EVENT), strict=True):
        columns = [column for column in stream.columns if column != "payload"]
        held = warehouse.rows(f"select {', '.join(columns)} from raw_esp.{stream.table}")
        expected = [getattr(said, column) for column in columns]
        assert held == [tuple(list(value) if isinstance(value, tuple) else value for value in expected)]
        fields = {field.name for field in dataclasses.fields(said)}
        assert fields == set(stream.columns)
    assert warehouse.rows("select payload from raw_esp.campaigns") == [({"id": "c1", "zero": "ab"},)]
    assert warehouse.rows("select esp, account from raw_esp.events") == [("mailchimp", "mailchimp")]


@pytest.mark.parametrize(
    "change", [{"status": "unsubscribed"}, {"payload": {"id": "m1", "new": 1}}, {"tags": ()}, {"status_reason": "N/A"}]
)
def test_a_change_anywhere_is_an_update(warehouse: Warehouse, change: dict[str, Any]) -> None:
    """A changed column or payload is seen, and only that row is written."""
    esp = FakeEsp()
    load(esp, warehouse)
    esp.said["contacts"] = [dataclasses.replace(CONTACT, **change), dataclasses.replace(CONTACT, external_id="l1:m2")]
    assert load(esp, warehouse)[1] == (2, 1, 1, 0, 0)


def test_a_record_read_twice_is_counted_twice_and_stored_once(warehouse: Warehouse) -> None:
    """Pages shift while they are read; the later reading counts."""
    later = dataclasses.replace(EVENT, reason="later")
    assert load(FakeEsp(events=[EVENT, EVENT, later]), warehouse)[2] == (3, 1, 0, 2, 0)
    assert warehouse.rows("select reason from raw_esp.events") == [("later",)]


def test_a_record_without_an_id_is_quarantined(warehouse: Warehouse) -> None:
    """It is kept with the reason and does not stop the others."""
    nameless = dataclasses.replace(EVENT, external_id="")
    assert load(FakeEsp(events=[nameless, EVENT]), warehouse)[2] == (2, 1, 0, 0, 1)
    assert warehouse.rows("select reason, target from ops.quarantine") == [("no key", "raw_esp.events:mailchimp")]


def test_a_stream_that_breaks_leaves_no_trace(warehouse: Warehouse) -> None:
    """What came before stays; the broken stream neither stores a row nor moves its watermark."""
    with pytest.raises(TemporaryApiError):
        load(FakeEsp(events=[EVENT, TemporaryApiError("mailchimp", "cut")]), warehouse)
    assert warehouse.rows("select count(*) from raw_esp.contacts") == [(1,)]
    assert warehouse.rows("select count(*) from raw_esp.events") == [(0,)]
    targets = warehouse.rows("select target from ops.cursors order by target")
    assert targets == [("raw_esp.campaigns:mailchimp",), ("raw_esp.contacts:mailchimp",)]


def test_the_next_reading_starts_before_the_last_one(warehouse: Warehouse) -> None:
    """First everything, then from the last reading less an overlap, or from where a backfill says."""
    esp = FakeEsp()
    load(esp, warehouse)
    load(esp, warehouse, clock=fixed_clock(NOW + timedelta(hours=5)))
    load(esp, warehouse, since=SENT)
    assert esp.asked == [None, NOW - OVERLAP, SENT]


def test_accounts_do_not_mix(warehouse: Warehouse) -> None:
    """Two accounts of one service may use the same ids."""
    load(FakeEsp(), warehouse)
    assert load(FakeEsp(account="mailchimp__b2b"), warehouse) == [(1, 1, 0, 0, 0)] * 3
    assert warehouse.rows("select count(*) from raw_esp.events") == [(2,)]


def test_a_naive_time_is_refused(warehouse: Warehouse) -> None:
    """A time without a zone would be stored as if it were UTC."""
    naive = dataclasses.replace(EVENT, occurred_at=datetime(2026, 10, 1))
    with pytest.raises(ContractError, match="occurred_at must be an aware time"):
        load(FakeEsp(events=[naive]), warehouse)
