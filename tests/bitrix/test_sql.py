"""Reading MySQL and MariaDB: odd values, hashes, sessions and refusals."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from tests.source_site import NOW, ZONE, EntryMaker, Site

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.mysql import mysql_column, quote
from lettertrail.bitrix.port import ROW_HASH, ZEROED, Bounds, KeyRange
from lettertrail.bitrix.sql import SqlSource, split
from lettertrail.errors import ConfigurationError, ContractError, SourceError


def read(site: Site, entry: TableEntry, key_range: KeyRange | None = None) -> list[dict[str, Any]]:
    """All rows of a range, in key order."""
    columns = site.source.columns(entry)
    batches = list(site.source.read_ranges(entry, columns, [key_range or KeyRange()]))
    return sorted(pa.Table.from_batches(batches).to_pylist(), key=lambda row: row["id"])


def values(site: Site, kind: str, *literals: str, entry: EntryMaker) -> list[Any]:
    """What the source yields for values of a column type, in order."""
    table = "odd"
    site.run(f"drop table if exists {table}", f"create table {table} (id int primary key auto_increment, v {kind})")
    for literal in literals:
        # As a Bitrix site writes: without sql_mode, and with dates nobody checked.
        site.run("set sql_mode = 'allow_invalid_dates'", f"insert into {table} (v) values ({literal})")
    return [row["v"] for row in read(site, entry(table))]


DATES = ["'2024-02-29'", "'0000-00-00'", "'2024-00-10'", "'2024-02-30'", "'0000-01-01'", "'1000-01-01'", "'9999-12-31'"]


def test_dates_that_do_not_exist_become_null_and_are_counted(site: Site, entry: EntryMaker) -> None:
    """Zero dates, zero months, the 30th of February and the year 0; the sentinels stay."""
    assert values(site, "date", *DATES, "null", entry=entry) == [
        dt.date(2024, 2, 29), None, None, None, None, dt.date(1000, 1, 1), dt.date(9999, 12, 31), None,
    ]  # fmt: skip
    assert [row[ZEROED] for row in read(site, entry("odd"))] == [0, 1, 1, 1, 1, 0, 0, 0]


def test_times_that_do_not_exist_become_null_and_are_counted(site: Site, entry: EntryMaker) -> None:
    """The same for datetime; fractions survive where the column has them."""
    literals = ["'2024-02-29 23:59:59'", "'0000-00-00 00:00:00'", "'2023-02-29 10:00:00'", "'9999-12-31 23:59:59'"]
    assert values(site, "datetime", *literals, entry=entry) == [
        dt.datetime(2024, 2, 29, 23, 59, 59), None, None, dt.datetime(9999, 12, 31, 23, 59, 59)
    ]  # fmt: skip
    assert values(site, "datetime(6)", "'2024-01-01 00:00:00.123456'", entry=entry) == [
        dt.datetime(2024, 1, 1, 0, 0, 0, 123456)
    ]


@pytest.mark.parametrize(
    ("kind", "literals", "expected"),
    [
        ("time", ["'-838:59:59'", "'-00:00:01'", "'10:00'"], ["-838:59:59", "-00:00:01", "10:00:00"]),
        ("decimal(18,2)", ["-0.01", "9999999999999999.99", "1"], ["-0.01", "9999999999999999.99", "1.00"]),
        ("decimal(26,12)", ["0.000000000001", "-1"], ["0.000000000001", "-1.000000000000"]),
        ("decimal(40,0)", ["9" * 40], ["9" * 40]),
        ("int unsigned", ["4294967295", "0"], [4294967295, 0]),
        ("bigint unsigned", ["18446744073709551615"], ["18446744073709551615"]),
        ("bigint", ["-9223372036854775808"], [-9223372036854775808]),
        ("tinyint unsigned", ["255"], [255]),
        ("tinyint", ["-128"], [-128]),
        ("year", ["2024"], [2024]),
        ("bit(9)", ["b'111111111'"], [511]),
        ("double", ["0.1", "-1e300"], [0.1, -1e300]),
        ("varchar(50)", ["'😀 Привет'", "''", "null"], ["😀 Привет", "", None]),
        ("varchar(50) character set cp1251", ["'Привет'"], ["Привет"]),
        ("varchar(50) character set latin1", ["'é'"], ["é"]),
        ("char(10)", ["'ab  '"], ["ab"]),
        ("longtext", ["concat('a', char(0 using utf8mb4), 'b')"], ["a\0b"]),
        ("enum('a','b')", ["'b'"], ["b"]),
        ("set('x','y')", ["'x,y'"], ["x,y"]),
        ("varbinary(5)", ["x'00ff'"], [b"\x00\xff"]),
    ],
)
def test_odd_values_come_through(
    site: Site, entry: EntryMaker, kind: str, literals: list[str], expected: list[Any]
) -> None:
    """Every type arrives as it is, or as text that PostgreSQL casts without loss."""
    assert values(site, kind, *literals, entry=entry) == expected


@pytest.mark.parametrize(
    ("column_type", "pg_type"),
    [
        ("int(11)", "integer"), ("int(10) unsigned", "bigint"), ("bigint(20)", "bigint"),
        ("bigint(20) unsigned", "numeric(20,0)"), ("tinyint(4)", "smallint"), ("tinyint(3) unsigned", "integer"),
        ("smallint(6)", "smallint"), ("mediumint(8) unsigned", "integer"), ("decimal(18,4)", "numeric(18,4)"),
        ("double(18,4)", "double precision"), ("float", "double precision"), ("datetime", "timestamp"),
        ("timestamp", "timestamp"), ("date", "date"), ("time", "interval"), ("char(1)", "text"), ("longtext", "text"),
        ("blob", "bytea"), ("geometry", "text"),
    ],
)  # fmt: skip
def test_types_are_mapped_honestly(column_type: str, pg_type: str) -> None:
    """As the contract between the rooms says."""
    kind = column_type.split("(", maxsplit=1)[0].split(maxsplit=1)[0]
    column = mysql_column("COL", kind, column_type, precision=18, scale=4)
    assert (column.name, column.pg_type) == ("col", pg_type)


def test_a_mysql_timestamp_comes_in_utc(site: Site, entry: EntryMaker) -> None:
    """The server converts `timestamp` to the session's zone, so ours is fixed and the column is marked."""
    site.run(
        "create table stamps (id int primary key, at timestamp null)",
        "set time_zone = '+03:00'",
        "insert into stamps values (1, '2026-11-01 12:00:00')",
    )
    site.run("set time_zone = '+03:00'", "insert into stamps values (2, '2026-11-01 12:00:00')")
    assert read(site, entry("stamps"))[1]["at"] == dt.datetime(2026, 11, 1, 9, 0)
    assert [column.is_session_time for column in site.source.columns(entry("stamps"))] == [False, True]


