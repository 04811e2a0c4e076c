"""Loading a Bitrix table: strategies, exact counts, and what a killed process leaves behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.catalog import Trigger
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError, SourceError
from lettertrail.warehouse import deliver
from lettertrail.warehouse import load as load_module
from lettertrail.warehouse.ledger import LoadResult


def counts(result: LoadResult) -> dict[str, int]:
    """The counts that are not zero."""
    names = ("read", "inserted", "updated", "unchanged", "quarantined", "deleted")
    return {name: getattr(result, name) for name in names if getattr(result, name)}


@pytest.fixture
def letters(site: Site) -> Site:
    """A table of ten rows."""
    site.run(
        "create table letters (id int unsigned primary key auto_increment, title varchar(100), amount decimal(18,2))",
        "insert into letters (title, amount) select concat('letter ', seq), seq / 4 from seq_1_to_10",
    )
    return site


def test_a_second_load_changes_nothing(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Loading twice inserts once; the second time every row is unchanged and keeps its _loaded_at."""
    assert counts(warehouse.load(letters, entry("letters"))) == {"read": 10, "inserted": 10}
    later = fixed_clock(NOW + timedelta(hours=1))
    assert counts(warehouse.load(letters, entry("letters"), clock=later)) == {"read": 10, "unchanged": 10}
    assert warehouse.rows("select distinct _loaded_at from raw_bitrix.letters") == [(NOW,)]


