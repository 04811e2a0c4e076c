"""What an hourly load compares of a large table: enough to notice what matters, and no more with every year."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.catalog import Trigger
from lettertrail.bitrix.port import Bounds, KeyRange
from lettertrail.clock import fixed_clock
from lettertrail.warehouse import watch
from lettertrail.warehouse.watch import parts_to_compare


@pytest.fixture
def recipients(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Forty postings of a hundred recipients; the last but one is young. A table of this size counts as large."""
    monkeypatch.setattr(watch, "SMALL_KEYS", 1_000)
    monkeypatch.setattr(watch, "TAIL_KEYS", 50)
    monkeypatch.setattr(watch, "SHARE_KEYS", 400)
    site.run(
        "create table postings (id int primary key, status char(1), date_create datetime)",
        "insert into postings select seq, 'S', '2026-01-01 10:00:00' from seq_1_to_40",
        "update postings set date_create = '2026-10-31 10:00:00' where id = 39",
        "create table recipients (id int primary key auto_increment, posting_id int, status char(1),"
        " index (posting_id))",
        "insert into recipients select seq, (seq - 1) div 100 + 1, 'Y' from seq_1_to_4000",
    )
    return site


def entries(entry: EntryMaker) -> tuple[Any, Any]:
    """Postings, and recipients that are read again while their posting is open or young."""
    trigger = Trigger(
        "postings", "id", "posting_id", open_while={"status": ("N", "P")}, young_by="date_create", young_days=3
    )
    return entry("postings"), entry("recipients", "touched_by", tail=10, touched_by=(trigger,))


def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[list[KeyRange]]:
    """The key ranges the source is asked to digest from now on."""
    seen: list[list[KeyRange]] = []
    original = site.source.digests

    def spy(entry: Any, columns: Any, ranges: Any, **options: Any) -> Any:
        seen.append(list(ranges))
        return original(entry, columns, ranges, **options)

    monkeypatch.setattr(site.source, "digests", spy)
    return seen


def load(site: Site, warehouse: Warehouse, entry: EntryMaker, *, hour: int = 0) -> Any:
    """One hourly run; returns what became of the recipients."""
    clock = fixed_clock(NOW + timedelta(hours=hour))
    for table in entries(entry):
        result = warehouse.load(site, table, clock=clock)
    return result


