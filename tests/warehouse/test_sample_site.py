"""The whole catalogue on the sample site: the copy is the source, value for value."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.source_site import NOW, ZONE

from lettertrail.bitrix.catalog import TableEntry, load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.mariadb import connect
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.ledger import LoadResult, check_balance
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.target import OUR_COLUMNS
from lettertrail.warehouse.verify import verify_table

if TYPE_CHECKING:
    from lettertrail.sandbox.bitrix_site import Site as BitrixSite

ENTRIES = load_catalog()
Loaded = tuple[str, "BitrixSite", dict[str, LoadResult]]


@pytest.fixture(scope="module")
def loaded(postgres: EmbeddedPostgres, bitrix_site_small: BitrixSite) -> Loaded:
    """A warehouse that holds the small site, and what its first load said."""
    dsn = postgres.ensure_database("sample_site")
    migrate(dsn)
    return dsn, bitrix_site_small, load_all(bitrix_site_small, dsn, run_id="first")


def load_all(site: BitrixSite, dsn: str, *, run_id: str) -> dict[str, LoadResult]:
    """One run over the whole catalogue, as the reader who may only SELECT."""
    source = SqlSource(site.reader_dsn, ZONE)
    results = {entry.name: load_table(source, entry, dsn, run_id=run_id, clock=fixed_clock(NOW)) for entry in ENTRIES}
    assert check_balance(dsn, run_id=run_id) >= len(ENTRIES)
    return results


def source_rows(site: BitrixSite, entry: TableEntry) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows as MySQLdb reads them: another driver, another query, no guards."""
    connection = connect(site.owner_dsn)
    try:
        cursor = connection.cursor()
        if not cursor.execute(f"show tables like '{entry.name}'"):
            return [], []
        cursor.execute(f"select * from `{entry.name}`")
        names = [column[0].lower() for column in cursor.description]
        kept = [position for position, name in enumerate(names) if entry.extracts(name)]
        rows = [tuple(plain(row[position]) for position in kept) for row in cursor.fetchall()]
    finally:
        connection.close()
    return [names[position] for position in kept], rows


def plain(value: Any) -> Any:
    """Values of both drivers in one shape; MySQLdb gives zero dates back as None or as text."""
    if isinstance(value, str) and value.startswith("0000-00-00"):
        return None
    if isinstance(value, Decimal):
        # An unsigned bigint is a numeric in the warehouse and an int to MySQLdb.
        return str(value) if value.as_tuple().exponent else int(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, str):
        # PHP's private properties; PostgreSQL takes no zero byte in a text.
        return value.replace("\0", "")
    return value


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_raw_equals_source(loaded: Loaded, entry: TableEntry) -> None:
    """Every value of every column of every row, by an independent reading."""
    dsn, site, results = loaded
    names, expected = source_rows(site, entry)
    with psycopg.connect(dsn) as connection:
        columns = connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0",
            [f"raw_bitrix.{entry.name}"],
        ).fetchall()
        parsed = {f"{name}__json" for name in entry.php if name in names}
        assert not names or {name for (name,) in columns} == {*names, *OUR_COLUMNS, *parsed}
        listed = ", ".join(f'"{name}"' for name in names) or "1"
        held = connection.execute(f"select {listed} from raw_bitrix.{entry.name}").fetchall()
    assert sorted(map(repr, (tuple(map(plain, row)) for row in held))) == sorted(map(repr, expected))
    result = results[entry.name]
    assert (result.read, result.inserted, result.deleted) == (len(expected), len(expected), 0)


def test_a_second_run_changes_nothing(loaded: Loaded) -> None:
    """0 inserted, 0 updated, 0 deleted on every table; most rows are not even read."""
    dsn, site, first = loaded
    second = load_all(site, dsn, run_id="second")
    changed = {name: result for name, result in second.items() if result.inserted or result.updated or result.deleted}
    assert changed == {}
    assert sum(result.read for result in second.values()) < sum(result.read for result in first.values())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_copy_is_proven(loaded: Loaded, entry: TableEntry) -> None:
    """The nightly comparison of whole rows finds nothing to repair."""
    dsn, site, _ = loaded
    source = SqlSource(site.reader_dsn, ZONE)
    found = verify_table(source, entry, dsn, run_id="nightly", clock=fixed_clock(NOW), whole_rows=True)
    assert found.is_proven, found
    assert found.source_rows == found.warehouse_rows


def test_the_sample_has_the_oddities_that_are_to_be_survived(loaded: Loaded) -> None:
    """Zero dates in it, or the comparison above proves less than it seems to."""
    _, _, results = loaded
    notices = [notice for result in results.values() for notice in result.notices]
    assert any("zero or impossible dates became null" in notice for notice in notices)
