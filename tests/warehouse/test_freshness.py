"""What a site does to its rows behind a watermark's back, and that the copy sees it all the same.

On Bitrix's own tables, with the catalogue's own entries. Every protection is taken away once: without it the same story
ends with a stale copy, so the test is about the protection and not about luck.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.source_site import NOW, Site
from tests.warehouse.conftest import Warehouse
from tests.warehouse.real_tables import CATALOG, make, quoted

from lettertrail.bitrix import sql as sql_module
from lettertrail.bitrix import statements
from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.mariadb import connect
from lettertrail.warehouse import load as load_module
from lettertrail.warehouse.ledger import LoadResult
from lettertrail.warehouse.verify import verify_table

BERLIN = ZoneInfo("Europe/Berlin")
protected_or_not = pytest.mark.parametrize("is_protected", [True, False], ids=["protected", "unprotected"])


@pytest.fixture
def only_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of keys after a load: what is found is found by the entry's own rules."""
    monkeypatch.setattr(load_module, "_compare_keys", lambda *_: None)


def verify(warehouse: Warehouse, site: Site, entry: TableEntry) -> Any:
    """The nightly comparison of whole rows."""
    return verify_table(site.source, entry, warehouse.dsn, run_id="night", clock=fixed_clock(NOW))


def at(moment: str) -> dict[str, Any]:
    """The clock of a load, in UTC."""
    return {"clock": fixed_clock(datetime.fromisoformat(moment).replace(tzinfo=UTC))}


# --- commits that come late ---


@protected_or_not
@pytest.mark.usefixtures("only_rules")
def test_an_id_that_commits_late_is_read(site: Site, warehouse: Warehouse, is_protected: bool) -> None:
    """Number 4 is drawn first and committed last; a load in between has already seen number 5."""
    make(site, "b_sender_posting_read")
    entry = replace(CATALOG["b_sender_posting_read"], tail=1000 if is_protected else 0)
    insert = "insert into b_sender_posting_read (posting_id, recipient_id) values (1, 1)"
    site.run(insert, insert, insert)
    warehouse.load(site, entry)
    with closing(connect(site.dsn)) as slow:
        slow.cursor().execute(insert)
        site.run(insert)
        assert warehouse.load(site, entry).inserted == 1
        slow.commit()
    warehouse.load(site, entry)
    found = [row for (row,) in warehouse.rows("select id from raw_bitrix.b_sender_posting_read order by id")]
    assert found == ([1, 2, 3, 4, 5] if is_protected else [1, 2, 3, 5])


@protected_or_not
def test_a_change_that_commits_late_is_read(site: Site, warehouse: Warehouse, is_protected: bool) -> None:
    """The CRM writes the time, thinks for a minute, and commits behind a later change that was already read."""
    make(site, "b_crm_lead")
    entry = replace(CATALOG["b_crm_lead"], overlap_minutes=120 if is_protected else 0)
    site.run("insert into b_crm_lead (id, status_id, date_modify) values (1, 'NEW', '2026-11-01 10:00:00'),"
             " (2, 'NEW', '2026-11-01 10:00:00')")  # fmt: skip
    warehouse.load(site, entry)
    with closing(connect(site.dsn)) as slow:
        slow.cursor().execute(
            "update b_crm_lead set status_id = 'JUNK', date_modify = '2026-11-01 11:00:00' where id = 1"
        )
        site.run("update b_crm_lead set status_id = 'JUNK', date_modify = '2026-11-01 11:00:40' where id = 2")
        assert warehouse.load(site, entry).updated == 1
        slow.commit()
    assert warehouse.load(site, entry).updated == is_protected


# --- equal times ---


