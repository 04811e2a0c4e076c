"""MySQL and MariaDB: what the SQL for each version says, character sets, and what freshness asks of a column.

MySQL itself is not installed where these tests run: its SQL is checked word by word against its manual.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import MySQLdb
import pyarrow as pa
import pytest
from tests.source_site import EntryMaker, Site

from lettertrail.bitrix.mysql import Facts, MySql, lag_of, mysql_column
from lettertrail.bitrix.port import ROW_HASH, KeyRange
from lettertrail.sandbox.mariadb import MariaDb

MARIA_10_11, MARIA_10_6 = "10.11.19-MariaDB-0+deb12u1", "10.6.12-MariaDB"
MYSQL_8, MYSQL_5_7 = "8.0.36", "5.7.44-log"


def dialect(version: str) -> MySql:
    """As if connected to a server of that version."""
    made = MySql({"passwd": "hidden"})
    made.facts = Facts.of(version)
    return made


@pytest.mark.parametrize(
    ("version", "is_maria", "chains_crc", "replica"),
    [
        (MARIA_10_11, True, True, "replica"), (MARIA_10_6, True, False, "replica"),
        ("11.4.2-MariaDB", True, True, "replica"), ("10.4.1-MariaDB", True, False, "slave"),
        (MYSQL_8, False, False, "replica"), (MYSQL_5_7, False, False, "slave"),
        ("9.1.0", False, False, "replica"), ("8.0.21", False, False, "slave"),
    ],
)  # fmt: skip
def test_the_version_says_what_a_server_can_do(version: str, is_maria: bool, chains_crc: bool, replica: str) -> None:
    """Chained CRCs came with MariaDB 10.8; SHOW REPLICA STATUS with MariaDB 10.5 and MySQL 8.0.22."""
    assert Facts.of(version) == Facts(is_maria, chains_crc, replica)


@pytest.mark.parametrize(
    ("version", "limit"),
    [(MARIA_10_11, "max_statement_time = 900"), (MYSQL_8, "max_execution_time = 900000")],
)
def test_every_session_is_bounded_and_read_only(version: str, limit: str) -> None:
    """MariaDB counts in seconds, MySQL in milliseconds."""
    read_only, settings, names = dialect(version).stream_settings("tag", statement_seconds=900)
    assert read_only == "set session transaction read only"
    assert settings.endswith(limit)
    assert "lock_wait_timeout = 30" in settings
    assert "time_zone = '+00:00'" in settings
    assert names == "set names utf8mb4"


def test_the_hash_of_mysql_asks_for_nothing_that_only_mariadb_has() -> None:
    """MD5 instead of two chained CRCs; large texts by their own MD5, since a long concatenation is NULL."""
    columns = [
        mysql_column("ID", "int", "int(11)", is_nullable=False, chains_crc=False),
        mysql_column("BODY", "longtext", "longtext", chains_crc=False),
    ]
    said = dialect(MYSQL_8).row_hash(columns)
    assert said == (
        "coalesce(cast(conv(left(md5(concat_ws(0x1f, t.`ID`, ifnull(md5(t.`BODY`), ''))), 15), 16, 10) as signed), -1)"
    )
    assert "crc32" not in said


def test_the_hash_of_mariadb_copies_no_large_text() -> None:
    """Its length goes into the text that is hashed, its bytes are hashed behind it."""
    columns = [
        mysql_column("ID", "int", "int(11)", is_nullable=False),
        mysql_column("NAME", "varchar", "varchar(50)"),
        mysql_column("BODY", "longtext", "longtext"),
    ]
    joined = "concat_ws(0x1f, t.`ID`, ifnull(length(t.`NAME`), ''), t.`NAME`, ifnull(length(t.`BODY`), ''))"
    assert dialect(MARIA_10_11).row_hash(columns) == (
        f"ifnull(cast((crc32(crc32({joined}), ifnull(t.`BODY`, '')) << 32)"
        f" | crc32c(crc32c({joined}), ifnull(t.`BODY`, '')) as signed), -1)"
    )


def test_another_way_to_hash_is_another_signature() -> None:
    """After a server's upgrade no stored hash is believed."""
    ways = {mysql_column("A", "int", "int(11)", chains_crc=chains).digest for chains in (True, False)}
    assert len(ways) == 2