def hashes(site: Site, entry: EntryMaker) -> dict[int, int]:
    """Row hashes by id."""
    return {row["id"]: row[ROW_HASH] for row in read(site, entry("t"))}


def test_the_row_hash_sees_every_difference(site: Site, entry: EntryMaker) -> None:
    """NULL is not '', neighbours do not run together, case and trailing blanks count, and long texts do not vanish."""
    site.run(
        "create table t (id int, a varchar(20), b varchar(20), c longtext)",
        "set max_statement_time = 0",
        "insert into t values (1, 'ab', 'c', ''), (2, 'a', 'bc', ''), (3, null, 'c', ''), (4, '', 'c', ''),"
        " (5, 'AB', 'c', ''), (6, 'ab ', 'c', ''), (7, 'ab', 'c', null), (8, 'ab', 'c', repeat('x', 20000000)),"
        " (9, 'ab', 'c', repeat('y', 20000000))",
    )
    site.run("create table same as select * from t", "update t set id = 0")
    found = [row[ROW_HASH] for row in read(site, entry("t"))]
    assert len(set(found)) == 9
    assert all(-(2**63) <= value < 2**63 for value in found)


def test_the_row_hash_does_not_depend_on_the_reading(site: Site, entry: EntryMaker) -> None:
    """A range, the whole table and a digest agree."""
    site.run("create table t (id int primary key, a varchar(20))", "insert into t select seq, 'x' from seq_1_to_1000")
    whole = hashes(site, entry)
    part = read(site, entry("t"), KeyRange(100, 200))
    assert {row["id"]: row[ROW_HASH] for row in part} == {key: whole[key] for key in range(100, 200)}
    digests = site.source.digests(
        entry("t"), site.source.columns(entry("t")), [KeyRange()], width=2000, whole_rows=True
    )
    assert digests[0].total == sum(whole.values())
    assert digests[0].rows == 1000