@protected_or_not
def test_a_second_change_in_the_same_second_is_read(
    site: Site, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, is_protected: bool
) -> None:
    """Times have no fractions: a row may change in the very second up to which everything was read."""
    if not is_protected:
        exclusive = "'2026-11-01 11:00:00.000001'"
        monkeypatch.setattr(statements, "_since", lambda mark, _: exclusive if mark else "'1000-01-01 00:00:00'")
    make(site, "b_crm_lead")
    entry = replace(CATALOG["b_crm_lead"], overlap_minutes=0)
    site.run("insert into b_crm_lead (id, status_id, date_modify) values (1, 'NEW', '2026-11-01 11:00:00'),"
             " (2, 'NEW', '2026-11-01 10:00:00')")  # fmt: skip
    warehouse.load(site, entry)
    site.run("update b_crm_lead set status_id = 'JUNK', date_modify = '2026-11-01 11:00:00' where id = 2")
    assert warehouse.load(site, entry).updated == is_protected


def test_equal_times_over_many_pieces_are_all_read(
    each_site: Site, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import gives thousands of rows one time; a read is cut by keys, so no edge falls between equal times."""
    for setting, few in {"FIRST_KEYS": 20, "PIECE_ROWS": 20, "MOST_ROWS": 40}.items():
        monkeypatch.setattr(sql_module, setting, few)
    make(each_site, "b_crm_lead")
    rows = ", ".join(f"({number}, 'NEW', '2026-11-01 10:00:00')" for number in range(1, 301))
    each_site.run(f"insert into b_crm_lead (id, status_id, date_modify) values {rows}")
    warehouse.load(each_site, CATALOG["b_crm_lead"])
    each_site.run("update b_crm_lead set status_id = 'JUNK', date_modify = '2026-11-01 11:00:00'")
    assert warehouse.load(each_site, CATALOG["b_crm_lead"]).updated == 300


# --- the two nights ---


@pytest.fixture
def berlin(site: Site) -> Iterator[Site]:
    """The same database, of a site in Berlin."""
    source = SqlSource(site.dsn, BERLIN)
    yield Site(site.dsn, source)
    source.close()


@protected_or_not
def test_the_hour_that_comes_twice_loses_nothing(berlin: Site, warehouse: Warehouse, is_protected: bool) -> None:
    """At 02:10 for the second time the clock shows less than the watermark of 02:50 for the first time."""
    make(berlin, "b_crm_lead")
    entry = replace(CATALOG["b_crm_lead"], overlap_minutes=120 if is_protected else 0)
    berlin.run("insert into b_crm_lead (id, status_id, date_modify) values (1, 'NEW', '2026-10-25 02:50:00'),"
               " (2, 'NEW', '2026-10-24 12:00:00')")  # fmt: skip
    warehouse.load(berlin, entry, **at("2026-10-25 00:55:00"))
    berlin.run("update b_crm_lead set status_id = 'JUNK', date_modify = '2026-10-25 02:10:00' where id = 2")
    assert warehouse.load(berlin, entry, **at("2026-10-25 01:15:00")).updated == is_protected


@protected_or_not
def test_the_hour_that_is_missing_does_not_halve_the_overlap(
    berlin: Site, warehouse: Warehouse, is_protected: bool
) -> None:
    """Between 01:35 and 03:25 lie fifty minutes; an overlap of an hour on the clock would be none."""
    make(berlin, "b_crm_lead")
    entry = replace(CATALOG["b_crm_lead"], overlap_minutes=120 if is_protected else 60)
    berlin.run("insert into b_crm_lead (id, status_id, date_modify) values (1, 'NEW', '2026-03-29 01:00:00'),"
               " (2, 'NEW', '2026-03-29 01:00:00')")  # fmt: skip
    warehouse.load(berlin, entry, **at("2026-03-29 00:10:00"))
    with closing(connect(berlin.dsn)) as slow:
        slow.cursor().execute(
            "update b_crm_lead set status_id = 'JUNK', date_modify = '2026-03-29 01:35:00' where id = 1"
        )
        berlin.run("update b_crm_lead set status_id = 'JUNK', date_modify = '2026-03-29 03:19:00' where id = 2")
        assert warehouse.load(berlin, entry, **at("2026-03-29 01:20:00")).updated == 1
        slow.commit()
    assert warehouse.load(berlin, entry, **at("2026-03-29 01:30:00")).updated == is_protected


def test_a_time_the_server_converts_is_followed_in_utc(berlin: Site, warehouse: Warehouse) -> None:
    """`timestamp` of MySQL knows which of the two hours it was, so not even an overlap is needed."""
    make(berlin, "b_user")
    entry = replace(CATALOG["b_user"], overlap_minutes=0)
    berlin.run(
        "set time_zone = '+02:00'",
        "insert into b_user (id, login, timestamp_x)"
        " values (1, 'a', '2026-10-25 02:50:00'), (2, 'b', '2026-10-24 12:00:00')",
    )
    warehouse.load(berlin, entry, **at("2026-10-25 00:55:00"))
    berlin.run(
        "set time_zone = '+01:00'",
        "update b_user set name = 'B', timestamp_x = '2026-10-25 02:10:00' where id = 2",
    )
    assert warehouse.load(berlin, entry, **at("2026-10-25 01:15:00")).updated == 1


# --- statuses that go back, postings that are made again ---


@pytest.fixture
def mailing(each_site: Site) -> Site:
    """A posting of last year, ended with errors, with four recipients; its tables on either server."""
    names = ("b_sender_posting", "b_sender_posting_read", "b_sender_posting_click", "b_sender_posting_unsub")
    make(each_site, "b_sender_posting_recipient", *names)
    each_site.run(
        "insert into b_sender_posting (id, mailing_id, mailing_chain_id, status, date_create, date_sent)"
        " values (7, 1, 1, 'E', '2025-01-01 10:00:00', '2025-01-01 11:00:00')",
        "insert into b_sender_posting_recipient (id, posting_id, contact_id, status, date_update)"
        " values (1, 7, 1, 'N', '2025-01-01 11:00:00'), (2, 7, 2, 'N', '2025-01-01 11:00:00'),"
        " (3, 7, 3, 'E', '2025-01-01 11:00:00'), (4, 7, 4, 'E', '2025-01-01 11:00:00')",
    )
    return each_site


RECIPIENTS = replace(CATALOG["b_sender_posting_recipient"], tail=0)
"""As if the four were among the oldest of millions."""


def statuses(warehouse: Warehouse) -> str:
    """The letters of the recipients that are there, by id."""
    rows = warehouse.rows(
        "select status from raw_bitrix.b_sender_posting_recipient where _deleted_at is null order by id"
    )
    return "".join(status for (status,) in rows)


def without_posting(entry: TableEntry) -> TableEntry:
    """The recipients' entry, not following their posting."""
    kept = tuple(trigger for trigger in entry.touched_by if trigger.table != "b_sender_posting")
    return replace(entry, touched_by=kept)


@protected_or_not
def test_errors_that_are_sent_again_are_followed_there_and_back(
    mailing: Site, warehouse: Warehouse, is_protected: bool
) -> None:
    """Sending errors again turns E into Y and opens the posting; it ends young by its end, not by its start."""
    entry = RECIPIENTS if is_protected else without_posting(RECIPIENTS)
    warehouse.load(mailing, entry)
    mailing.run(
        "update b_sender_posting set status = 'P', date_sent = null where id = 7",
        "update b_sender_posting_recipient set status = 'Y' where status = 'E'",
    )
    warehouse.load(mailing, entry)
    assert statuses(warehouse) == ("NNYY" if is_protected else "NNEE")
    mailing.run(
        "update b_sender_posting_recipient set status = 'N', date_sent = '2026-11-01 11:30:00' where id = 3",
        "update b_sender_posting_recipient set status = 'E', date_sent = '2026-11-01 11:30:00' where id = 4",
        "update b_sender_posting set status = 'E', date_sent = '2026-11-01 11:31:00' where id = 7",
    )
    warehouse.load(mailing, entry)
    assert statuses(warehouse) == ("NNNE" if is_protected else "NNEE")


def test_a_late_bounce_of_an_old_posting_is_found_by_the_night(mailing: Site, warehouse: Warehouse) -> None:
    """N turns into E long after; no event, no open posting. Nothing an hour may cost would find it."""
    warehouse.load(mailing, RECIPIENTS)
    mailing.run("update b_sender_posting_recipient set status = 'E' where id = 1")
    warehouse.load(mailing, RECIPIENTS)
    assert statuses(warehouse) == "NNEE"
    found = verify(warehouse, mailing, RECIPIENTS)
    assert (found.differing, found.repair.updated, found.is_proven) == (1, 1, True)
    assert statuses(warehouse) == "ENEE"


def test_a_late_bounce_is_found_at_once_where_the_change_time_can_be_believed(
    mailing: Site, warehouse: Warehouse
) -> None:
    """With an index somebody made, MySQL's own change time is followed; PostgreSQL has one that stands still."""
    is_mysql = mailing.source.kind == "mysql"
    mailing.run("create index ix_own on b_sender_posting_recipient (date_update)")
    warehouse.load(mailing, RECIPIENTS)
    mailing.run("update b_sender_posting_recipient set status = 'E' where id = 1")
    later = {"clock": fixed_clock(datetime.now(tz=UTC) + timedelta(hours=1))}  # the server writes its own time
    warehouse.load(mailing, RECIPIENTS, **later)
    assert statuses(warehouse) == ("ENEE" if is_mysql else "NNEE")
    ((cursor, reason),) = warehouse.rows("select cursor, reason from ops.table_freshness")
    assert (cursor, reason) == (
        ("date_update", "as declared")
        if is_mysql
        else (None, "date_update is there, but postgresql does not move it by itself here: not believed")
    )


@protected_or_not
def test_a_posting_that_is_built_again_is_copied_with_its_new_ids(
    mailing: Site, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, is_protected: bool
) -> None:
    """Its recipients were deleted and made anew: the old ids are marked, the new ones are there."""
    if not is_protected:
        monkeypatch.setattr(load_module, "_compare_keys", lambda *_: None)
    warehouse.load(mailing, RECIPIENTS)
    mailing.run(
        "delete from b_sender_posting_recipient where posting_id = 7",
        "insert into b_sender_posting_recipient (id, posting_id, contact_id, status)"
        " values (5, 7, 1, 'Y'), (6, 7, 2, 'Y'), (7, 7, 5, 'Y')",
    )
    result = warehouse.load(mailing, RECIPIENTS)
    assert (result.inserted, result.deleted) == (3, 4 if is_protected else 0)
    assert statuses(warehouse) == ("YYY" if is_protected else "NNEEYYY")


# --- ids that come back ---


@protected_or_not
@pytest.mark.usefixtures("only_rules")
def test_a_card_thrown_away_and_restored_takes_its_addresses_along(
    each_site: Site, warehouse: Warehouse, is_protected: bool
) -> None:
    """In the bin its e-mails are bound to the bin's row; restored, the card has a new id and they are bound to that."""
    make(each_site, "b_crm_contact", "b_crm_field_multi", "b_recyclebin")
    contacts, multi = CATALOG["b_crm_contact"], replace(CATALOG["b_crm_field_multi"], tail=0)
    if not is_protected:
        multi = replace(multi, touched_by=tuple(one for one in multi.touched_by if one.table != "b_recyclebin"))
    each_site.run(
        "insert into b_crm_contact (id, name, date_modify) values (5, 'A', '2026-10-01 10:00:00')",
        "insert into b_crm_field_multi (id, entity_id, element_id, type_id, value_type, complex_id, value)"
        " values (50, 'CONTACT', 5, 'EMAIL', 'WORK', 'EMAIL_WORK', 'a@example.com'),"
        " (99, 'COMPANY', 1, 'EMAIL', 'WORK', 'EMAIL_WORK', 'b@example.com')",
    )

    def load_both() -> tuple[LoadResult, tuple[str, int]]:
        contact = warehouse.load(each_site, contacts)
        warehouse.load(each_site, multi)
        ((entity, element),) = warehouse.rows(
            "select entity_id, element_id from raw_bitrix.b_crm_field_multi where id = 50"
        )
        return contact, (entity, element)

    assert load_both()[1] == ("CONTACT", 5)
    each_site.run(
        "delete from b_crm_contact where id = 5",
        f"insert into b_recyclebin (id, entity_id, module_id, entity_type, {quoted(each_site, 'timestamp')})"
        " values (31, '5', 'crm', 'crm_contact', '2026-11-01 10:00:00')",
        "update b_crm_field_multi set entity_id = 'SUS_CONTACT', element_id = 31 where id = 50",
    )
    assert load_both()[1] == (("SUS_CONTACT", 31) if is_protected else ("CONTACT", 5))
    each_site.run(
        "delete from b_recyclebin where id = 31",
        "insert into b_crm_contact (id, name, date_modify) values (9, 'A', '2026-11-01 11:00:00')",
        "update b_crm_field_multi set entity_id = 'CONTACT', element_id = 9 where id = 50",
    )
    assert load_both()[1] == ("CONTACT", 9)


@protected_or_not
@pytest.mark.usefixtures("only_rules")
def test_an_id_that_is_given_twice_is_read_again(site: Site, warehouse: Warehouse, is_protected: bool) -> None:
    """The newest row deleted and the server restarted: an old MySQL gives its id to the next row."""
    make(site, "b_sender_posting_read")
    entry = replace(CATALOG["b_sender_posting_read"], tail=1000 if is_protected else 0)
    site.run("insert into b_sender_posting_read (id, posting_id, recipient_id) values (1, 1, 1), (2, 1, 2)")
    warehouse.load(site, entry)
    site.run("delete from b_sender_posting_read where id = 2",
             "insert into b_sender_posting_read (id, posting_id, recipient_id) values (2, 1, 77)")  # fmt: skip
    assert warehouse.load(site, entry).updated == is_protected


def test_a_site_restored_from_a_backup_is_followed_back(each_site: Site, warehouse: Warehouse) -> None:
    """Ids fall back behind the watermark and are given anew: gaps are seen at once, other contents by the night."""
    make(each_site, "b_sender_posting_read")
    entry = replace(CATALOG["b_sender_posting_read"], tail=5)
    rows = ", ".join(f"({number}, 1, {number})" for number in range(1, 101))
    each_site.run(f"insert into b_sender_posting_read (id, posting_id, recipient_id) values {rows}")
    warehouse.load(each_site, entry)
    other = ", ".join(f"({number}, 2, {number})" for number in range(61, 81))
    each_site.run(
        "delete from b_sender_posting_read where id > 60",
        f"insert into b_sender_posting_read (id, posting_id, recipient_id) values {other}",
    )
    result = warehouse.load(each_site, entry)
    # The comparison of keys reads the slice with the gap again whole, and with it what has other contents.
    assert (result.deleted, result.updated) == (20, 20)
    # In a large table the gap and the other contents lie in different slices.
    each_site.run("update b_sender_posting_read set posting_id = 3 where id = 61")
    assert warehouse.load(each_site, entry).updated == 0
    assert verify(warehouse, each_site, entry).repair.updated == 1
    each_site.run("insert into b_sender_posting_read (id, posting_id, recipient_id) values (81, 2, 81)")
    warehouse.load(each_site, entry)
    assert warehouse.rows(
        "select count(*), max(id) from raw_bitrix.b_sender_posting_read where _deleted_at is null"
    ) == [(81, 81)]


# --- flags that flip without a date ---


@pytest.fixture
def addresses(each_site: Site) -> Site:
    """Two addresses, one letter to each, and what may happen then."""
    events = ("b_sender_posting_read", "b_sender_posting_click", "b_sender_posting_unsub", "b_sender_abuse")
    make(each_site, "b_sender_contact", "b_sender_posting_recipient", "b_sender_mailing_subscription", *events)
    each_site.run(
        "insert into b_sender_contact (id, type_id, code, date_insert, date_update) values"
        " (1, 1, 'a@example.com', '2025-01-01 10:00:00', '2025-01-01 10:00:00'),"
        " (2, 1, 'b@example.com', '2025-01-01 10:00:00', '2025-01-01 12:30:00')",
        "insert into b_sender_posting_recipient (id, posting_id, contact_id, status)"
        " values (11, 7, 1, 'N'), (12, 7, 2, 'N')",
        "insert into b_sender_mailing_subscription (mailing_id, contact_id, date_insert, is_unsub)"
        " values (1, 1, '2025-01-01 10:00:00', 'N'), (1, 2, '2025-01-01 12:30:00', 'N')",
    )
    return each_site


@protected_or_not
@pytest.mark.usefixtures("only_rules")
def test_flags_follow_the_events_that_set_them(addresses: Site, warehouse: Warehouse, is_protected: bool) -> None:
    """An open names a recipient, a complaint an address, an unsubscribe a recipient: all of them lead to the flag."""
    contacts = replace(CATALOG["b_sender_contact"], tail=0)
    subscriptions = CATALOG["b_sender_mailing_subscription"]
    if not is_protected:
        contacts, subscriptions = (
            replace(entry, touched_by=(), strategy="modified") for entry in (contacts, subscriptions)
        )
    for entry in (contacts, subscriptions):
        warehouse.load(addresses, entry)
    addresses.run(
        "insert into b_sender_posting_read (id, posting_id, recipient_id) values (1, 7, 11)",
        "insert into b_sender_abuse (id, contact_id, contact_code, date_insert)"
        " values (1, 1, 'a@example.com', '2026-11-01')",
        "insert into b_sender_posting_unsub (id, posting_id, recipient_id) values (1, 7, 11)",
        "update b_sender_contact set is_read = 'Y', blacklisted = 'Y' where id = 1",
        "update b_sender_mailing_subscription set is_unsub = 'Y' where contact_id = 1",
    )
    assert warehouse.load(addresses, contacts).updated == is_protected
    # The flag is part of the key: the new row comes by the event, the old one goes by the comparison of keys.
    assert warehouse.load(addresses, subscriptions).inserted == is_protected


def test_a_flag_that_flips_without_any_trace_is_found_by_the_night(addresses: Site, warehouse: Warehouse) -> None:
    """The cloud mailer says "delivered" in the address itself and nowhere else."""
    entry = replace(CATALOG["b_sender_contact"], tail=0)
    warehouse.load(addresses, entry)
    addresses.run("update b_sender_contact set is_send_success = 'Y' where id = 1")
    assert warehouse.load(addresses, entry).updated == 0
    found = verify(warehouse, addresses, entry)
    assert (found.differing, found.repair.updated, found.is_proven) == (1, 1, True)


# --- a mistyped year ---


@protected_or_not
@pytest.mark.usefixtures("only_rules")
def test_a_mistyped_year_holds_neither_the_table_nor_its_children(
    each_site: Site, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, is_protected: bool
) -> None:
    """One deal of 2062 must not hide every change until then, its own table's or that of its tags."""
    if not is_protected:
        monkeypatch.setattr(SqlSource, "horizon", lambda *_: "9999-12-31 23:59:59")
    make(each_site, "b_crm_deal", "b_crm_utm")
    each_site.run(
        "insert into b_crm_deal (id, stage_id, date_modify) values (1, 'NEW', '2062-10-01 10:00:00'),"
        " (2, 'NEW', '2026-10-01 10:00:00')",
        "insert into b_crm_utm (entity_type_id, entity_id, code, value) values (2, 2, 'UTM_SOURCE', 'old')",
    )
    entries = CATALOG["b_crm_deal"], CATALOG["b_crm_utm"]
    for entry in entries:
        warehouse.load(each_site, entry)
    each_site.run(
        "update b_crm_deal set stage_id = 'WON', date_modify = '2026-11-01 11:00:00' where id = 2",
        "update b_crm_utm set value = 'new' where entity_id = 2",
    )
    assert [warehouse.load(each_site, entry).updated for entry in entries] == [is_protected, is_protected]
