"""Paging, changes and deletes of a cloud portal, against the REST sandbox on top of a real MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.bitrix.cloud_portal import CLIENT, ENTRIES, NOW, Portal, changes, cloned, dicts, read, running

from lettertrail.bitrix import cloud as cloud_module
from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.cloud_cache import Scope, Snapshots
from lettertrail.bitrix.cloud_feeds import CONTACT, DEAL
from lettertrail.bitrix.port import Bounds, Digest, KeyRange
from lettertrail.errors import TableMissing
from lettertrail.sandbox.bitrix_methods.tokens import Application
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import MariaDb

DEALS = ENTRIES["b_crm_deal"]
CONTACTS = ENTRIES["b_crm_contact"]


@pytest.fixture(scope="module")
def site(mariadb: MariaDb, bitrix_site_small: Site) -> str:
    """A copy of the sample site that the tests of this module change one after the other."""
    return cloned(mariadb.dsn, bitrix_site_small.owner_dsn)


@pytest.fixture
def portal(site: str, tmp_path: Path) -> Iterator[Portal]:
    """Its portal."""
    with running(site, tmp_path) as portal:
        yield portal


def ids(rows: list[dict[str, Any]]) -> list[int]:
    """The ids, in the order they came."""
    return [row["id"] for row in rows]


def deals(portal: Portal) -> list[int]:
    """The ids in the database."""
    return [row["id"] for row in portal.rows("select ID from b_crm_deal order by ID")]


# --- paging


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 2_549, 2_550, 2_551])
def test_every_row_comes_once_whatever_the_page_edges(portal: Portal, count: int) -> None:
    """Around one page, and around the first page with a full batch behind it."""
    portal.run(
        "create table if not exists kept_contacts as select * from b_crm_contact",
        "delete from b_crm_contact",
        "insert into b_crm_contact (ID, CREATED_BY_ID, LAST_ACTIVITY_TIME) "
        f"select seq * 3, 1, now() from seq_1_to_{max(count, 1)} where seq <= {count}",
    )
    try:
        assert ids(read(portal.source(), CONTACTS)) == [3 * number for number in range(1, count + 1)]
        # The first page says how many more there are; beside the pages a look whether the list is given, and its marks.
        hits = portal.hits()
        assert hits["batch"] <= 1 + -(-(count // 50) // 50)
        assert hits["crm.item.list"] <= 3 + count // 50 + 1
    finally:
        portal.run(
            "delete from b_crm_contact",
            "insert into b_crm_contact select * from kept_contacts",
            "drop table kept_contacts",
        )


def test_ranges_are_asked_for_and_nothing_else(portal: Portal) -> None:
    """Half-open, several at once, an empty one between; rows in order."""
    source, every = portal.source(), deals(portal)
    source.columns(DEALS)
    low, middle, high = every[3], every[10], every[20]
    found = read(source, DEALS, KeyRange(low, middle), KeyRange(middle, middle), KeyRange(high, None))
    assert ids(found) == [deal for deal in every if low <= deal < middle or deal >= high]
    assert ids(read(source, DEALS, KeyRange(None, low))) == [deal for deal in every if deal < low]


def test_many_ranges_go_into_few_requests(portal: Portal) -> None:
    """Fifty first pages to a batch."""
    source, every = portal.source(), ids(read(portal.source(), CONTACTS))
    columns = source.columns(CONTACTS)
    wanted = every[::3]
    portal.hits()
    found = dicts(source.read_ranges(CONTACTS, columns, [KeyRange(card, card + 1) for card in wanted]))
    assert ids(found) == wanted
    assert portal.hits()["batch"] == -(-len(wanted) // 50)


def test_what_hangs_on_cards_is_cut_by_the_cards(portal: Portal) -> None:
    """A range of UTM tags reads the cards with those ids and no others."""
    source, entry = portal.source(), ENTRIES["b_crm_utm"]
    owner = portal.one("select min(ENTITY_ID) from b_crm_utm where ENTITY_TYPE_ID = 2")
    found = read(source, entry, KeyRange(owner, owner + 1), KeyRange(10**8, None))
    want = portal.rows(f"select * from b_crm_utm where ENTITY_ID = {owner} and ENTITY_TYPE_ID between 1 and 4")
    assert sorted((row["entity_type_id"], row["code"]) for row in found) == sorted(
        (row["entity_type_id"], row["code"]) for row in want
    )
    hits = portal.hits()["crm.item.list"]
    assert hits <= 4 * 2 + 1


def test_ranges_of_a_column_rest_cannot_cut_by_are_cut_here(portal: Portal) -> None:
    """Ids of addresses are in no list's filter: all cards are read, the range's rows kept."""
    entry = ENTRIES["b_crm_field_multi"]
    assert entry.range_by == "id"
    source = portal.source()
    assert sorted(ids(read(source, entry, KeyRange(100, 120)))) == [
        row["id"]
        for row in portal.rows(
            "select ID from b_crm_field_multi where ID between 100 and 119 and ENTITY_ID in "
            "('LEAD','CONTACT','COMPANY') order by ID"
        )
    ]


def test_a_row_that_goes_between_two_pages_moves_no_other(portal: Portal) -> None:
    """Offsets would skip one; ids above the last one cannot."""
    source = portal.source()
    columns = source.columns(CONTACTS)
    every = [row["id"] for row in portal.rows("select ID from b_crm_contact order by ID")]
    pages = source._pages._chain

    def disturbed(*given: Any, **how: Any) -> Iterator[Any]:
        portal.run(f"delete from b_crm_contact where ID = {every[0]}")
        return pages(*given, **how)

    portal.run("create table lost_contact as select * from b_crm_contact where ID = " + str(every[0]))
    with patch.object(source._pages, "_chain", disturbed):
        found = ids(dicts(source.read_ranges(CONTACTS, columns, [KeyRange()])))
    portal.run("insert into b_crm_contact select * from lost_contact", "drop table lost_contact")
    assert found == every


def test_rows_that_come_while_the_last_page_is_read_are_read_too(portal: Portal) -> None:
    """More pages than were counted."""
    source = portal.source()
    columns = source.columns(CONTACTS)
    every = [row["id"] for row in portal.rows("select ID from b_crm_contact order by ID")]
    new = [every[-1] + number for number in range(1, 121)]
    values = ", ".join(f"({card}, 1, now())" for card in new)
    pages = source._pages._chain
    calls: list[int] = []

    def growing(*given: Any, **how: Any) -> Iterator[Any]:
        if not calls:
            portal.run(f"insert into b_crm_contact (ID, CREATED_BY_ID, LAST_ACTIVITY_TIME) values {values}")
        calls.append(1)
        return pages(*given, **how)

    with patch.object(source._pages, "_chain", growing):
        found = ids(dicts(source.read_ranges(CONTACTS, columns, [KeyRange()])))
    portal.run(f"delete from b_crm_contact where ID > {every[-1]}")
    assert found == every + new


# --- what is there


def test_bounds_and_counts(portal: Portal) -> None:
    """From the lists themselves; where no list has such ids, none."""
    source, every = portal.source(), deals(portal)
    assert source.bounds(DEALS) == Bounds(every[0], every[-1])
    assert source.count(DEALS) == len(every)
    assert source.bounds(ENTRIES["b_crm_field_multi"]) is None
    assert source.bounds(ENTRIES["b_catalog_currency"]) is None
    assert source.count(ENTRIES["b_catalog_currency"]) == 3


def test_a_scope_the_key_was_made_without_makes_its_tables_missing(site: str, tmp_path: Path) -> None:
    """With the name of the scope; the others come."""
    narrow = Application(CLIENT.client_id, CLIENT.client_secret, frozenset({"crm"}), CLIENT.refresh_token)
    with running(site, tmp_path, application=narrow) as other:
        source = other.application()
        with pytest.raises(TableMissing, match=r"sale.order.list.*insufficient_scope.*scope sale"):
            source.columns(ENTRIES["b_sale_order"])
        assert source.columns(DEALS)


# --- changes


def test_edited_and_added_rows_come_and_others_do_not(portal: Portal) -> None:
    """By change time, less the overlap, and by id."""
    source = portal.source()
    columns = source.columns(DEALS)
    portal.run("update b_crm_deal set DATE_MODIFY = '2026-09-01 10:00:00'")
    marks = source.marks(DEALS, columns, now=NOW)
    assert marks["deal.id"] == deals(portal)[-1]
    assert marks["deal.changed"] == "2026-09-01T10:00:00+03:00"
    assert marks["cursor"] == "2026-09-01 10:00:00.000000"
    portal.run("update b_crm_deal set DATE_MODIFY = '2026-08-01 10:00:00'")
    edited = deals(portal)[4]
    portal.call("crm.deal.update", id=edited, fields={"TITLE": "Другая сделка"})
    added = portal.call("crm.deal.add", fields={"TITLE": "Новая сделка"})
    later = portal.source()
    found = {row["id"]: row["title"] for row in changes(later, DEALS, columns, marks)}
    assert found.items() >= {edited: "Другая сделка", added: "Новая сделка"}.items()
    old = [deal for deal in found if deal not in (edited, added)]
    # Ids just below the last one are read again: they may have been committed late.
    assert old == [
        deal for deal in deals(portal) if deal > int(marks["deal.id"] or 0) - 50 and deal not in (edited, added)
    ]
    portal.call("crm.deal.delete", id=added)


def test_equal_times_at_the_mark_are_read_again(portal: Portal) -> None:
    """`>=`, not `>`: neither the second of the last row read is lost, nor that at the end of the overlap."""
    source = portal.source()
    columns = source.columns(CONTACTS)
    cards = [row["id"] for row in portal.rows("select ID from b_crm_contact order by ID limit 3")]
    portal.run("update b_crm_contact set DATE_MODIFY = '2026-01-01 00:00:00'")
    portal.run(f"update b_crm_contact set DATE_MODIFY = '2026-09-02 10:00:00' where ID = {cards[0]}")
    marks = source.marks(CONTACTS, columns, now=NOW)
    portal.run(f"update b_crm_contact set DATE_MODIFY = '2026-09-02 10:00:00' where ID = {cards[1]}")
    portal.run(f"update b_crm_contact set DATE_MODIFY = '2026-09-02 08:00:00' where ID = {cards[2]}")
    found = ids(changes(portal.source(), CONTACTS, columns, marks))
    assert found[:3] == cards


def test_a_mistyped_year_holds_no_mark(portal: Portal) -> None:
    """The latest change that is to be believed counts."""
    deal = deals(portal)[0]
    portal.run(f"update b_crm_deal set DATE_MODIFY = '2062-01-01 00:00:00' where ID = {deal}")
    source = portal.source()
    marks = source.marks(DEALS, source.columns(DEALS), now=NOW)
    assert str(marks["deal.changed"]) < (NOW + timedelta(days=2)).isoformat()
    portal.run(f"update b_crm_deal set DATE_MODIFY = '2026-08-01 10:00:00' where ID = {deal}")


def test_what_hangs_on_a_changed_card_comes_with_it(portal: Portal) -> None:
    """Its addresses, tags, links, custom fields and product rows, by the card's own change time."""
    portal.run("update b_crm_contact set DATE_MODIFY = '2026-01-01 00:00:00'")
    source = portal.source()
    names = ("b_crm_field_multi", "b_uts_crm_contact", "b_utm_crm_contact", "b_crm_contact_company")
    columns = {name: source.columns(ENTRIES[name]) for name in names}
    marks = {name: source.marks(ENTRIES[name], columns[name], now=NOW) for name in names}
    card = portal.one("select min(VALUE_ID) from b_utm_crm_contact")
    portal.call("crm.contact.update", id=card, fields={"EMAIL": [{"VALUE": "new@example.com", "VALUE_TYPE": "HOME"}]})
    later = portal.source()
    multi = changes(later, ENTRIES["b_crm_field_multi"], columns["b_crm_field_multi"], marks["b_crm_field_multi"])
    assert "new@example.com" in {row["value"] for row in multi if row["element_id"] == card}
    assert card in {
        row["value_id"]
        for row in changes(
            later, ENTRIES["b_uts_crm_contact"], columns["b_uts_crm_contact"], marks["b_uts_crm_contact"]
        )
    }
    rows = ENTRIES["b_crm_product_row"]
    deal = portal.one("select min(OWNER_ID) from b_crm_product_row where OWNER_TYPE = 'D'")
    before = later.marks(rows, later.columns(rows), now=NOW)
    portal.call("crm.deal.update", id=deal, fields={"TITLE": "с товарами"})
    found = changes(portal.source(), rows, later.columns(rows), before)
    assert deal in {row["owner_id"] for row in found if row["owner_type"] == "D"}


