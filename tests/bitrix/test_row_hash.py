"""The row hash: the same row has the same, different rows have different ones, whatever is in them."""

from __future__ import annotations

from itertools import product
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.source_site import PgSite, Site, make_entry

from lettertrail.bitrix.mysql import Facts, MySql
from lettertrail.bitrix.sql import SqlSource
from lettertrail.sandbox.mariadb import connect

TRICKY = st.text(st.sampled_from("\x1f\x00,\"\\()' ab0Ж😀"), max_size=4)
"""Separators, quotes, what marks NULL somewhere, and digits that could be taken for lengths."""
NUMBERS = st.one_of(st.none(), st.integers(-3, 12))
COLUMNS = "n, a, b, body, m, c"
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def alike(draw: st.DrawFn, *, with_zero_bytes: bool) -> list[tuple[Any, ...]]:
    """Rows that differ, a little."""
    texts = st.one_of(st.none(), TRICKY if with_zero_bytes else TRICKY.map(lambda text: text.replace("\x00", "")))
    # A char loses its trailing blanks, and two that differ in nothing else are the same.
    chars = texts.map(lambda text: text if text is None else text.rstrip(" "))
    rows = st.tuples(NUMBERS, texts, texts, texts, NUMBERS, chars)
    return draw(st.lists(rows, min_size=20, max_size=60, unique=True))


def hashes(source: SqlSource) -> list[int]:
    """Of all rows of `t`, in order of id, over all columns but that."""
    columns = [column for column in source.columns(make_entry("t")) if column.name != "id"]
    found = source._connections.rows(f"select {source._dialect.row_hash(columns)} from t order by t.id")
    return [number for (number,) in found]


@pytest.fixture
def mysql_table(site: Site) -> Site:
    """A table of everything that could run together."""
    site.run(
        "create table t (id int primary key auto_increment, n int, a varchar(20) collate utf8mb4_bin, b varchar(20),"
        " body longtext, m int, c char(20))"
    )
    return site


def fill_mysql(site: Site, rows: list[tuple[Any, ...]]) -> None:
    """Replaces its rows."""
    connection = connect(site.dsn)
    cursor = connection.cursor()
    cursor.execute("truncate t")
    cursor.executemany(f"insert into t ({COLUMNS}) values (%s, %s, %s, %s, %s, %s)", rows)
    connection.commit()
    connection.close()


def combined(*texts: str | None) -> list[tuple[Any, ...]]:
    """Every row of these texts, beside two numbers."""
    return [(n, a, b, body, 0, c) for n, a, b, body, c in product((None, 0), texts, texts, texts, texts)]


@pytest.mark.parametrize("chains_crc", [True, False])
def test_no_neighbours_run_together_in_mysql(mysql_table: Site, chains_crc: bool) -> None:
    """All combinations of what could be taken for a separator, a NULL or a length."""
    rows = combined(None, "", "\x1f", "\0", "0", "\x1f0")
    fill_mysql(mysql_table, rows)
    dialect = mysql_table.source._dialect
    assert isinstance(dialect, MySql)
    dialect.facts = Facts(True, chains_crc, "replica")
    assert len(set(hashes(mysql_table.source))) == len(rows)


@EXAMPLES
@given(rows=alike(with_zero_bytes=True))
@pytest.mark.parametrize("chains_crc", [True, False])
def test_rows_that_differ_never_look_the_same_in_mysql(
    mysql_table: Site, chains_crc: bool, rows: list[tuple[Any, ...]]
) -> None:
    """NULL, '' and a separator inside a text: neighbours never run together, in CRCs and in MySQL's MD5."""
    fill_mysql(mysql_table, rows)
    dialect = mysql_table.source._dialect
    assert isinstance(dialect, MySql)
    dialect.facts = Facts(True, chains_crc, "replica")
    found = hashes(mysql_table.source)
    assert len(set(found)) == len(rows)
    assert all(-(2**63) <= number < 2**63 for number in found)


def fill_postgres(site: PgSite, rows: list[tuple[Any, ...]]) -> None:
    """The same table there."""
    site.run(
        "create table if not exists t (id int generated always as identity primary key, n int, a varchar(20), b text,"
        " body text, m int, c char(20))",
        "truncate t",
    )
    with psycopg.connect(site.dsn) as connection:
        connection.cursor().executemany(f"insert into t ({COLUMNS}) values (%s, %s, %s, %s, %s, %s)", rows)


def test_no_neighbours_run_together_in_postgres(pg_site: PgSite) -> None:
    """All combinations of what a row's text is written with."""
    rows = combined(None, "", ",", '"', "\\", '","')
    fill_postgres(pg_site, rows)
    assert len(set(hashes(pg_site.source))) == len(rows)


@EXAMPLES
@given(rows=alike(with_zero_bytes=False))
def test_rows_that_differ_never_look_the_same_in_postgres(pg_site: PgSite, rows: list[tuple[Any, ...]]) -> None:
    """The same; a text of PostgreSQL holds no zero byte."""
    fill_postgres(pg_site, rows)
    found = hashes(pg_site.source)
    assert len(set(found)) == len(rows)
    assert all(-(2**63) <= number < 2**63 for number in found)


def test_every_column_counts(mysql_table: Site) -> None:
    """A change of any column of any type is a change of the hash; setting it back is none."""
    site = mysql_table
    site.run(
        "drop table t",
        "create table t (id int primary key, i int, u bigint unsigned, d decimal(18,4), f float, g double, da date,"
        " dt datetime(6), ts timestamp(6) null, ti time(6), y year, bi bit(9), e enum('a','b'), s set('a','b'),"
        " vb varbinary(9), bl longblob, tx text, j json, p point)",
        "insert into t values (1, 0, 0, 0, 0, 0, '2024-01-01', '2024-01-01', '2024-01-01', '0:0', 2024, 0, 'a', 'a',"
        " '', '', '', '{}', st_geomfromtext('point(0 0)'))",
    )
    changes = {
        "i": "1", "u": "18446744073709551615", "d": "0.0001", "f": "1.0000001", "g": "1e-300", "da": "'0000-00-00'",
        "dt": "'2024-01-01 00:00:00.000001'", "ts": "'2024-01-01 00:00:00.000001'", "ti": "'-838:59:59'", "y": "2025",
        "bi": "b'100000000'", "e": "'b'", "s": "''", "vb": "x'00'", "bl": "x'00'", "tx": "' '", "j": "'[]'",
        "p": "st_geomfromtext('point(0 1)')",
    }  # fmt: skip
    (before,) = hashes(site.source)
    seen = {before}
    for column, value in changes.items():
        ((old,),) = site.rows(f"select {column} from t")
        site.run(f"create table was select {column} from t", f"update t set {column} = {value}")
        (changed,) = hashes(site.source)
        assert changed not in seen, column
        seen.add(changed)
        site.run(f"update t set {column} = null")
        (nothing,) = hashes(site.source)
        assert nothing not in seen, column
        seen.add(nothing)
        site.run(f"update t set {column} = (select {column} from was)", "drop table was")
        assert hashes(site.source) == [before], (column, old)


def test_a_float_changed_in_its_last_digit_is_seen(site: Site) -> None:
    """A FLOAT is written with six digits and kept with more."""
    site.run("create table t (id int primary key, f float)", "insert into t values (1, 1.0000001), (2, 1.0000002)")
    assert len(set(hashes(site.source))) == 2
