"""Proving that a copy is its source."""

from __future__ import annotations

from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.clock import fixed_clock
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.verify import Verification, verify_table


@pytest.fixture
def contacts(site: Site) -> Site:
    """A hundred thousand addresses with gaps, whose flags change without a trace."""
    site.run(
        "create table contacts (id int unsigned primary key, code varchar(50), blacklisted char(1))",
        "insert into contacts select seq * 3, concat('a', seq, '@example.com'), 'N' from seq_1_to_100000",
    )
    return site


def verify(site: Site, entry: Any, warehouse: Warehouse, *, whole_rows: bool) -> Verification:
    """One verification, its sums checked."""
    found = verify_table(
        site.source, entry, warehouse.dsn, run_id="verify", clock=fixed_clock(NOW), whole_rows=whole_rows
    )
    check_balance(warehouse.dsn, run_id="verify")
    return found


def test_a_true_copy_is_proven_without_reading_a_row(contacts: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Both methods agree, and nothing is read again."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    for whole_rows in (False, True):
        found = verify(contacts, append, warehouse, whole_rows=whole_rows)
        assert found.is_proven
        assert (found.source_rows, found.warehouse_rows, found.repair.read) == (100_000, 100_000, 0)
        assert found.slices > 100


def test_a_silent_edit_is_seen_and_only_its_range_is_read(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """An edit without a change time is invisible to the keys and visible to the row hashes."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("update contacts set blacklisted = 'Y' where id in (30000, 30003)")
    assert warehouse.load(contacts, append).updated == 0
    assert verify(contacts, append, warehouse, whole_rows=False).is_proven
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert (found.differing, found.repair.updated) == (1, 2)
    assert found.repair.read < 1_000
    assert verify(contacts, append, warehouse, whole_rows=True).is_proven
    assert warehouse.rows("select count(*) from raw_bitrix.contacts where blacklisted = 'Y'") == [(2,)]
    methods = warehouse.rows("select method, differing from ops.verifications where run_id = 'verify' order by 1, 2")
    assert methods == [("keys", 0), ("rows", 0), ("rows", 1)]


def test_damage_in_the_warehouse_is_repaired(contacts: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Rows lost from the copy come back; rows the source never had are marked."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    with_damage = (
        "delete from raw_bitrix.contacts where id between 6000 and 6300",
        "insert into raw_bitrix.contacts select 7, 'x', 'N', 1, now(), 1, null",
    )
    for statement in with_damage:
        warehouse.run(statement)
    found = verify(contacts, append, warehouse, whole_rows=False)
    assert (found.repair.inserted, found.repair.deleted) == (101, 1)
    assert verify(contacts, append, warehouse, whole_rows=True).is_proven


def test_keys_that_moved_towards_each_other_are_seen(contacts: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Two deletes and two inserts can keep the count and the sum of the keys; the sum of their squares tells."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("update contacts set id = id + 1 where id = 30000", "update contacts set id = id - 1 where id = 30003")
    found = verify(contacts, append, warehouse, whole_rows=False)
    assert (found.repair.inserted, found.repair.deleted) == (2, 2)
    assert verify(contacts, append, warehouse, whole_rows=True).is_proven


@pytest.mark.parametrize("key", [("code",), ("owner_id", "code")])
def test_text_keys_are_compared_byte_for_byte(
    site: Site, warehouse: Warehouse, entry: EntryMaker, key: tuple[str, ...]
) -> None:
    """Key hashes agree for Cyrillic, emoji, other character sets and negative numbers."""
    site.run(
        "create table words (owner_id int not null, code varchar(20) character set cp1251, note varchar(20),"
        " primary key (owner_id, code))",
        "insert into words values (-1500, 'Привет', '😀'), (0, 'a', ''), (7, 'B ', null), (-499, 'x', 'y')",
    )
    words = entry("words", key=key, range_by="owner_id" if len(key) > 1 else None)
    warehouse.load(site, words)
    for whole_rows in (False, True):
        assert verify(site, words, warehouse, whole_rows=whole_rows).is_proven
    site.run("delete from words where owner_id = -1500")
    found = verify(site, words, warehouse, whole_rows=False)
    assert (found.differing, found.repair.deleted) == (1, 1)


def test_every_slice_is_repaired_where_it_lies(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Negative slices end where they begin; the middle one is twice as wide."""
    site.run(
        "create table axis (id int primary key, word varchar(10))",
        "insert into axis select cast(seq as signed) - 3000, 'a' from seq_0_to_6000",
    )
    axis = entry("axis", "append", tail=0)
    warehouse.load(site, axis)
    edges = (-3000, -2000, -1501, -1500, -1499, -501, -500, -499, 0, 499, 500, 999, 1000, 3000)
    for edge in edges:
        site.run(f"update axis set word = 'b' where id = {edge}")
        found = verify(site, axis, warehouse, whole_rows=True)
        assert (found.differing, found.repair.updated) == (1, 1), edge
    assert verify(site, axis, warehouse, whole_rows=True).is_proven