def test_marks_stay_as_long_as_what_was_read_since_may_be_used(portal: Portal) -> None:
    """Rows read earlier in the run with later marks would lose what happened in between."""
    source = portal.source()
    columns = source.columns(DEALS)
    marks = source.marks(DEALS, columns, now=NOW)
    changes(source, DEALS, columns, marks)
    deal = portal.call("crm.deal.add", fields={"TITLE": "между"})
    products = ENTRIES["b_crm_utm"]
    assert source.marks(products, source.columns(products), now=NOW)["deal.id"] == marks["deal.id"]
    portal.call("crm.deal.delete", id=deal)


def test_an_empty_list_has_no_marks_and_everything_later_is_new(portal: Portal) -> None:
    """The first company ever."""
    entry = ENTRIES["b_crm_company"]
    portal.run("create table kept_companies as select * from b_crm_company", "delete from b_crm_company")
    source = portal.source()
    columns = source.columns(entry)
    marks = source.marks(entry, columns, now=NOW)
    assert (marks["company.id"], marks["company.changed"]) == (None, None)
    assert changes(source, entry, columns, marks) == []
    portal.run("insert into b_crm_company select * from kept_companies", "drop table kept_companies")
    assert len(changes(portal.source(), entry, columns, marks)) == portal.one("select count(*) from b_crm_company")


