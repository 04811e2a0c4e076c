"""Proving that a copy is its source."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.clock import fixed_clock
from lettertrail.warehouse import compare
from lettertrail.warehouse import verify as verify_module
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


def test_scattered_changes_are_found_with_little_reading(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large slices that differ are looked at more closely, and all that differs is read in one query."""
    monkeypatch.setattr(verify_module, "SLICES", 30)
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("update contacts set blacklisted = 'Y' where id in (30, 90000, 150000, 299997)")
    reads: list[Any] = []
    original = contacts.source.read_ranges

    def spy(entry: Any, columns: Any, ranges: Any) -> Any:
        reads.append(ranges)
        return original(entry, columns, ranges)

    monkeypatch.setattr(contacts.source, "read_ranges", spy)
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert (found.differing, found.repair.updated) == (4, 4)
    assert found.repair.read < 1_000
    assert len(reads) == 1
    assert len(reads[0]) == 4


def test_a_proof_has_a_time(contacts: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Keys alone prove nothing; whole rows do, also after a repair."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    assert verify(contacts, append, warehouse, whole_rows=False).proven_at is None
    contacts.run("update contacts set blacklisted = 'Y' where id = 3000")
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert (found.differing, found.differing_after, found.proven_at) == (1, 0, NOW)
    assert warehouse.rows(
        "select method, differing_after, proven_at from ops.verifications where run_id = 'verify'"
    ) == [
        ("keys", 0, None),
        ("rows", 0, NOW),
    ]


def test_a_row_is_deleted_on_evidence_only(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest that lacks a row makes us ask again; the row that is there then stays, the one that is not is marked."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("delete from contacts where id = 6000")
    original = contacts.source.digests

    def forgetful(*arguments: Any, **options: Any) -> Any:
        digests = original(*arguments, **options)
        digests.pop(next(number for number in digests if number > 200))
        return digests

    monkeypatch.setattr(contacts.source, "digests", forgetful)
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert found.differing > 1
    assert found.repair.deleted == 1
    assert warehouse.rows("select id from raw_bitrix.contacts where _deleted_at is not null") == [(6000,)]
    assert warehouse.rows("select deleted from ops.verifications where run_id = 'verify'") == [(1,)]


def test_rows_that_change_all_the_time_can_be_proven(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is edited between any two questions differs every time; the copy is right as of the reading."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    original = contacts.source.digests

    def restless(*arguments: Any, **options: Any) -> Any:
        contacts.run("update contacts set blacklisted = if(blacklisted = 'Y', 'N', 'Y') where id = 3000")
        return original(*arguments, **options)

    monkeypatch.setattr(contacts.source, "digests", restless)
    for _ in range(2):
        found = verify(contacts, append, warehouse, whole_rows=True)
        assert found.repair.read < 1_000
        assert found.is_proven


def test_what_cannot_be_stored_is_no_proof(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Twins in the source: one is quarantined, so the copy is not the source, and it says so every time."""
    site.run("create table loose (id int, word varchar(9), index (id))")
    site.run("insert into loose values (1, 'a'), (1, 'b'), (2, 'c')")
    loose = entry("loose")
    warehouse.load(site, loose)
    for _ in range(2):
        found = verify(site, loose, warehouse, whole_rows=True)
        assert (found.differing_after, found.proven_at, found.is_proven) == (1, None, False)
        assert found.repair.quarantined == 1


def test_a_copy_that_loses_values_is_no_proof(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows held after the repair are compared with those it read."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("update contacts set blacklisted = 'Y' where id = 3000")
    warehouse.run(
        "create function public.lose() returns trigger language plpgsql as"
        " $$ begin new._row_hash = new._row_hash + 1; return new; end $$;"
        "create trigger lose before update on raw_bitrix.contacts for each row execute function public.lose()"
    )
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert (found.differing, found.differing_after, found.proven_at) == (1, 1, None)


def test_a_source_without_digests_is_read_whole(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portal computes no sums; everything is read and merged, and that is a proof as well."""
    append = entry("contacts", "append")
    warehouse.load(contacts, append)
    contacts.run("update contacts set blacklisted = 'Y' where id = 3000", "delete from contacts where id = 6000")
    monkeypatch.setattr(contacts.source, "digests", lambda *_, **__: None)
    found = verify(contacts, append, warehouse, whole_rows=True)
    repair = found.repair
    assert (repair.read, repair.updated, repair.deleted) == (99_999, 1, 1)
    assert (found.source_rows, found.warehouse_rows, found.differing, found.proven_at) == (99_999, 100_000, 1, NOW)
    assert verify(contacts, append, warehouse, whole_rows=True).differing == 0
    assert warehouse.load(contacts, append).deleted == 0


def test_rows_without_a_range_are_compared_too(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A column that may be NULL cuts no slices: such rows would be in none of them."""
    site.run(
        "create table t (code varchar(9) primary key, owner_id int, word varchar(9))",
        "insert into t values ('a', 1, 'x'), ('b', null, 'y')",
    )
    table = entry("t", key=("code",), range_by="owner_id")
    warehouse.load(site, table)
    site.run("update t set word = 'z' where code = 'b'")
    found = verify(site, table, warehouse, whole_rows=True)
    assert (found.slices, found.repair.updated) == (1, 1)


def test_what_is_not_copied_is_not_verified(contacts: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Comparing with an old column list, a half copy or a missing table would read everything, or delete it."""
    append = entry("contacts", "append")
    for table in (append, entry("b_sender_posting")):
        found = verify(contacts, table, warehouse, whole_rows=True)
        assert (found.slices, found.proven_at, found.repair.read) == (0, None, 0)
    warehouse.load(contacts, append)
    contacts.run("alter table contacts add colour varchar(9) default 'red'")
    assert verify(contacts, append, warehouse, whole_rows=True).repair.read == 0


def test_pieces_meet_without_a_gap(
    contacts: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is asked on two connections, for parts of the table that hold every row once."""
    monkeypatch.setattr(compare, "_PIECE_KEYS", 1_000)
    append = entry("contacts", "append")
    contacts.run("insert into contacts values (4000000000, 'last', 'N')")
    warehouse.load(contacts, append)
    threads: set[int] = set()
    original = contacts.source.digests

    def spy(*arguments: Any, **options: Any) -> Any:
        threads.add(threading.get_ident())
        return original(*arguments, **options)

    monkeypatch.setattr(contacts.source, "digests", spy)
    found = verify(contacts, append, warehouse, whole_rows=True)
    assert (found.differing, found.source_rows) == (0, 100_001)
    assert len(threads) == 2
