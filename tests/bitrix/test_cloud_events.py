"""Offline events: taken, read, committed, cleared; nothing is lost when a process dies in between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bitrix.cloud_portal import ENTRIES, NOW, Portal, changes, cloned, running

from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Mark
from lettertrail.errors import RequestRejected, TemporaryApiError
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import MariaDb

DEALS = ENTRIES["b_crm_deal"]
QUEUE = "select EVENT_NAME, EVENT_DATA, PROCESS_ID, ERROR from b_rest_event_offline order by ID"
Start = tuple[tuple[Column, ...], dict[str, Mark]]


@pytest.fixture(scope="module")
def site(mariadb: MariaDb, bitrix_site_small: Site) -> str:
    """A copy of the sample site."""
    return cloned(mariadb.dsn, bitrix_site_small.owner_dsn)


@pytest.fixture
def portal(site: str, tmp_path: Path) -> Iterator[Portal]:
    """The portal, with an empty queue."""
    with running(site, tmp_path) as portal:
        portal.run("update b_crm_deal set DATE_MODIFY = '2026-08-01 10:00:00'", "delete from b_rest_event_offline")
        yield portal


@pytest.fixture
def start(portal: Portal) -> Start:
    """Columns and marks of a first run, in which the application also asked to be told of deals."""
    source = portal.application()
    columns = source.columns(DEALS)
    marks = source.marks(DEALS, columns, now=NOW)
    # Ids below the mark are read again; here they would hide what the events bring.
    marks["deal.id"] = int(marks["deal.id"] or 0) + 1_000
    marks["deal.changed"] = "2026-09-01T10:00:00+03:00"
    changes(source, DEALS, columns, marks)
    source.acknowledge(DEALS)
    return columns, marks


def silent_edit(portal: Portal, deal: int, title: str) -> None:
    """A change whose time stands still, so that only the event tells of it."""
    portal.call("crm.deal.update", id=deal, fields={"TITLE": title})
    portal.run(f"update b_crm_deal set DATE_MODIFY = '2026-08-01 10:00:00' where ID = {deal}")


def some_deals(portal: Portal, count: int) -> list[int]:
    """The first ids."""
    return [row["id"] for row in portal.rows(f"select ID from b_crm_deal order by ID limit {count}")]


def test_the_application_asks_to_be_told_once(portal: Portal, start: Start) -> None:
    """Three events of a kind of card; the second run binds nothing again."""
    bound = portal.rows("select EVENT_NAME from b_rest_event")
    assert {row["event_name"] for row in bound} >= {"ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALDELETE"}
    portal.hits()
    columns, marks = start
    changes(portal.application(), DEALS, columns, marks)
    assert portal.hits()["event.bind"] == 0


def test_cards_the_portal_noted_are_read_by_id(portal: Portal, start: Start) -> None:
    """Also when nothing else says that they changed; cleared only when told so."""
    columns, marks = start
    first, second = some_deals(portal, 2)
    silent_edit(portal, first, "тихо")
    silent_edit(portal, second, "тоже")
    source = portal.application()
    found = {row["id"]: row["title"] for row in changes(source, DEALS, columns, marks)}
    assert found == {first: "тихо", second: "тоже"}
    held = portal.rows(QUEUE)
    assert len(held) == 2
    assert all(row["process_id"] for row in held)
    source.acknowledge(DEALS)
    assert portal.rows(QUEUE) == []
    assert changes(portal.application(), DEALS, columns, marks) == []


def test_a_process_that_dies_leaves_its_events_to_the_next(portal: Portal, start: Start) -> None:
    """Before the commit or after it, it is the same: they come again, and again, until they are cleared."""
    columns, marks = start
    (deal,) = some_deals(portal, 1)
    silent_edit(portal, deal, "до смерти")
    for _ in range(3):
        assert [row["id"] for row in changes(portal.application(), DEALS, columns, marks)] == [deal]
    other = some_deals(portal, 2)[1]
    silent_edit(portal, other, "после неё")
    last = portal.application()
    assert {row["id"] for row in changes(last, DEALS, columns, marks)} == {deal, other}
    last.acknowledge(DEALS)
    assert portal.rows(QUEUE) == []


def test_a_change_while_it_is_being_handled_is_not_cleared_with_it(portal: Portal, start: Start) -> None:
    """It is an event of its own."""
    columns, marks = start
    (deal,) = some_deals(portal, 1)
    silent_edit(portal, deal, "раз")
    source = portal.application()
    changes(source, DEALS, columns, marks)
    silent_edit(portal, deal, "два")
    source.acknowledge(DEALS)
    found = changes(portal.application(), DEALS, columns, marks)
    assert [row["title"] for row in found] == ["два"]


def test_deleted_cards_are_cleared_without_a_row(portal: Portal, start: Start) -> None:
    """The comparison of ids marks them as deleted."""
    columns, marks = start
    deal = portal.call("crm.deal.add", fields={"TITLE": "на минуту"})
    portal.call("crm.deal.delete", id=deal)
    source = portal.application()
    assert deal not in {row["id"] for row in changes(source, DEALS, columns, marks)}
    source.acknowledge(DEALS)
    assert portal.rows(QUEUE) == []


def test_cards_that_cannot_be_read_are_put_aside(
    portal: Portal, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Marked as errors after the commit; the others are cleared."""
    columns, marks = start
    first, second = some_deals(portal, 2)
    silent_edit(portal, first, "видно")
    silent_edit(portal, second, "не видно")
    source = portal.application()
    by_id = source._pages.by_id

    def without_the_second(*given: Any) -> Iterator[Any]:
        return (row for row in by_id(*given) if row["id"] != second)

    refusal = RequestRejected("bitrix", "the request was refused: ACCESS_DENIED", code="ACCESS_DENIED")
    monkeypatch.setattr(source._pages, "by_id", without_the_second)
    monkeypatch.setattr(source._pages, "item_errors", lambda feed, ids: {second: refusal})
    with caplog.at_level(logging.WARNING):
        found = changes(source, DEALS, columns, marks)
    assert [row["id"] for row in found] == [first]
    assert f"deal {second} cannot be read" in caplog.text
    source.acknowledge(DEALS)
    (left,) = portal.rows(QUEUE)
    assert (f'"{second}"' in left["event_data"], left["error"]) == (True, 1)
    assert changes(portal.application(), DEALS, columns, marks) == []


