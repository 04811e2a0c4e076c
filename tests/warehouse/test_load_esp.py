"""Merging an ESP account into raw_esp."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.source_site import NOW
from tests.warehouse.conftest import Warehouse

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError, ContractError, TemporaryApiError
from lettertrail.esps.port import Body, Campaign, CampaignTotals, Contact, Event, Link, MailingList
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.load_esp import BODIES_AT_ONCE, OVERLAP, STREAMS, load_account, read_since

SENT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)

LIST = MailingList(
    external_id="l1", name="Все", status="active", contacts=3, created_at=SENT, payload={"id": "l1"}
)  # fmt: skip
CAMPAIGN = Campaign(
    external_id="c1", list_id="l1", title="Осень 😀", subject="Скидки", status="sent", sent_at=SENT, emails_sent=3,
    utm_campaign="autumn", url=None, updated_at=None, payload={"id": "c1", "zero": "a\0b"},
)  # fmt: skip
TOTALS = CampaignTotals(
    external_id="c1", sent=3, delivered=2, opens=5, opened=2, opened_without_proxies=1, clicks=2, clicked=1,
    bounced_hard=1, bounced_soft=0, bounced=1, unsubscribed=1, payload={"sent": 3},
)  # fmt: skip
LINK = Link(
    external_id="k1", campaign_id="c1", url="https://shop.example/?a=1", clicks=2, clicked=1, payload={"id": "k1"}
)  # fmt: skip
CONTACT = Contact(
    external_id="l1:m1", list_id="l1", email="anna@example.com", status="subscribed", status_reason=None,
    opted_in_at=SENT, changed_at=SENT, tags=("vip", 'a "quoted", one'), payload={"id": "m1"},
    fields={"CITY": "Омск", "ZERO": "a\0b"},
)  # fmt: skip
BODY = Body(external_id="c1", version="1", html="<a href='https://shop.example/'>a\0b</a>")
EVENT = Event(
    external_id="e1", campaign_id="c1", contact_id="l1:m1", email="anna@example.com", event_type="opened",
    bounce_kind=None, occurred_at=SENT, url=None, is_proxy=None, reason=None, payload={"action": "open"},
    source="webhook", message_ref="<m@example>", user_agent="Mail/1", ip="192.0.2.1",
)  # fmt: skip


class FakeEsp:
    """Says what a test tells it to, and remembers what it was asked."""

    name = "mailchimp"

    def __init__(self, *, account: str = "mailchimp", events: list[Any] | None = None) -> None:
        self.account = account
        self.said: dict[str, list[Any]] = {
            "lists": [LIST], "campaigns": [CAMPAIGN], "campaign_totals": [TOTALS], "links": [LINK],
            "contacts": [CONTACT], "events": [EVENT] if events is None else events, "bodies": [BODY],
        }  # fmt: skip
        self.asked: list[tuple[datetime | None, datetime | None]] = []

    def lists(self) -> Iterator[Any]:
        """All lists."""
        return iter(self.said["lists"])

    def campaigns(self, since: datetime | None) -> Iterator[Any]:
        """All campaigns."""
        return iter(self.said["campaigns"])

    def totals(self, since: datetime | None) -> Iterator[Any]:
        """All totals."""
        return iter(self.said["campaign_totals"])

    def links(self, since: datetime | None) -> Iterator[Any]:
        """All links."""
        return iter(self.said["links"])

    def bodies(self, held: Mapping[str, str]) -> Iterator[Any]:
        """Those that are not held in their version."""
        return (body for body in self.said["bodies"] if held.get(body.external_id) != body.version)

    def contacts(self, since: datetime | None) -> Iterator[Any]:
        """All contacts."""
        return iter(self.said["contacts"])

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Any]:
        """All events; an exception among them is raised."""
        self.asked.append((since, until))
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
    assert load(FakeEsp(), warehouse) == [(1, 1, 0, 0, 0)] * (len(STREAMS) + 1)
    # a body that is held is not even asked for
    assert load(FakeEsp(), warehouse) == [(1, 0, 0, 1, 0)] * len(STREAMS) + [(0, 0, 0, 0, 0)]


def test_all_columns_arrive(warehouse: Warehouse) -> None:
    """Every column of every stream holds what the adapter said; only zero bytes are lost."""
    load(FakeEsp(), warehouse)
    for stream, said in zip(STREAMS, (LIST, CAMPAIGN, TOTALS, LINK, CONTACT, EVENT), strict=True):
        columns = [column for column, kind in stream.columns.items() if kind != "jsonb"]
        held = warehouse.rows(f"select {', '.join(columns)} from raw_esp.{stream.table}")
        expected = [getattr(said, column) for column in columns]
        assert held == [tuple(list(value) if isinstance(value, tuple) else value for value in expected)]
        fields = {field.name for field in dataclasses.fields(said)}
        assert fields == set(stream.columns)
    assert warehouse.rows("select fields from raw_esp.contacts") == [({"CITY": "Омск", "ZERO": "ab"},)]
    content = {"version": "1", "html": "<a href='https://shop.example/'>ab</a>"}
    assert warehouse.rows("select payload from raw_esp.campaigns") == [
        ({"id": "c1", "zero": "ab", "content": content},)
    ]
    assert warehouse.rows("select esp, account from raw_esp.events") == [("mailchimp", "mailchimp")]


@pytest.mark.parametrize(
    "change", [{"status": "unsubscribed"}, {"payload": {"id": "m1", "new": 1}}, {"tags": ()}, {"status_reason": "N/A"}]
)
def test_a_change_anywhere_is_an_update(warehouse: Warehouse, change: dict[str, Any]) -> None:
    """A changed column or payload is seen, and only that row is written."""
    esp = FakeEsp()
    load(esp, warehouse)
    esp.said["contacts"] = [dataclasses.replace(CONTACT, **change), dataclasses.replace(CONTACT, external_id="l1:m2")]
    assert load(esp, warehouse)[4] == (2, 1, 1, 0, 0)


def test_a_record_read_twice_is_counted_twice_and_stored_once(warehouse: Warehouse) -> None:
    """Pages shift while they are read; the later reading counts."""
    later = dataclasses.replace(EVENT, reason="later")
    assert load(FakeEsp(events=[EVENT, EVENT, later]), warehouse)[5] == (3, 1, 0, 2, 0)
    assert warehouse.rows("select reason from raw_esp.events") == [("later",)]


def test_a_record_without_an_id_is_quarantined(warehouse: Warehouse) -> None:
    """It is kept with the reason and does not stop the others."""
    nameless = dataclasses.replace(EVENT, external_id="")
    assert load(FakeEsp(events=[nameless, EVENT]), warehouse)[5] == (2, 1, 0, 0, 1)
    assert warehouse.rows("select reason, target from ops.quarantine") == [("no key", "raw_esp.events:mailchimp")]


def test_a_stream_that_breaks_leaves_no_trace(warehouse: Warehouse) -> None:
    """What came before stays; the broken stream neither stores a row nor moves its watermark."""
    with pytest.raises(TemporaryApiError):
        load(FakeEsp(events=[EVENT, TemporaryApiError("mailchimp", "cut")]), warehouse)
    assert warehouse.rows("select count(*) from raw_esp.contacts") == [(1,)]
    assert warehouse.rows("select count(*) from raw_esp.events") == [(0,)]
    targets = warehouse.rows("select target from ops.cursors order by target")
    assert targets == [
        (f"raw_esp.{table}:mailchimp",) for table in ("campaign_totals", "campaigns", "contacts", "links", "lists")
    ]
    assert read_since(warehouse.dsn, "mailchimp", "mailchimp") is None


def cursor(warehouse: Warehouse, stream: str = "events") -> datetime:
    """Up to when the stream was read, as the next load sees it."""
    ((state,),) = warehouse.rows(f"select state from ops.cursors where target = 'raw_esp.{stream}:mailchimp'")
    return datetime.fromisoformat(state["read_at"])


def test_the_next_reading_starts_before_the_last_one(warehouse: Warehouse) -> None:
    """First everything, then from the last reading less an overlap, or from where a window says."""
    esp = FakeEsp()
    assert read_since(warehouse.dsn, esp.name, esp.account) is None
    load(esp, warehouse)
    assert read_since(warehouse.dsn, esp.name, esp.account) == NOW - OVERLAP
    load(esp, warehouse, clock=fixed_clock(NOW + timedelta(hours=5)))
    load(esp, warehouse, since=SENT, until=NOW)
    load(esp, warehouse, is_whole=True)
    assert esp.asked == [(None, None), (NOW - OVERLAP, None), (SENT, NOW), (None, None)]


@pytest.mark.parametrize(
    ("window", "moved_to"),
    [
        pytest.param({"since": SENT, "until": SENT + timedelta(days=1)}, None, id="of the past"),
        pytest.param({"since": SENT}, timedelta(hours=9), id="from the past up to now"),
        pytest.param({"since": SENT, "until": NOW + timedelta(hours=4)}, timedelta(hours=4), id="beyond what is read"),
        pytest.param({"until": NOW + timedelta(hours=4)}, timedelta(hours=4), id="on from what is read"),
        pytest.param({"until": NOW - timedelta(days=3)}, None, id="up to what is read already"),
        pytest.param({"since": NOW + timedelta(hours=2)}, None, id="behind a gap"),
        pytest.param({"since": NOW - OVERLAP / 2}, None, id="with less than the overlap"),
        pytest.param({"until": NOW + timedelta(days=3)}, timedelta(hours=9), id="of the future"),
        pytest.param({"is_whole": True}, timedelta(hours=9), id="everything"),
    ],
)
def test_a_window_moves_the_cursor_only_where_it_joins(
    warehouse: Warehouse, window: dict[str, Any], moved_to: timedelta | None
) -> None:
    """A cursor moved over a gap would leave events unread for good; one moved back would read for hours again."""
    load(FakeEsp(), warehouse)
    load(FakeEsp(), warehouse, clock=fixed_clock(NOW + timedelta(hours=9)), **window)
    assert cursor(warehouse) == NOW + (moved_to or timedelta())


def test_a_window_read_first_leaves_the_first_reading_to_come(warehouse: Warehouse) -> None:
    """What lies before it was never read, so the next reading asks for everything."""
    esp = FakeEsp()
    load(esp, warehouse, since=SENT)
    load(esp, warehouse)
    assert esp.asked[1] == (None, None)


def test_only_events_stop_at_the_end_of_a_window(warehouse: Warehouse) -> None:
    """The other readers read up to now, and their cursors say so."""
    later = fixed_clock(NOW + timedelta(hours=9))
    load(FakeEsp(), warehouse)
    load(FakeEsp(), warehouse, clock=later, since=SENT, until=NOW + timedelta(hours=4))
    assert cursor(warehouse, "contacts") == later()


@pytest.mark.parametrize(
    "window",
    [{"since": datetime(2026, 1, 1)}, {"until": datetime(2026, 1, 1)}, {"since": SENT, "until": SENT},
     {"since": SENT, "is_whole": True}],
)  # fmt: skip
def test_a_window_that_is_none_is_refused(warehouse: Warehouse, window: dict[str, Any]) -> None:
    """A time without a zone could be any of 24 hours; nothing is read for it."""
    with pytest.raises(ConfigurationError):
        load(FakeEsp(), warehouse, **window)
    assert warehouse.rows("select count(*) from ops.loads") == [(0,)]


@pytest.mark.parametrize(
    ("column", "word"), [("event_type", "rejected"), ("event_type", "delivered"), ("bounce_kind", "block"),
                         ("source", "snapshot")],
)  # fmt: skip
def test_the_words_of_the_port_are_taken(warehouse: Warehouse, column: str, word: str) -> None:
    """The table's checks know every word an adapter may say."""
    load(FakeEsp(events=[dataclasses.replace(EVENT, **{column: word})]), warehouse)
    assert warehouse.rows(f"select {column} from raw_esp.events") == [(word,)]