# --- deletes


def test_keys_are_compared_by_ids_alone(portal: Portal) -> None:
    """Cheap: only ids and change times are selected. A delete changes one slice."""
    source = portal.source()
    columns = source.columns(DEALS)
    before = source.digests(DEALS, columns, [KeyRange()], width=500, whole_rows=False)
    every = deals(portal)
    assert before is not None
    assert sum(digest.rows for digest in before.values()) == len(every)
    gone = portal.call("crm.deal.add", fields={"TITLE": "ненадолго"})
    after = portal.source().digests(DEALS, columns, [KeyRange()], width=500, whole_rows=False)
    assert after != before
    portal.call("crm.deal.delete", id=gone)
    assert portal.source().digests(DEALS, columns, [KeyRange()], width=500, whole_rows=False) == before
    assert source.digests(DEALS, columns, [KeyRange(every[2], every[4])], width=10**9, whole_rows=False) == {
        0: Digest(2, sum(deal * deal for deal in every[2:4]))
    }


def test_a_restored_row_with_an_old_id_is_found_by_its_id(portal: Portal) -> None:
    """Neither its change time nor its id says so."""
    deal = deals(portal)[1]
    portal.run(f"create table kept_deal as select * from b_crm_deal where ID = {deal}")
    portal.run(f"delete from b_crm_deal where ID = {deal}")
    source = portal.source()
    columns = source.columns(DEALS)
    without = source.digests(DEALS, columns, [KeyRange()], width=1, whole_rows=False)
    portal.run("insert into b_crm_deal select * from kept_deal", "drop table kept_deal")
    again = portal.source().digests(DEALS, columns, [KeyRange()], width=1, whole_rows=False)
    assert without is not None
    assert again is not None
    assert again.keys() - without.keys() == {deal}
    assert ids(read(source, DEALS, KeyRange(deal, deal + 1))) == [deal]


