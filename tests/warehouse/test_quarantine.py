"""What cannot be stored: kept with its bytes, counted, and too much of it stops the load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from tests.source_site import EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.port import Rows, Unreadable
from lettertrail.errors import ContractError
from lettertrail.warehouse import clean, deliver

Garble = Callable[[set[int], bool], None]


@pytest.fixture(params=["direct", "landed"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight into the raw table, or past a landing table."""
    if request.param == "landed":
        monkeypatch.setattr(deliver, "_is_direct", lambda *_: False)


@pytest.fixture
def letters(site: Site) -> Site:
    """A thousand letters."""
    site.run(
        "create table letters (id int primary key, title varchar(40))",
        "insert into letters select seq, 'anna@example.com' from seq_1_to_1000",
    )
    return site


@pytest.fixture
def garble(letters: Site, monkeypatch: pytest.MonkeyPatch) -> Garble:
    """Makes rows unreadable, with or without a readable key."""
    bad: set[int] = set()
    knows_key = [True]

    def without(batches: Iterator[pa.RecordBatch], unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keys = batch.column("id").to_pylist()
            for key in bad & set(keys):
                raw = {"title": b"\xff\xfe".hex()}
                unreadable.append(Unreadable(str(key) if knows_key[0] else None, "a text is no UTF-8", raw))
            yield batch.filter(pa.array([key not in bad for key in keys]))

    for name in ("read_ranges", "read_changes"):
        original = getattr(letters.source, name)

        def reading(*arguments: Any, _original: Any = original, **options: Any) -> Rows:
            unreadable: list[Unreadable] = []
            return Rows(without(_original(*arguments, **options), unreadable), unreadable)

        monkeypatch.setattr(letters.source, name, reading)

    def make(ids: set[int], with_key: bool) -> None:
        bad.clear()
        bad.update(ids)
        knows_key[0] = with_key

    return make


@pytest.mark.usefixtures("both_ways")
def test_unreadable_rows_are_kept_with_their_bytes(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, garble: Garble
) -> None:
    """They are read and quarantined; the sums hold, and the others are stored."""
    garble({3, 999}, True)
    result = warehouse.load(letters, entry("letters"))
    assert (result.read, result.inserted, result.quarantined) == (1000, 998, 2)
    kept = warehouse.rows("select reason, record, raw, column_name from ops.quarantine order by quarantine_id")
    assert kept == [("a text is no UTF-8", {"key": key}, {"title": "fffe"}, None) for key in ("3", "999")]
    assert "2 rows quarantined" in result.notices


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("with_key", "deleted"), [(True, 1), (False, 0)])
def test_an_unreadable_row_is_not_taken_for_a_deleted_one(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, garble: Garble, with_key: bool, deleted: int
) -> None:
    """It is in the source; when its key is not known, nothing of the range is marked."""
    warehouse.load(letters, entry("letters"))
    letters.run("delete from letters where id = 500")
    garble({3}, with_key)
    assert warehouse.load(letters, entry("letters")).deleted == deleted
    assert warehouse.rows("select count(*) from raw_bitrix.letters where id = 3 and _deleted_at is null") == [(1,)]


@pytest.mark.usefixtures("both_ways")
def test_too_many_stop_the_load(letters: Site, warehouse: Warehouse, entry: EntryMaker, garble: Garble) -> None:
    """Nothing is stored, nothing is recorded, and the message says how many and which setting allows more."""
    garble(set(range(1, 12)), True)
    with pytest.raises(ContractError, match=r"11 of 1000 rows .* more than 1 %.*max_quarantined_pct"):
        warehouse.load(letters, entry("letters"))
    for table in ("raw_bitrix.letters", "ops.loads", "ops.quarantine", "ops.cursors"):
        assert warehouse.rows(f"select count(*) from {table}") == [(0,)]
    assert warehouse.load(letters, entry("letters", max_quarantined_pct=1.5)).quarantined == 11
    garble(set(range(1, 11)), True)
    assert warehouse.load(letters, entry("letters")).quarantined == 10