def bodies(warehouse: Warehouse) -> list[Any]:
    """Versions and HTML by campaign."""
    return warehouse.rows(
        "select external_id, payload #>> '{content,version}', payload #>> '{content,html}'"
        " from raw_esp.campaigns order by 1"
    )


def test_a_body_outlives_changes_of_its_campaign(warehouse: Warehouse) -> None:
    """What is read apart stays when the campaign's own row comes anew, and makes way for another version."""
    esp = FakeEsp()
    esp.said["bodies"] = [dataclasses.replace(BODY, html="one")]
    load(esp, warehouse)
    esp.said["campaigns"] = [dataclasses.replace(CAMPAIGN, emails_sent=9, payload={"id": "c1", "opens": 5})]
    esp.said["bodies"] = []
    assert load(esp, warehouse)[1] == (1, 0, 1, 0, 0)
    assert bodies(warehouse) == [("c1", "1", "one")]
    assert warehouse.rows("select payload ->> 'opens' from raw_esp.campaigns") == [("5",)]
    esp.said["bodies"] = [dataclasses.replace(BODY, version="2", html="two")]
    assert load(esp, warehouse)[-1] == (1, 0, 1, 0, 0)
    assert bodies(warehouse) == [("c1", "2", "two")]
    # the campaign's own content has not changed by that
    assert load(esp, warehouse)[1] == (1, 0, 0, 1, 0)


