"""Several tables in one go."""

from __future__ import annotations

import pytest
from tests.source_site import NOW, EntryMaker, Site
from tests.warehouse.conftest import Warehouse

from lettertrail.bitrix.areas import areas, tables_of
from lettertrail.bitrix.catalog import Trigger, load_catalog
from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.warehouse.load_area import load_tables


def test_a_failing_table_does_not_keep_the_others_stale(warehouse: Warehouse, site: Site, entry: EntryMaker) -> None:
    """The tables before and after it are loaded, and the error names it."""
    site.run(
        "create table good (id int primary key)", "insert into good values (1), (2)",
        "create table bad (other int)", "create table late (id int primary key)", "insert into late values (3)",
    )  # fmt: skip
    with pytest.raises(ContractError, match="bad"):
        load_tables(
            site.source, [entry("good"), entry("bad"), entry("late")], warehouse.dsn,
            run_id="run", clock=fixed_clock(NOW),
        )  # fmt: skip
    assert warehouse.rows("select count(*) from raw_bitrix.good") == [(2,)]
    assert warehouse.rows("select count(*) from raw_bitrix.late") == [(1,)]


def test_every_failed_table_is_named(warehouse: Warehouse, site: Site, entry: EntryMaker) -> None:
    """One message for the person who has to act."""
    site.run("create table one (other int)", "create table two (other int)")
    with pytest.raises(ContractError, match=r"2 tables failed: one: .*; two: "):
        load_tables(site.source, [entry("one"), entry("two")], warehouse.dsn, run_id="run", clock=fixed_clock(NOW))


def test_an_area_waits_for_what_touches_it(entry: EntryMaker) -> None:
    """Areas and the tables in them come after those that say what to re-read."""
    touched = (Trigger(table="parent", column="id", matches="parent_id", modified_by="changed"),)
    entries = [
        entry("child", "touched_by", touched_by=touched, area="links"),
        entry("parent", area="cards"),
        entry("sibling", "touched_by", touched_by=(Trigger("child", "id", "child_id", new_by="id"),), area="links"),
    ]
    assert areas(entries) == {"cards": (), "links": ("cards",)}
    assert [item.name for item in tables_of("links", entries)] == ["child", "sibling"]


def test_areas_must_not_wait_for_each_other(entry: EntryMaker) -> None:
    """A circle would never start."""
    entries = [
        entry("a", "touched_by", touched_by=(Trigger("b", "id", "b_id", new_by="id"),), area="one"),
        entry("b", "touched_by", touched_by=(Trigger("a", "id", "a_id", new_by="id"),), area="two"),
    ]
    with pytest.raises(ConfigurationError, match="wait for each other"):
        areas(entries)


def test_the_catalog_has_no_circles() -> None:
    """The areas of the real one can be put in order, and so can the tables in each."""
    entries = load_catalog()
    found = [item.name for area in areas(entries) for item in tables_of(area, entries)]
    assert sorted(found) == sorted(entry.name for entry in entries)