def test_every_row_gets_its_one_outcome(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """New, changed, deleted and untouched rows are told apart exactly."""
    warehouse.load(letters, entry("letters"))
    letters.run(
        "update letters set title = 'renamed' where id in (2, 3)",
        "delete from letters where id = 7",
        "insert into letters (title) values ('eleven'), ('twelve'), (null)",
    )
    result = warehouse.load(letters, entry("letters"))
    assert counts(result) == {"read": 12, "inserted": 3, "updated": 2, "unchanged": 7, "deleted": 1}
    deleted = warehouse.rows("select id, title, _deleted_at from raw_bitrix.letters where _deleted_at is not null")
    assert deleted == [(7, "letter 7", NOW)]


def test_a_row_that_comes_back_is_alive_again(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A soft-deleted row found again loses its mark, even when nothing else changed."""
    warehouse.load(letters, entry("letters"))
    letters.run("create table aside as select * from letters where id = 7", "delete from letters where id = 7")
    warehouse.load(letters, entry("letters"))
    letters.run("insert into letters select * from aside")
    assert counts(warehouse.load(letters, entry("letters"))) == {"read": 10, "updated": 1, "unchanged": 9}
    assert warehouse.rows("select count(*) from raw_bitrix.letters where _deleted_at is null") == [(10,)]


def test_append_reads_only_the_tail(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Ids above the mark less the tail are read, and a late commit below the tail is found by the key comparison."""
    append = entry("letters", "append", tail=2)
    letters.run("delete from letters where id in (4, 9)")
    warehouse.load(letters, append)
    letters.run("insert into letters (title) values ('eleven')")
    assert counts(warehouse.load(letters, append)) == {"read": 2, "inserted": 1, "unchanged": 1}
    letters.run("insert into letters (id, title) values (9, 'late'), (4, 'very late')")
    result = warehouse.load(letters, append)
    assert result.inserted == 2
    assert warehouse.rows("select title from raw_bitrix.letters where id in (4, 9) order by id") == [
        ("very late",),
        ("late",),
    ]


def test_append_notices_deletes(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A row deleted anywhere in an append-only table is marked in the same run."""
    append = entry("letters", "append", tail=2)
    warehouse.load(letters, append)
    letters.run("delete from letters where id = 3")
    assert warehouse.load(letters, append).deleted == 1
    assert warehouse.rows("select id from raw_bitrix.letters where _deleted_at is not null") == [(3,)]
    assert warehouse.load(letters, append).deleted == 0


@pytest.fixture
def deals(site: Site) -> Site:
    """Deals with a change time, and their contacts without one."""
    site.run(
        "create table deals (id int unsigned primary key, stage varchar(20), date_modify datetime)",
        "insert into deals select seq, 'NEW', '2026-10-01 10:00:00' + interval seq hour from seq_1_to_100",
        "create table links (deal_id int unsigned, contact_id int unsigned, is_primary char(1),"
        " primary key (deal_id, contact_id))",
        "insert into links select seq, seq * 10, 'Y' from seq_1_to_100",
    )
    return site


def test_modified_reads_what_changed_since(deals: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Rows with a later change time are read, with the overlap; the others are not."""
    modified = entry("deals", "modified", cursor="date_modify", overlap_minutes=120)
    warehouse.load(deals, modified)
    # The newest is 2026-10-05 14:00; the overlap reaches the three of 12:00 to 14:00.
    assert counts(warehouse.load(deals, modified)) == {"read": 3, "unchanged": 3}
    deals.run("update deals set stage = 'WON', date_modify = '2026-10-20 10:00:00' where id = 5")
    assert counts(warehouse.load(deals, modified)) == {"read": 4, "updated": 1, "unchanged": 3}
    assert warehouse.rows("select stage from raw_bitrix.deals where id = 5") == [("WON",)]


def test_a_time_in_the_far_future_does_not_hold_the_cursor(
    deals: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """One mistyped year must not stop all later changes from being seen."""
    deals.run("update deals set date_modify = '2099-01-01 00:00:00' where id = 1")
    modified = entry("deals", "modified", cursor="date_modify")
    warehouse.load(deals, modified)
    deals.run("update deals set stage = 'WON', date_modify = '2026-10-20 10:00:00' where id = 5")
    assert warehouse.load(deals, modified).updated == 1


def test_children_follow_their_changed_parent(deals: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A link table without dates is re-read for the parents that changed, including links that are gone."""
    links = entry(
        "links",
        "touched_by",
        key=("deal_id", "contact_id"),
        range_by="deal_id",
        touched_by=(Trigger("deals", "id", "deal_id", modified_by="date_modify", overlap_minutes=0),),
    )
    warehouse.load(deals, links)
    deals.run(
        "delete from links where deal_id = 5",
        "insert into links values (5, 51, 'Y'), (5, 52, 'N')",
        "update links set is_primary = 'N' where deal_id = 6",
        "update deals set date_modify = '2026-10-20 10:00:00' where id in (5, 6)",
    )
    result = warehouse.load(deals, links)
    assert (result.inserted, result.updated, result.deleted) == (2, 1, 1)
    assert warehouse.rows("select contact_id from raw_bitrix.links where deal_id = 5 and _deleted_at is null") == [
        (51,),
        (52,),
    ]


@pytest.fixture
def postings(site: Site) -> Site:
    """Recipients of a sent and of a young posting, and an empty table of opens."""
    site.run(
        "create table postings (id int primary key, status char(1), date_create datetime)",
        "insert into postings values (1, 'S', '2026-01-01 10:00:00'), (2, 'S', '2026-10-31 10:00:00'),"
        " (3, 'P', '2026-01-01 10:00:00'), (4, 'E', '2026-01-01 10:00:00')",
        "create table recipients (id int primary key auto_increment, posting_id int, status char(1), is_read char(1))",
        "insert into recipients (posting_id, status, is_read) select 1 + seq % 4, 'N', 'N' from seq_0_to_399",
        "create table opens (id int primary key auto_increment, recipient_id int)",
    )
    return site


def recipients(entry: EntryMaker) -> Any:
    """The recipients' entry: opens, open postings and young postings touch them."""
    return entry(
        "recipients",
        "touched_by",
        tail=0,
        touched_by=(
            Trigger("opens", "recipient_id", "id", new_by="id", tail=0),
            Trigger(
                "postings", "id", "posting_id",
                open_while={"status": ("N", "P", "W")}, young_by="date_create", young_days=3,
            ),
        ),
    )  # fmt: skip


def test_recipients_follow_new_events_and_unfinished_postings(
    postings: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """Flags follow new opens; statuses follow postings that are young or not final; the rest is left alone."""
    warehouse.load(postings, recipients(entry))
    # 100 of the young posting 2 and 100 of the unfinished posting 3.
    assert counts(warehouse.load(postings, recipients(entry))) == {"read": 200, "unchanged": 200}
    postings.run(
        "insert into opens (recipient_id) values (1), (1), (4)",  # of the finished, old postings 1 and 4
        "update recipients set is_read = 'Y' where id in (1, 4)",
        "update recipients set status = 'E' where id in (2, 3)",  # of postings 2 and 3
    )
    assert counts(warehouse.load(postings, recipients(entry))) == {"read": 202, "updated": 4, "unchanged": 198}
    assert counts(warehouse.load(postings, recipients(entry))) == {"read": 200, "unchanged": 200}


def test_the_own_change_time_is_used_when_it_exists(postings: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """date_update came with sender 25.0; the same entry works without and with it."""
    with_cursor = entry(
        "recipients", "touched_by", cursor="date_update", overlap_minutes=0,
        touched_by=(Trigger("opens", "recipient_id", "id", new_by="id"),),
    )  # fmt: skip
    warehouse.load(postings, with_cursor)
    assert counts(warehouse.load(postings, with_cursor)) == {}
    postings.run(
        "alter table recipients add date_update datetime default '2026-10-30 10:00:00' on update current_timestamp"
    )
    result = warehouse.load(postings, with_cursor)
    assert counts(result) == {"read": 400, "updated": 400}
    assert "column date_update timestamp is new in the source; added" in result.notices
    postings.run("update recipients set status = 'E', date_update = '2026-10-31 10:00:00' where id = 9")
    assert warehouse.load(postings, with_cursor).updated == 1


def test_columns_that_come_and_go_are_announced(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A new column is added and filled for all rows; a vanished one keeps its values."""
    append = entry("letters", "append")
    warehouse.load(letters, append)
    letters.run("alter table letters add colour varchar(10) default 'red', drop column amount")
    result = warehouse.load(letters, append)
    assert counts(result) == {"read": 10, "updated": 10}
    assert set(result.notices) >= {
        "column colour text is new in the source; added",
        "column amount is gone from the source; kept here",
    }
    assert warehouse.rows("select distinct colour from raw_bitrix.letters") == [("red",)]
    assert warehouse.rows("select amount from raw_bitrix.letters where id = 2") == [(Decimal("0.50"),)]
    assert warehouse.rows("select notices from ops.loads order by load_id desc limit 1")[0][0]


def test_a_column_that_widens_is_widened(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A changed type is followed, and announced."""
    warehouse.load(letters, entry("letters"))
    letters.run("alter table letters modify amount decimal(20,4)", "update letters set amount = 0.1234 where id = 1")
    result = warehouse.load(letters, entry("letters"))
    assert "column amount changed from numeric(18,2) to numeric(20,4)" in result.notices
    assert warehouse.rows("select amount from raw_bitrix.letters where id = 1") == [(Decimal("0.1234"),)]


def test_a_view_on_a_column_does_not_stop_the_load(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Staging views pin columns: the old one moves aside with them, a new one is filled, and both are announced."""
    warehouse.load(letters, entry("letters"))
    warehouse.run("create view public.staged as select amount from raw_bitrix.letters")
    letters.run("alter table letters modify amount decimal(20,4)", "update letters set amount = 0.1234 where id = 1")
    result = warehouse.load(letters, entry("letters"))
    assert any("amount" in notice for notice in result.notices)
    assert counts(result) == {"read": 10, "updated": 10}
    assert warehouse.rows("select amount from raw_bitrix.letters where id = 1") == [(Decimal("0.1234"),)]


def test_rows_without_a_key_or_with_a_taken_one_are_quarantined(
    site: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """They are counted, kept with the reason, and do not stop the others."""
    site.run(
        "create table loose (id int, word varchar(10))",
        "insert into loose values (1, 'a'), (1, 'b'), (null, 'c'), (2, 'd')",
    )
    result = warehouse.load(site, entry("loose"))
    assert counts(result) == {"read": 4, "inserted": 2, "quarantined": 2}
    assert warehouse.rows(
        "select reason, record ->> 'word' from ops.quarantine order by reason"
    ) == [("duplicate key", "b"), ("no key", "c")]  # fmt: skip


def test_nothing_is_half_written_when_the_ledger_fails(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, cursor and ledger row commit together or not at all, and no landing table is left."""
    warehouse.load(letters, entry("letters"))
    letters.run("update letters set title = 'changed'", "delete from letters where id = 1")
    with monkeypatch.context() as patch:
        patch.setattr(deliver, "record", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            warehouse.load(letters, entry("letters"))
    assert warehouse.rows("select count(*) from raw_bitrix.letters where title = 'changed'") == [(0,)]
    assert warehouse.rows("select count(*) from raw_bitrix.letters where _deleted_at is not null") == [(0,)]
    assert warehouse.rows("select count(*) from ops.loads") == [(1,)]
    assert warehouse.rows("select count(*) from pg_tables where tablename like 'landing%'") == [(0,)]
    assert counts(warehouse.load(letters, entry("letters"))) == {"read": 9, "updated": 9, "deleted": 1}


def test_a_load_tells_every_stage_in_order(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """The fault tests kill at these names, so each must come, and where it says."""
    told: list[str] = []
    append = entry("letters", "append", tail=20)
    warehouse.load(letters, append, on_stage=told.append)
    assert told == list(load_module.STAGES)
    told.clear()
    warehouse.load(letters, append, on_stage=told.append)
    assert told == [stage for stage in load_module.STAGES if stage != "copied"]


def test_a_killed_first_copy_goes_on_where_it_was(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Ranges that were committed are not read again, and what changed in them meanwhile is."""
    append = entry("letters", "append", tail=0)
    stages: list[str] = []

    def die_in_the_third(stage: str) -> None:
        stages.append(stage)
        if stages.count("before commit") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warehouse.load(letters, append, chunk_rows=2, on_stage=die_in_the_third)
    assert warehouse.rows("select count(*) from raw_bitrix.letters") == [(4,)]
    letters.run("insert into letters (title) values ('meanwhile')", "delete from letters where id = 2")
    result = warehouse.load(letters, append, chunk_rows=2)
    assert (result.inserted, result.unchanged) == (7, 10)  # 10: the slice with the deleted row, read again whole
    assert result.deleted == 1
    assert "first copy goes on: 2 of 5 ranges are done" in result.notices
    starts = warehouse.rows("select cursor_from from ops.loads where strategy = 'first_copy' order by load_id")
    assert [start for (start,) in starts][:3] == [None, "3", "5"]
    assert len(set(starts)) == len(starts)
    assert warehouse.rows("select outcome from ops.copies") == [("finished",)]


def test_ranges_cover_every_row_once(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Negative, sparse and missing range values all belong to exactly one range."""
    site.run(
        "create table sparse (code varchar(20) primary key, owner_id int)",
        "insert into sparse select concat('c', seq), cast(seq * seq * seq as signed) - 5000 from seq_0_to_99",
        "insert into sparse values ('none', null)",
    )
    sparse = entry("sparse", key=("code",), range_by="owner_id")
    assert counts(warehouse.load(site, sparse, chunk_rows=7)) == {"read": 101, "inserted": 101}
    assert counts(warehouse.load(site, sparse, chunk_rows=13)) == {"read": 101, "unchanged": 101}
    assert warehouse.rows("select count(*) > 5 from ops.loads") == [(True,)]


def test_an_empty_table_is_loaded_as_empty(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """No rows is an answer: the raw table exists and the ledger says so."""
    site.run("create table nothing (id int primary key, at datetime)")
    for strategy in ("full", "append"):
        assert counts(warehouse.load(site, entry("nothing", strategy))) == {}
    assert warehouse.rows("select count(*) from raw_bitrix.nothing") == [(0,)]
    assert warehouse.rows("select count(*) from ops.loads") == [(2,)]
    site.run("insert into nothing values (1, now())")
    assert counts(warehouse.load(site, entry("nothing", "append"))) == {"read": 1, "inserted": 1}


def test_a_missing_table_is_a_notice(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A module that is not installed stops nothing; the table is copied once it is there."""
    gone = entry("b_sender_posting")
    result = warehouse.load(letters, gone)
    assert counts(result) == {}
    assert any("not in the source" in notice for notice in result.notices)
    assert warehouse.rows("select count(*) from raw_bitrix.b_sender_posting") == [(0,)]
    letters.run("create table b_sender_posting (id int primary key)", "insert into b_sender_posting values (1)")
    assert counts(warehouse.load(letters, gone)) == {"read": 1, "inserted": 1}


def test_a_missing_key_is_named(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """The message says which table, so that nobody searches a hundred of them."""
    with pytest.raises(ContractError, match="letters has no column code"):
        warehouse.load(letters, entry("letters", key=("code",)))


def test_a_statement_that_takes_too_long_is_ended(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """The source server ends it, and the error is ours."""
    letters.run("create view slow as select id, sleep(5) as title from letters")
    impatient = Site(letters.dsn, SqlSource(letters.dsn, letters.source.timezone, statement_timeout_seconds=1))
    with pytest.raises(SourceError, match="max_statement_time"):
        warehouse.load(impatient, entry("slow"))


def test_the_zone_of_the_cursor_is_the_sites(deals: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """09:00 UTC is noon in Moscow, and what the site wrote at 11:50 its time is not in the future."""
    deals.run("update deals set date_modify = '2026-11-01 11:50:00' where id = 1")
    modified = entry("deals", "modified", cursor="date_modify", overlap_minutes=5)
    warehouse.load(deals, modified)
    state = warehouse.rows("select state -> 'marks' ->> 'cursor' from ops.cursors")[0][0]
    assert datetime.fromisoformat(state) == datetime(2026, 11, 1, 11, 50)


@pytest.mark.parametrize("goes_direct", [True, False])
def test_every_type_arrives_to_the_last_digit(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch, goes_direct: bool
) -> None:
    """Straight into the raw table or past a landing table."""
    if not goes_direct:
        monkeypatch.setattr(deliver, "_is_direct", lambda *_: False)
    site.run(
        "create table odd (id int unsigned primary key, amount decimal(26,12), big bigint unsigned, at datetime(6),"
        " day date, took time, part double, word varchar(50), bytes varbinary(10), stamp timestamp null,"
        " text longtext)",
        "insert into odd values (4294967295, -0.000000000001, 18446744073709551615, '9999-12-31 23:59:59.999999',"
        " '1000-01-01', '-838:59:59', 0.1, '\\\\N\\t\\n😀', x'00ff', null, concat('a', char(0), 'b'))",
        "insert into odd (id, word, day) values (1, '', '0000-00-00')",
        "set time_zone = '+03:00'",
        "insert into odd (id, stamp) values (2, null)",
    )
    site.run("set time_zone = '+00:00'", "update odd set stamp = '2026-10-25 09:00:00' where id = 2")
    result = warehouse.load(site, entry("odd"))
    assert set(result.notices) >= {"1 zero or impossible dates became null", "1 texts lost their zero bytes"}
    kinds = "amount::text, big::text, at::text, day::text, took::text, part, word, bytes, text"
    assert warehouse.rows(f"select {kinds} from raw_bitrix.odd where id = 4294967295") == [
        (
            "-0.000000000001", "18446744073709551615", "9999-12-31 23:59:59.999999", "1000-01-01", "-838:59:59", 0.1,
            "\\N\t\n😀", b"\x00\xff", "ab",
        )
    ]  # fmt: skip
    assert warehouse.rows("select word, day, amount from raw_bitrix.odd where id = 1") == [("", None, None)]
    # Naive, in the site's zone: 09:00 UTC is noon in Moscow.
    assert warehouse.rows("select stamp::text from raw_bitrix.odd where id = 2") == [("2026-10-25 12:00:00",)]
