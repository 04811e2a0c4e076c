"""Reading a table, or a part of it, again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.port import KeyRange
from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.reload import Reload, reload_table


@pytest.fixture
def letters(site: Site, warehouse: Warehouse, entry: EntryMaker) -> Site:
    """Two thousand letters, copied; then some were edited and some deleted without a trace."""
    site.run(
        "create table letters (id int primary key, title varchar(20))",
        "insert into letters select seq, concat('letter ', seq) from seq_1_to_2000",
    )
    warehouse.load(site, entry("letters", "append"))
    site.run("update letters set title = 'edited' where id in (10, 700, 1500)", "delete from letters where id = 701")
    return site


def reload(site: Site, warehouse: Warehouse, entry: Any, *arguments: Any, **options: Any) -> Reload:
    """One reload, its sums checked."""
    done = reload_table(
        site.source, entry, warehouse.dsn, *arguments, run_id="reload", clock=fixed_clock(NOW), **options
    )
    check_balance(warehouse.dsn, run_id="reload")
    return done


def titles(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """The ids of edited rows in the copy."""
    return warehouse.rows("select id from raw_bitrix.letters where title = 'edited' order by id")


def test_a_dry_run_says_what_there_is_to_do(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Rows, ranges and differences; nothing is changed, and nothing is recorded as a load."""
    append = entry("letters", "append")
    before = warehouse.rows("select count(*) from ops.loads")
    said = reload(letters, warehouse, append, range_rows=500)
    assert (said.dry_run, said.ranges, said.rows, said.warehouse_rows) == (True, 4, 1999, 2000)
    assert (said.slices, said.differing) == (5, 3)
    part = reload(letters, warehouse, append, KeyRange(600, 800))
    assert (part.rows, part.warehouse_rows, part.differing) == (199, 200, 1)
    assert titles(warehouse) == []
    assert warehouse.rows("select count(*) from ops.loads") == before
    assert warehouse.rows("select count(*) from ops.copies where kind = 'reload'") == [(0,)]


def test_a_range_is_read_again_and_nothing_else(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Edits come, deletes are marked, rows that are the same are left alone."""
    append = entry("letters", "append")
    done = reload(letters, warehouse, append, KeyRange(600, 800), dry_run=False, range_rows=100)
    result = done.result
    assert (result.read, result.updated, result.unchanged, result.deleted) == (199, 1, 198, 1)
    assert titles(warehouse) == [(700,)]
    assert warehouse.rows("select id from raw_bitrix.letters where _deleted_at is not null") == [(701,)]
    assert warehouse.rows("select distinct strategy from ops.loads where run_id = 'reload'") == [("reload",)]
    assert warehouse.rows("select kind, low, high, outcome from ops.copies where kind = 'reload'") == [
        ("reload", 600, 800, "finished")
    ]
    everything = reload(letters, warehouse, append, dry_run=False)
    assert everything.result.updated == 2
    assert titles(warehouse) == [(10,), (700,), (1500,)]


def test_a_killed_reload_goes_on(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """Ranges that are done are not read again; another range is another reload."""
    append = entry("letters", "append")
    stages: list[str] = []

    def die_in_the_third(stage: str) -> None:
        stages.append(stage)
        if stages.count("before commit") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reload(letters, warehouse, append, dry_run=False, range_rows=500, on_stage=die_in_the_third)
    assert titles(warehouse) == [(10,), (700,)]
    assert reload(letters, warehouse, append, dry_run=False, range_rows=500).ranges == 2
    assert titles(warehouse) == [(10,), (700,), (1500,)]


def test_the_watermarks_stay(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A reload of an old range must not make the next load skip new rows."""
    append = entry("letters", "append", tail=0)
    before = warehouse.rows("select state from ops.cursors")
    letters.run("insert into letters values (3000, 'new')")
    reload(letters, warehouse, append, KeyRange(None, 100), dry_run=False)
    assert warehouse.rows("select state from ops.cursors") == before
    assert warehouse.load(letters, append).inserted == 1


def test_what_was_never_copied_is_not_reloaded(letters: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A first copy is planned and finished by its own rules."""
    letters.run("create table other (code varchar(9) primary key)")
    with pytest.raises(ContractError, match="load it first"):
        reload(letters, warehouse, entry("other", key=("code",), range_by=None))
    with pytest.raises(ContractError, match="reload it whole"):
        reload(letters, warehouse, entry("other", key=("code",), range_by=None), KeyRange(1, 2))