def test_hashes_cannot_be_summed_there(portal: Portal) -> None:
    """The rows have to be read for that."""
    source = portal.source()
    assert source.digests(DEALS, source.columns(DEALS), [KeyRange()], width=500, whole_rows=True) is None


def test_what_hangs_on_very_many_cards_is_not_read_in_every_run(portal: Portal) -> None:
    """Its keys are compared when all rows are read anyway."""
    source, entry = portal.source(), ENTRIES["b_crm_utm"]
    columns = source.columns(entry)
    found = source.digests(entry, columns, [KeyRange()], width=10**9, whole_rows=False)
    assert found is not None
    assert found[0].rows == portal.one("select count(*) from b_crm_utm where ENTITY_TYPE_ID between 1 and 4")
    with patch.object(cloud_module, "WHOLE_BELOW", 10):
        assert portal.source().digests(entry, columns, [KeyRange()], width=10**9, whole_rows=False) is None


# --- what is kept


def test_what_was_read_is_forgotten_in_time_and_beyond_a_size() -> None:
    """Half an hour, and a limit on the disk."""
    now = [0.0]
    snapshots = Snapshots(max_bytes=100, max_age=60, timer=lambda: now[0])
    snapshots.begin(DEAL)
    rows = [{"id": number} for number in range(3)]
    assert list(snapshots.keep(DEAL, Scope(), iter(rows))) == rows
    assert list(snapshots.get(DEAL, Scope()) or []) == rows
    assert not snapshots.has(CONTACT, Scope())
    assert not snapshots.has(DEAL, Scope(is_whole=False, above=1))
    snapshots.begin(CONTACT)
    many = [{"id": number} for number in range(30)]
    assert list(snapshots.keep(CONTACT, Scope(), iter(many))) == many
    assert not snapshots.has(CONTACT, Scope())
    now[0] = 61
    assert not snapshots.has(DEAL, Scope())
    snapshots.close()


def test_a_reading_that_breaks_off_is_not_kept() -> None:
    """Half a list would look like deletes."""
    snapshots = Snapshots()
    snapshots.begin(DEAL)
    passing = snapshots.keep(DEAL, Scope(), iter([{"id": 1}, {"id": 2}]))
    next(passing)
    passing.close()  # type: ignore[attr-defined]  # it is a generator
    assert not snapshots.has(DEAL, Scope())


def test_kinds(portal: Portal) -> None:
    """What the warehouse is told."""
    source: CloudSource = portal.source()
    assert (source.kind, source.timezone.key) == ("bitrix24", "Europe/Moscow")
    assert source.horizon(NOW) == "2026-11-02 12:00:00.000000"