@pytest.mark.usefixtures("both_ways")
def test_a_handful_never_stops_a_load(site: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """A table of ten rows with nine twins is odd, not broken."""
    site.run("create table loose (id int)", "insert into loose select 1 from seq_1_to_10")
    assert warehouse.load(site, entry("loose")).quarantined == 9
    site.run("insert into loose values (1)")
    with pytest.raises(ContractError, match="10 of 11"):
        warehouse.load(site, entry("loose"))


PHP = {1: 'a:1:{s:4:"NAME";s:8:"Анна";}', 2: "no php", 3: "", 4: None, 5: 'O:1:"A":1:{s:4:"\0A\0b";i:1;}'}
JSON = {1: {"NAME": "Анна"}, 2: None, 3: None, 4: None, 5: {"__class": "A", "b": 1}}


@pytest.fixture
def settings(site: Site) -> Site:
    """Rows with a PHP-serialized column, one of them broken."""
    site.run("create table settings (id int primary key, fields longtext, other int)")
    for key, text in PHP.items():
        value = "null" if text is None else "'" + text.replace("\0", "\\0") + "'"
        site.run(f"insert into settings values ({key}, {value}, 0)")
    return site


@pytest.mark.usefixtures("both_ways")
def test_php_is_parsed_beside_the_untouched_text(settings: Site, warehouse: Warehouse, entry: EntryMaker) -> None:
    """What is no PHP is NULL there and kept with its bytes, its row is stored, and the load's sums do not count it."""
    table = entry("settings", php=("fields", "not_here"))
    result = warehouse.load(settings, table)
    assert (result.read, result.inserted, result.quarantined) == (5, 5, 0)
    assert "1 values are no PHP" in result.notices
    assert dict(warehouse.rows("select id, fields__json from raw_bitrix.settings")) == JSON
    texts = dict(warehouse.rows("select id, fields from raw_bitrix.settings"))
    assert texts == {key: text and text.replace("\0", "") for key, text in PHP.items()}
    kept = warehouse.rows("select column_name, record, raw from ops.quarantine")
    assert kept == [("fields", {"id": 2}, {"fields": b"no php".hex()})]


@pytest.mark.usefixtures("both_ways")
def test_a_broken_value_is_reported_when_its_row_is_written(
    settings: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """A table that is read whole every hour would otherwise report it every hour."""
    table = entry("settings", php=("fields",))
    for _ in range(2):
        warehouse.load(settings, table)
    assert warehouse.rows("select count(*) from ops.quarantine") == [(1,)]
    settings.run("update settings set other = 1 where id = 2")
    warehouse.load(settings, table)
    assert warehouse.rows("select count(*) from ops.quarantine") == [(2,)]


@pytest.mark.usefixtures("both_ways")
def test_a_column_declared_wrongly_does_not_fill_the_disk(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are counted, some are kept."""
    monkeypatch.setattr(clean, "MOST_UNPARSED", 7)
    result = warehouse.load(letters, entry("letters", php=("title",)))
    assert "1000 values are no PHP" in result.notices
    assert warehouse.rows("select count(*) from ops.quarantine") == [(7,)]


def test_a_column_that_is_now_parsed_is_parsed_for_every_row(
    settings: Site, warehouse: Warehouse, entry: EntryMaker
) -> None:
    """The catalogue gained a `php` column: the table is copied anew."""
    warehouse.load(settings, entry("settings", "append", tail=0))
    warehouse.load(settings, entry("settings", "append", tail=0, php=("fields",)))
    assert dict(warehouse.rows("select id, fields__json from raw_bitrix.settings")) == JSON


def names(found: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The first column."""
    return [row[0] for row in found]


def test_refused_rows_are_never_logged(
    letters: Site, warehouse: Warehouse, entry: EntryMaker, garble: Garble, caplog: pytest.LogCaptureFixture
) -> None:
    """Their contents are in the quarantine only."""
    caplog.set_level("DEBUG")
    garble({3}, True)
    warehouse.load(letters, entry("letters", php=("title",)))
    assert "anna" not in caplog.text
    assert "anna" not in str(names(warehouse.rows("select notices::text from ops.loads")))