def test_a_column_that_may_not_be_null_any_more_keeps_its_hashes(site: Site, entry: EntryMaker) -> None:
    """So nothing is copied anew for it."""
    columns = {"i": "int", "d": "decimal(18,4)", "f": "float", "g": "double", "t": "datetime(3)"}
    columns |= {"c": "char(9)", "x": "text"}
    site.run(
        f"create table t (id int primary key, {', '.join(f'{name} {kind}' for name, kind in columns.items())})",
        "insert into t values (1, -7, 0.1, 1.0000001, 1e-9, '2024-01-01 10:00:00.5', 'Ж ', '')",
    )
    nullable = site.source.columns(entry("t"))
    (before,) = site.source.read_ranges(entry("t"), nullable, [KeyRange()])
    site.run(*(f"alter table t modify {name} {kind} not null" for name, kind in columns.items()))
    strict = site.source.columns(entry("t"))
    assert not any(column.is_nullable for column in strict)
    assert [column.terms for column in strict[1:]] != [column.terms for column in nullable[1:]]
    assert [column.digest for column in strict] == [column.digest for column in nullable]
    (after,) = site.source.read_ranges(entry("t"), strict, [KeyRange()])
    assert after.column(ROW_HASH) == before.column(ROW_HASH)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MySQLdb.OperationalError(1205, "Lock wait timeout exceeded"), "interrupted"),
        (MySQLdb.OperationalError(1317, "Query execution was interrupted"), "interrupted"),
        (MySQLdb.OperationalError(1969, "Query execution was interrupted (max_statement_time exceeded)"), "failed"),
        (MySQLdb.OperationalError(3024, "Query execution was interrupted, maximum statement …"), "failed"),
        (MySQLdb.OperationalError(1045, "Access denied for user"), "refused"),
        (MySQLdb.OperationalError(2013, "Lost connection to server during query"), "lost"),
        (RuntimeError("MySqlError { ERROR 1317 (70100): Query execution was interrupted }"), "interrupted"),
        (RuntimeError("MySqlError { ERROR 1054 (42S22): Unknown column 'nope' }"), "failed"),
        (RuntimeError("CodecError { IO error: `bytes remaining on stream' }"), "lost"),
        (RuntimeError('Couldn\'t convert the value `Bytes("ivan@example.org")` to a desired type'), "undecodable"),
    ],
)
def test_what_an_error_means(error: Exception, kind: str) -> None:
    """Whether to repeat, to read as bytes, or to stop; a value that could not be read is not repeated."""
    trouble = dialect(MYSQL_8).trouble(error)
    assert trouble.kind == kind
    assert "ivan" not in trouble.text


@pytest.mark.parametrize(
    ("status", "lag"),
    [
        ([], None), ([{"Seconds_Behind_Master": None}], None), ([{"Seconds_Behind_Master": 0}], 0.0),
        ([{"Seconds_Behind_Source": 7}], 7.0),
    ],
)  # fmt: skip
def test_how_far_a_replica_is_behind(status: list[dict[str, Any]], lag: float | None) -> None:
    """NULL while it does not replicate; another name since MySQL 8.0.22."""
    assert lag_of(status) == lag


def test_a_primary_has_no_lag(site: Site) -> None:
    """It replicates nothing."""
    assert site.source.lag_seconds() is None


def test_what_freshness_asks_of_a_column(site: Site, entry: EntryMaker) -> None:
    """Leading columns of indexes, and the one that the server moves."""
    site.run(
        "create table t (ID int primary key, A int not null, B int, C text, D datetime default now(),"
        " E datetime default now() on update now(), key (A, B), fulltext key (C))"
    )
    columns = site.source.columns(entry("t"))
    assert [column.name for column in columns if column.indexed] == ["id", "a"]
    assert [column.name for column in columns if column.is_nullable] == ["b", "c", "d", "e"]
    assert [column.name for column in columns if column.moves_by_itself] == ["e"]


@pytest.mark.parametrize("charset", ["utf8mb3", "utf8mb4", "cp1251", "koi8r", "ucs2"])
def test_a_table_of_any_character_set_comes_through(site: Site, entry: EntryMaker, charset: str) -> None:
    """Old installs are in cp1251 or three-byte utf8 (bitrix.md 5)."""
    site.run(
        f"create table t (id int primary key, a varchar(50), b char(9), c text, d longtext, e enum('да','нет'))"
        f" character set {charset}",
        "insert into t values (1, 'Привет, :f09f9880:', 'Ж ', 'ё', repeat('Щ', 70000), 'нет')",
    )
    columns = site.source.columns(entry("t"))
    (batch,) = site.source.read_ranges(entry("t"), columns, [KeyRange()])
    (row,) = batch.to_pylist()
    assert (row["a"], row["b"], row["c"], row["d"], row["e"]) == (
        "Привет, :f09f9880:", "Ж", "ё", "Щ" * 70000, "нет",
    )  # fmt: skip