def test_bodies_come_a_hundred_at_a_time(warehouse: Warehouse) -> None:
    """Years of letters are a call each; a reading of everything takes them all, and asks again for those it has."""
    esp = FakeEsp()
    count = 2 * BODIES_AT_ONCE + 1
    esp.said["campaigns"] = [dataclasses.replace(CAMPAIGN, external_id=f"c{number}") for number in range(count)]
    esp.said["bodies"] = [dataclasses.replace(BODY, external_id=f"c{number}") for number in range(count)]
    assert load(esp, warehouse)[-1] == (BODIES_AT_ONCE, BODIES_AT_ONCE, 0, 0, 0)
    assert load(esp, warehouse, is_whole=True)[-1] == (count, count - BODIES_AT_ONCE, 0, BODIES_AT_ONCE, 0)
    assert load(esp, warehouse)[-1] == (0, 0, 0, 0, 0)


def test_accounts_do_not_mix(warehouse: Warehouse) -> None:
    """Two accounts of one service may use the same ids."""
    load(FakeEsp(), warehouse)
    assert load(FakeEsp(account="mailchimp__b2b"), warehouse) == [(1, 1, 0, 0, 0)] * (len(STREAMS) + 1)
    assert warehouse.rows("select count(*) from raw_esp.events") == [(2,)]


def test_a_naive_time_is_refused(warehouse: Warehouse) -> None:
    """A time without a zone would be stored as if it were UTC."""
    naive = dataclasses.replace(EVENT, occurred_at=datetime(2026, 10, 1))
    with pytest.raises(ContractError, match="occurred_at must be an aware time"):
        load(FakeEsp(events=[naive]), warehouse)
