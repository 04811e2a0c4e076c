"""Rows that skip the landing table arrive as those that do not."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.source_site import EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.columns import ARROW_TYPES
from lettertrail.errors import ContractError
from lettertrail.warehouse import deliver, direct
from lettertrail.warehouse.binary import TYPES

ODD = """create table odd (id int unsigned primary key, small smallint, flag tinyint(1),
 at datetime(6), day date, part double, thin float, word varchar(50), code char(3),
 bytes varbinary(10), stamp timestamp null, text longtext, php text, bits bit(3), year year, kind enum('a', 'b'))"""
ROWS = """insert into odd values
 (4294967295, -32768, 1, '9999-12-31 23:59:59.999999', '1000-01-01', 0.1, 1.5,
  '\\\\N\\t\\n😀', 'é', x'00ff', '2026-10-25 09:00:00', concat('a', char(0), 'b'),
  'a:1:{i:0;s:2:"ы";}', b'101', 2026, 'b'),
 (1, null, null, null, '0000-00-00', null, null, null, null, null, null, null, null, null, null, null),
 (2, 0, 0, '1000-01-01 00:00:00', '9999-12-31', -1e300, -0.0, '', '', '',
  '2026-03-29 01:30:00', '', 'no php', b'0', 1901, 'a')"""


def went_direct(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied straight into the raw table from now on."""
    seen: list[str] = []
    original = deliver._go_direct

    def spy(session: Any, work: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(work.target.table)
        return original(session, work, *arguments, **options)

    monkeypatch.setattr(deliver, "_go_direct", spy)
    return seen


def test_both_ways_bring_the_same(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every type, to the last digit, with the same hash, and the same in the ledger."""
    site.run("set sql_mode = ''", "set time_zone = '+00:00'", ODD, ROWS)
    odd = entry("odd", php=("php",), max_quarantined_pct=100.0)
    with monkeypatch.context() as patch:
        patch.setattr(deliver, "_is_direct", lambda *_: False)
        first = warehouse.load(site, odd, run_id="landed")
    columns = "*, _loaded_at is null, _load_id is null"
    landed = warehouse.rows(f"select {columns} from raw_bitrix.odd order by id")
    said = warehouse.rows("select column_name, reason, record, raw from ops.quarantine")
    warehouse.run("drop table raw_bitrix.odd; truncate ops.cursors, ops.quarantine")
    seen = went_direct(monkeypatch)
    second = warehouse.load(site, odd, run_id="direct")
    assert seen == ["odd"]
    held = warehouse.rows(f"select {columns} from raw_bitrix.odd order by id")
    ours = [name for (name,) in warehouse.rows("select attname from pg_attribute where attnum > 0 and"
            " attrelid = 'raw_bitrix.odd'::regclass order by attnum")]  # fmt: skip
    load_id = ours.index("_load_id")
    assert [row[:load_id] + row[load_id + 1 :] for row in held] == [
        row[:load_id] + row[load_id + 1 :] for row in landed
    ]
    assert (first.read, first.inserted, first.notices[1:]) == (second.read, second.inserted, second.notices[1:])
    assert warehouse.rows("select column_name, reason, record, raw from ops.quarantine") == said
    assert warehouse.rows("select php__json from raw_bitrix.odd where id > 5") == [(["ы"],)]
    # Naive, in the site's zone: 09:00 UTC is noon in Moscow.
    assert warehouse.rows("select stamp::text from raw_bitrix.odd where id > 5") == [("2026-10-25 12:00:00",)]


def test_a_column_without_a_binary_form_takes_the_long_way(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interval is cast by PostgreSQL."""
    seen = went_direct(monkeypatch)
    site.run("create table t (id int primary key, took time)", "insert into t values (1, '-838:59:59')")
    assert warehouse.load(site, entry("t")).inserted == 1
    assert seen == []
    assert warehouse.rows("select took::text from raw_bitrix.t") == [("-838:59:59",)]


def test_keys_that_clash_are_quarantined_after_all(
    site: Site,
    warehouse: Warehouse,
    entry: EntryMaker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The copy is refused as a whole; the range is read again and told apart."""
    seen = went_direct(monkeypatch)
    caplog.set_level(logging.DEBUG)
    site.run(
        "create table loose (id int, word varchar(30))",
        "insert into loose values (1, 'a@example.com'), (1, 'b@example.com'), (null, 'c'), (2, 'd'),"
        " (3, 'e'), (4, 'f')",
    )
    result = warehouse.load(site, entry("loose"), chunk_rows=3)
    assert "loose" in seen
    assert (result.read, result.inserted, result.quarantined) == (6, 4, 2)
    assert warehouse.rows("select reason from ops.quarantine order by 1") == [("duplicate key",), ("no key",)]
    assert warehouse.rows("select count(*) from raw_bitrix.loose") == [(4,)]
    assert "@" not in caplog.text


def test_only_an_empty_range_is_filled_directly(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are there are merged with, not run into; an emptied range is filled directly again."""
    site.run("create table t (id int primary key, a int)", "insert into t select seq, 0 from seq_1_to_100")
    append = entry("t", "append", tail=0)
    warehouse.load(site, append)
    seen = went_direct(monkeypatch)
    site.run("update t set a = 1 where id = 50", "alter table t add b int")
    assert warehouse.load(site, append, chunk_rows=30).updated == 100
    assert seen == []
    warehouse.run("delete from raw_bitrix.t where id < 26; delete from ops.cursors")
    result = warehouse.load(site, append, chunk_rows=25)
    assert (result.inserted, result.updated + result.unchanged) == (25, 75)
    assert seen == ["t"]


def test_a_source_that_breaks_off_is_said_to(
    site: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the driver's "broken stream": our own error comes through it, and nothing is stored."""
    site.run("create table t (id int primary key)", "insert into t select seq from seq_1_to_100")

    def broken(*_: Any, **__: Any) -> Any:
        raise ContractError("the cleaner met something")

    monkeypatch.setattr(deliver.Cleaner, "_cleaned", broken)
    with pytest.raises(ContractError, match="met something"):
        warehouse.load(site, entry("t"))
    assert warehouse.rows("select count(*) from raw_bitrix.t") == [(0,)]
    assert warehouse.rows("select count(*) from ops.loads") == [(0,)]


@pytest.mark.parametrize(
    ("wire", "held", "is_direct"),
    [
        ("bigint", "integer", True), ("bigint", "numeric(20,0)", False), ("text", "numeric(20,0)", False),
        ("text", "interval", False), ("timestamp", "date", False), ("text", "jsonb", True), ("text", "text", True),
    ],
)  # fmt: skip
def test_only_types_with_the_same_values_go_directly(wire: str, held: str, is_direct: bool) -> None:
    """Binary COPY checks little: an eight-byte number in a date's place would be stored as some date."""
    column = direct.Column(name="x", select="", digest="", wire_type=wire, pg_type=held)
    assert direct.can_be_copied(column, held) is is_direct


def test_whatever_goes_directly_can_be_written() -> None:
    """The two lists of types must not part."""
    assert {held for _, held in direct._PAIRS} <= TYPES
    assert set(ARROW_TYPES) <= TYPES