def test_excluded_and_secret_columns_are_not_even_selected(site: Site, entry: EntryMaker) -> None:
    """What is denied never leaves the source."""
    site.run("create table b_user (ID int primary key, LOGIN varchar(50), PASSWORD varchar(50), search_content text)")
    columns = site.source.columns(entry("b_user", exclude=frozenset({"search_content"})))
    assert [column.name for column in columns] == ["id", "login"]


def test_the_session_cannot_write(site: Site, entry: EntryMaker) -> None:
    """Read-only, whatever rights the account has."""
    site.run("create table t (id int primary key)", "create sequence s")
    with pytest.raises(SourceError, match="READ ONLY"):
        site.source._connections.rows("select nextval(s)")


def test_names_from_the_catalogue_cannot_carry_sql() -> None:
    """Identifiers are checked before they are quoted."""
    for name in ("a`b", "a b", "", "a;drop", "a'"):
        with pytest.raises(ValueError, match="no plain identifier"):
            quote(name)


def test_values_cannot_carry_sql(site: Site, entry: EntryMaker) -> None:
    """A watermark that is no number and no time never gets into a statement."""
    site.run("create table t (id int primary key, at datetime)")
    table = entry("t", "modified", cursor="at")
    with pytest.raises(ValueError, match="is no time"):
        list(site.source.read_changes(table, site.source.columns(table), {"cursor": "' or 1=1 --"}, now=NOW))
    append = entry("t", "append")
    with pytest.raises(ValueError, match="invalid literal"):
        list(site.source.read_changes(append, site.source.columns(append), {"id": "1 or 1=1"}, now=NOW))


def test_an_error_of_the_source_is_ours_and_holds_no_password(site: Site, entry: EntryMaker) -> None:
    """A refused statement and a closed port arrive as SourceError."""
    site.run("create table t (id int primary key, d date)")
    table = entry("t")
    (key, day) = site.source.columns(table)
    with pytest.raises(SourceError, match="Unknown column"):
        list(site.source.read_ranges(table, [key, replace(day, select="nope")], [KeyRange()]))
    closed = SqlSource("mysql://user:hidden@127.0.0.1:1/db", ZONE)
    with pytest.raises(SourceError, match="does not answer on 127") as caught:
        closed.columns(entry("t"))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:secret@h", "oracle://u:secret@h/db", "mysql://u:secret@h", "mysql:///db", "secret"]
)
def test_a_wrong_address_is_refused_without_repeating_it(dsn: str) -> None:
    """A DSN holds a password; the message says how one looks instead."""
    with pytest.raises(ConfigurationError, match="connection `bitrix`") as caught:
        SqlSource(dsn, ZONE)
    assert "secret" not in str(caught.value)


def test_a_missing_cursor_is_named(site: Site, entry: EntryMaker) -> None:
    """A site of another version may lack the column we go by."""
    site.run("create table t (id int primary key)")
    table = entry("t", "modified", cursor="date_modify")
    with pytest.raises(ContractError, match="table t has no column date_modify"):
        site.source.marks(table, site.source.columns(table), now=NOW)


@pytest.mark.parametrize(
    ("bounds", "count", "rows", "after"),
    [
        (Bounds(1, 10), 10, 3, None), (Bounds(-50, 1_000_000), 7, 2, None), (Bounds(5, 5), 1, 10, None),
        (Bounds(1, 100), 100, 7, 50), (Bounds(1, 100), 100, 7, 101), (None, 0, 5, None), (None, 0, 5, 9),
    ],
)  # fmt: skip
def test_ranges_have_no_gap_and_no_overlap(bounds: Bounds | None, count: int, rows: int, after: int | None) -> None:
    """Each range begins where the one before it ended; the ends are open."""
    ranges = split(bounds, count=count, rows=rows, after=after)
    assert ranges[0].low == after
    assert ranges[-1].high is None
    for left, right in pairwise(ranges):
        assert left.high == right.low
        assert left.low is None or left.low < right.low  # type: ignore[operator]


def test_decimals_keep_their_scale_in_the_hash(site: Site, entry: EntryMaker) -> None:
    """1.0 and 1.00 are the same row only when the column says so."""
    assert [Decimal(value) for value in values(site, "decimal(18,4)", "1.5", "1.50000", entry=entry)] == [
        Decimal("1.5000"),
        Decimal("1.5000"),
    ]