def test_a_rebuilt_posting_is_noticed_in_the_same_hour(
    recipients: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recipients come back under new ids; the old ones, which no rule reads, are asked for and marked."""
    for hour in (0, 1):
        load(recipients, warehouse, entry, hour=hour)
    # Ask for no share in which the old ids lie by chance.
    monkeypatch.setattr(watch, "SHARE_KEYS", 1)
    recipients.run(
        "delete from recipients where posting_id = 39",
        "insert into recipients (posting_id, status) select 39, 'Y' from seq_1_to_90",
    )
    result = load(recipients, warehouse, entry, hour=2)
    assert (result.inserted, result.deleted) == (90, 100)
    gone = warehouse.rows("select min(id), max(id), count(*) from raw_bitrix.recipients where _deleted_at is not null")
    assert gone == [(3801, 3900, 100)]
    assert warehouse.rows("select is_whole, deleted from ops.verifications order by verification_id desc limit 1") == [
        (False, 100)
    ]


def test_a_late_commit_far_below_the_tail_is_noticed(recipients: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Ids commit out of order; more keys at the end are compared than are read again."""
    recipients.run("delete from recipients where id = 3960")
    load(recipients, warehouse, entry)
    recipients.run("insert into recipients values (3960, 40, 'Y')")
    assert load(recipients, warehouse, entry, hour=1).inserted == 1


def test_every_key_comes_round(recipients: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A delete in an old posting is found at the latest when its share is compared, one share an hour."""
    load(recipients, warehouse, entry)
    recipients.run("delete from recipients where id in (5, 2005)")
    found = [load(recipients, warehouse, entry, hour=hour).deleted for hour in range(1, 11)]
    assert sum(found) == 2
    assert found.count(0) >= 8


def test_the_comparison_does_not_grow_with_the_history(
    recipients: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times the rows, and no more keys are looked at."""
    spans = []
    for first in (20_000, 40_000):
        for hour in (0, 1):
            load(recipients, warehouse, entry, hour=hour)
        with monkeypatch.context() as patch:
            seen = asked(recipients, patch)
            load(recipients, warehouse, entry, hour=2)
        assert seen
        assert not any(part.is_everything for ranges in seen for part in ranges)
        spans.append(sum((part.high or 10**6) - (part.low or 0) for ranges in seen for part in ranges if part.high))
        recipients.run(f"insert into recipients select seq, 1, 'Y' from seq_{first}_to_{first + 12_000}")
    assert spans[1] <= spans[0] + 1


def test_a_small_table_is_compared_whole(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs nothing, and nothing is noticed later than it could be."""
    site.run("create table t (id int primary key)", "insert into t select seq from seq_1_to_500")
    warehouse.load(site, entry("t", "append"))
    seen = asked(site, monkeypatch)
    warehouse.load(site, entry("t", "append"))
    assert seen == [[KeyRange()]]


def test_a_link_that_is_gone_is_noticed_with_its_parent(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deal that was changed is read with all its links; one that did not come is asked for again."""
    monkeypatch.setattr(watch, "SMALL_KEYS", 100)
    monkeypatch.setattr(watch, "TAIL_KEYS", 1)
    monkeypatch.setattr(watch, "SHARE_KEYS", 1)
    site.run(
        "create table deals (id int primary key, date_modify datetime)",
        "insert into deals select seq, '2026-10-01 10:00:00' from seq_1_to_500",
        "create table links (deal_id int, contact_id int, primary key (deal_id, contact_id))",
        "insert into links select seq, 1 from seq_1_to_500 union select seq, 2 from seq_1_to_500",
    )
    links = entry(
        "links", "touched_by", key=("deal_id", "contact_id"), range_by="deal_id",
        touched_by=(Trigger("deals", "id", "deal_id", modified_by="date_modify", overlap_minutes=0),),
    )  # fmt: skip
    warehouse.load(site, links)
    site.run(
        "delete from links where (deal_id, contact_id) = (250, 2)",
        "update deals set date_modify = '2026-10-20 10:00:00' where id = 250",
    )
    result = warehouse.load(site, links)
    assert result.deleted == 1
    gone = warehouse.rows("select deal_id, contact_id from raw_bitrix.links where _deleted_at is not null")
    assert gone == [(250, 2)]


def test_what_is_compared_is_a_few_ranges(entry: EntryMaker) -> None:
    """The newest, the watched and this hour's share; all of it only while there is little."""
    append = entry("t", "append", tail=5)
    assert parts_to_compare(append, Bounds(1, 200_000), [], now=NOW) == [KeyRange()]
    parts = parts_to_compare(append, Bounds(1, 50_000_000), [[7, 9], [9, 12]], now=NOW)
    assert parts[0] == KeyRange(7, 12)
    assert parts[-1] == KeyRange(50_000_001 - watch.TAIL_KEYS, None)
    assert len(parts) == 3
    later = parts_to_compare(append, Bounds(1, 50_000_000), [], now=NOW + timedelta(hours=1))
    assert later[0].low == parts[1].high


def test_the_source_is_not_scanned_for_what_changed(recipients: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """The few changed keys come first; an optimizer without statistics would rather read the whole large table."""
    _, table = entries(entry)
    load(recipients, warehouse, entry)
    recipients.run("insert into recipients (posting_id, status) select 1, 'Y' from seq_1_to_200000")
    ((marks,),) = warehouse.rows("select state -> 'marks' from ops.cursors where target = 'raw_bitrix.recipients'")
    columns = recipients.source.columns(table)
    statement = recipients.source._statements.changes(table, columns, {**marks, "id": 203_900}, now=NOW)
    plan = {row[2]: row[3] for row in recipients.rows(f"explain {statement}") if row[0] == 1}
    assert plan["t"] == "eq_ref", plan