def test_more_than_a_packet_comes_in_packets(portal: Portal) -> None:
    """Fifty at a time, all in one run."""
    contacts = ENTRIES["b_crm_contact"]
    source = portal.application()
    kinds = source.columns(contacts)
    before = source.marks(contacts, kinds, now=NOW)
    changes(source, contacts, kinds, before)
    source.acknowledge(contacts)
    portal.run("update b_crm_contact set DATE_MODIFY = '2026-01-01 00:00:00'")
    cards = [row["id"] for row in portal.rows("select ID from b_crm_contact order by ID limit 120")]
    for card in cards:
        portal.call("crm.contact.update", id=card, fields={"POST": "директор"})
    portal.run("update b_crm_contact set DATE_MODIFY = '2026-01-01 00:00:00'")
    later = portal.application()
    before["contact.changed"] = "2026-09-01T10:00:00+03:00"
    found = changes(later, contacts, kinds, before)
    assert {row["id"] for row in found if row["post"] == "директор"} == set(cards)
    later.acknowledge(contacts)
    assert portal.rows(QUEUE) == []


def test_only_the_card_s_own_table_takes_its_events(portal: Portal, start: Start) -> None:
    """Another table in another task would take them away; after it, in the same run, it uses them too."""
    columns, marks = start
    (deal,) = some_deals(portal, 1)
    silent_edit(portal, deal, "кому")
    tags = ENTRIES["b_crm_utm"]
    other = portal.application()
    changes(other, tags, other.columns(tags), marks)
    assert [row["process_id"] for row in portal.rows(QUEUE)] == [""]
    links = ENTRIES["b_crm_deal_contact"]
    source = portal.application()
    changes(source, DEALS, columns, marks)
    assert {row["deal_id"] for row in changes(source, links, source.columns(links), marks)} == {deal}


def test_without_the_feature_there_are_none(portal: Portal, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan decides; change times go on."""
    columns, marks = start
    (deal,) = some_deals(portal, 1)
    silent_edit(portal, deal, "без событий")
    monkeypatch.setattr("lettertrail.sandbox.bitrix_methods.caller.FEATURES", ())
    assert changes(portal.application(), DEALS, columns, marks) == []


@pytest.mark.parametrize("how", ["webhook", "switched off"])
def test_nobody_asks_for_events_who_may_not_have_them(portal: Portal, start: Start, how: str) -> None:
    """A webhook, or a connection that says so."""
    columns, marks = start
    source: CloudSource = portal.source() if how == "webhook" else portal.application(offline_events=False)
    portal.hits()
    changes(source, DEALS, columns, marks)
    source.acknowledge(DEALS)
    assert not any(method.startswith("event.") for method in portal.hits())


def test_a_portal_that_refuses_its_events_is_read_by_change_times(
    portal: Portal, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A load does not fail for a shortcut."""
    columns, marks = start
    (deal,) = some_deals(portal, 1)
    portal.call("crm.deal.update", id=deal, fields={"TITLE": "громко"})
    source = portal.application()
    call = source._events._client.call  # type: ignore[union-attr]  # an application has events

    def refused(method: str, *given: Any, **how: Any) -> Any:
        if method.startswith("event.offline"):
            raise TemporaryApiError("bitrix", "the portal failed", status=500)
        return call(method, *given, **how)

    monkeypatch.setattr(source._events, "_client", type("Client", (), {"call": staticmethod(refused)})())
    with caplog.at_level(logging.WARNING):
        assert [row["id"] for row in changes(source, DEALS, columns, marks)] == [deal]
    assert "offline events are not to be had" in caplog.text