def test_columns_of_different_character_sets_are_hashed_together(site: Site, entry: EntryMaker) -> None:
    """A database that was half converted; joined as texts they would be an illegal mix of collations."""
    site.run(
        "create table t (id int primary key, a varchar(9) character set cp1251, b varchar(9) character set koi8r,"
        " c varchar(9) collate utf8mb4_bin, d varchar(9) collate utf8mb4_general_ci, e text character set cp1251)",
        "insert into t values (1, 'Ж', 'Ж', 'Ж', 'Ж', 'Ж'), (2, 'Ж', 'Ж', 'Ж', 'Ж', 'ж'), (3, 'ж', 'Ж', 'Ж', 'Ж', 'Ж')",
    )
    columns = site.source.columns(entry("t"))
    (batch,) = site.source.read_ranges(entry("t"), columns, [KeyRange()])
    assert batch.column("b").to_pylist() == ["Ж", "Ж", "Ж"]
    assert len(set(batch.column(ROW_HASH).to_pylist())) == 3


def damaged(site: Site, mariadb: MariaDb, charset: str, *values: bytes) -> None:
    """A table `t` whose texts are bytes that no client can write: the file of a binary table under a text's name."""
    width = {"utf8mb3": 3, "utf8mb4": 4}[charset]
    site.run(
        f"create table bytes (id int primary key, a varbinary({20 * width}), b blob) engine=myisam",
        f"create table t (id int primary key, a varchar(20), b text) engine=myisam character set {charset}",
        *(
            f"insert into bytes values ({number}, x'{value.hex()}', x'{value.hex()}')"
            for number, value in enumerate(values)
        ),
        "flush tables",
    )
    directory = Path(mariadb.datadir) / site.source.database
    for kind in ("MYD", "MYI"):
        shutil.copyfile(directory / f"bytes.{kind}", directory / f"t.{kind}")
    site.run("flush tables")


@pytest.mark.parametrize("charset", ["utf8mb3", "utf8mb4"])
def test_bytes_that_are_no_text_are_kept_aside(
    site: Site, mariadb: MariaDb, entry: EntryMaker, charset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged or wrongly converted table: the good rows come, the others with key, reason and bytes."""
    damaged(site, mariadb, charset, "Жук".encode(), b"ivan@example.org \xff", b"", b"\xd0")
    columns = site.source.columns(entry("t"))
    rows = site.source.read_ranges(entry("t"), columns, [KeyRange()])
    table = pa.Table.from_batches(list(rows))
    assert table.select(["id", "a"]).to_pylist() == [{"id": 0, "a": "Жук"}, {"id": 2, "a": ""}]
    assert [(bad.key, bad.reason, bad.raw["a"]) for bad in rows.unreadable] == [
        ("1", "a: byte 0xff at 17 is no utf-8; b: byte 0xff at 17 is no utf-8", b"ivan@example.org \xff".hex()),
        ("3", "a: byte 0xd0 at 0 is no utf-8; b: byte 0xd0 at 0 is no utf-8", b"\xd0".hex()),
    ]
    assert "ivan" not in caplog.text
    # The hash is of the stored bytes, so the comparison of both sides is not disturbed by the way of reading.
    site.run("delete from t where id in (1, 3)")
    again = pa.Table.from_batches(list(site.source.read_ranges(entry("t"), columns, [KeyRange()])))
    assert again.column(ROW_HASH).to_pylist() == table.column(ROW_HASH).to_pylist()


def test_values_that_the_fast_way_cannot_read_are_read_the_slow_way(site: Site, entry: EntryMaker) -> None:
    """Whatever else may end in a Rust panic is read as bytes, every type of it."""
    site.run(
        "create table t (id int primary key, d date, at datetime(6), n decimal(18,2), f double, b blob, s varchar(9))",
        "insert into t values (1, '2024-02-29', '2024-02-29 10:00:00.5', -0.01, -1e300, x'00ff', 'Ж'),"
        " (2, '0000-00-00', null, null, 0.1, null, '')",
    )
    table = entry("t")
    columns = site.source.columns(table)
    whole = pa.Table.from_batches(list(site.source.read_ranges(table, columns, [KeyRange()])))
    unguarded = [replace(column, select="t.`d`") if column.name == "d" else column for column in columns]
    slow = pa.Table.from_batches(list(site.source.read_ranges(table, unguarded, [KeyRange()])))
    assert slow.drop_columns(["_zeroed"]) == whole.drop_columns(["_zeroed"])
    assert slow.column("f").to_pylist() == [-1e300, 0.1]
