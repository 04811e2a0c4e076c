"""The sample site on PostgreSQL holds what the one on MariaDB holds, in the form of bitrix.md 4."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from MySQLdb.cursors import Cursor
from psycopg import sql

from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.sandbox import bitrix_site, postgres_site
from lettertrail.sandbox.bitrix_schema import tables
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.postgres_site import load_postgres_site
from lettertrail.sandbox.postgres_site_rows import PostgresWriter
from lettertrail.sandbox.postgres_site_schema import NO_PRIMARY_KEY, create, keys, postgres_tables, type_name
from lettertrail.sandbox.world import generate
from lettertrail.warehouse.embedded import EmbeddedPostgres

ZERO = ("0000-00-00", "0000-00-00 00:00:00")


@pytest.fixture
def reader(postgres_site_small: Site) -> Iterator[psycopg.Connection[Any]]:
    """A reading connection to the PostgreSQL site."""
    with psycopg.connect(postgres_site_small.reader_dsn) as connection:
        yield connection


@pytest.fixture(scope="module")
def cursor(bitrix_site_small: Site) -> Iterator[Cursor]:
    """A reading cursor on the MariaDB site, with times as their text."""
    connection = connect(bitrix_site_small.reader_dsn)
    yield connection.cursor()
    connection.close()


def mariadb_rows(cursor: Cursor, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """All rows in comparable form: times as text, a zero date as NULL, text up to its first zero byte."""
    kinds = {column.name: column.mysql_type for column in tables()[table].columns}
    names = [
        f"CAST(`{name}` AS CHAR)" if kinds[name] in ("date", "datetime", "timestamp") else f"`{name}`"
        for name in columns
    ]
    cursor.execute(f"SELECT {', '.join(names)} FROM `{table}`")
    return sorted(((tuple(map(comparable, row))) for row in cursor.fetchall()), key=repr)


def postgres_rows(connection: psycopg.Connection[Any], table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """The same from PostgreSQL, with the padding of char columns removed."""
    own = {column.name: column.mysql_type for column in tables()[table].columns}
    parts = [
        sql.SQL("rtrim({}::text)" if own[name].startswith(("char", "date", "timestamp")) else "{}").format(
            sql.Identifier(name.lower())
        )
        for name in columns
    ]
    query = sql.SQL("select {} from {}").format(sql.SQL(", ").join(parts), sql.Identifier(table))
    return sorted((tuple(map(comparable, row)) for row in connection.execute(query)), key=repr)


def comparable(value: Any) -> Any:
    """One spelling for what both servers hold."""
    if isinstance(value, Decimal):
        return value.normalize() + 0
    if isinstance(value, str):
        return None if value in ZERO else value.partition("\0")[0]
    return value


@pytest.mark.parametrize("table", postgres_tables())
def test_both_sites_hold_the_same_rows(cursor: Cursor, reader: psycopg.Connection[Any], table: str) -> None:
    """Every column of every row, except the change time that only MariaDB moves."""
    columns = [
        name for name in tables()[table].column_names if (table, name) != ("b_sender_posting_recipient", "DATE_UPDATE")
    ]
    expected = mariadb_rows(cursor, table, columns)
    found = postgres_rows(reader, table, columns)
    assert len(found) == len(expected)
    differing = [pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1]]
    assert differing[:3] == []


def test_the_change_time_of_recipients_stands_still(cursor: Cursor, reader: psycopg.Connection[Any]) -> None:
    """On MariaDB it follows what happened; here it is the time the posting was built (bitrix.md 1.3)."""
    row = reader.execute(
        "select count(*), count(*) filter (where r.date_update = p.date_create), "
        "count(*) filter (where r.date_update > r.date_sent) "
        "from b_sender_posting_recipient r join b_sender_posting p on p.id = r.posting_id"
    ).fetchone()
    assert row is not None
    assert row[0] == row[1] > 0 == row[2]
    cursor.execute("SELECT SUM(DATE_UPDATE > DATE_SENT) FROM b_sender_posting_recipient")
    assert cursor.fetchone()[0] > 0
    default = reader.execute(
        "select column_default from information_schema.columns "
        "where table_name = 'b_sender_posting_recipient' and column_name = 'date_update'"
    ).fetchone()
    assert default == ("CURRENT_TIMESTAMP",)
    assert reader.execute("select count(*) from pg_trigger where not tgisinternal").fetchone() == (0,)


def test_the_ddl_is_that_of_bitrix_on_postgresql(reader: psycopg.Connection[Any]) -> None:
    """Names, types, identities and keys are those of bitrix.md 4."""
    found = {
        (table, column): (kind, precision, identity)
        for table, column, kind, precision, identity in reader.execute(
            "select table_name, column_name, data_type, numeric_precision, is_identity "
            "from information_schema.columns where table_schema = 'public'"
        )
    }
    assert {table for table, _ in found} == set(postgres_tables())
    assert not any(table.startswith("b_conv_") for table, _ in found)
    assert all(table == table.lower() and column == column.lower() for table, column in found)
    assert found["b_sender_posting", "id"] == ("integer", 32, "YES")
    assert found["b_crm_deal", "id"] == ("bigint", 64, "YES")
    assert found["b_crm_deal", "opportunity"] == ("numeric", None, "NO")
    assert found["b_sale_basket", "quantity"][0] == "double precision"
    assert found["b_user", "timestamp_x"][0] == "timestamp without time zone"
    assert found["b_crm_act", "type_id"][0] == "integer"
    assert found["b_crm_deal_contact", "role_id"][0] == "smallint"
    assert found["b_crm_status", "color"][0] == "character"
    primary = {
        name for (name,) in reader.execute("select conrelid::regclass::text from pg_constraint where contype = 'p'")
    }
    assert primary.isdisjoint(NO_PRIMARY_KEY | {"b_user_group", "b_sender_contact_list"})
    assert {"b_sender_posting", "b_sender_mailing_subscription", "b_user"} <= primary
    names = {name for (name,) in reader.execute("select indexname from pg_indexes where schemaname = 'public'")}
    assert {"ux_b_sender_posting_recipient_posting_id_contact_id", "ix_b_crm_lead_date_modify"} <= names
    assert reader.execute("select count(*) from pg_constraint where contype = 'f'").fetchone() == (0,)


def test_no_key_is_lost() -> None:
    """Every key of the reference has a statement with a name of its own."""
    every = [statement for table in postgres_tables().values() for statement in keys(table)]
    expected = sum(len(table.keys) - (table.name in NO_PRIMARY_KEY) for table in postgres_tables().values())
    assert len(every) == len(set(every)) == expected
    indexes = [statement.split(" on ")[0] for statement in every if " index " in statement]
    assert len(indexes) == len(set(indexes))
    assert max(len(name.split('"')[1]) for name in indexes) <= 63


def test_columns_are_in_another_order_than_on_mysql() -> None:
    """Whoever relies on the position of a column notices."""
    table = tables()["b_sender_posting_recipient"]
    names = [line.split('"')[1].upper() for line in create(table).splitlines()[1:-1]]
    assert sorted(names) == sorted(table.column_names)
    assert names != list(table.column_names)


def test_a_type_nobody_described_is_an_error() -> None:
    """A guess would be a wrong site."""
    with pytest.raises(ContractError, match="geometry"):
        type_name("geometry")


def test_the_reader_may_only_select(postgres_site_small: Site) -> None:
    """Also in tables that the owner makes later; and new rows of the owner get ids that are free."""
    with psycopg.connect(postgres_site_small.owner_dsn) as owner:
        owner.execute("create table b_new_module (id int)")
        owner.commit()
        with psycopg.connect(postgres_site_small.reader_dsn, autocommit=True) as connection:
            assert connection.execute("select count(*) from b_new_module").fetchone() == (0,)
            for statement in ("delete from b_lang", "insert into b_new_module values (1)", "create table x (id int)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
        owner.execute("drop table b_new_module")
        owner.commit()
        (highest,) = owner.execute("select max(id) from b_crm_deal").fetchone() or (0,)
        made = owner.execute(
            "insert into b_crm_deal (created_by_id, date_create) values (1, now()) returning id"
        ).fetchone()
        assert made == (highest + 1,)
        owner.rollback()


def test_unique_keys_care_about_case(postgres_site_small: Site) -> None:
    """`A@x` and `a@x` may stand side by side, which MariaDB refuses."""
    with psycopg.connect(postgres_site_small.owner_dsn) as owner:
        for number, code in enumerate(("twice@case.example", "Twice@case.example"), start=9_000_001):
            owner.execute("insert into b_sender_contact (id, date_insert, code) values (%s, now(), %s)", [number, code])
        with pytest.raises(psycopg.errors.UniqueViolation):
            owner.execute("insert into b_sender_contact (id, date_insert, code) values (1, now(), 'x')")
        owner.rollback()


def test_rows_the_server_refuses_are_an_error(postgres_site_small: Site) -> None:
    """A cut value or a column nobody knows stops the load; a table of an absent module takes nothing."""
    with psycopg.connect(postgres_site_small.owner_dsn) as owner:
        writer = PostgresWriter(owner)
        assert writer.write("b_conv_context", {"ID": [1], "SNAPSHOT": "x"}) == 0
        assert writer.write("b_sender_list", {"ID": [901, 902], "NAME": ["a\tb\\c\nд", "до\0после"], "CODE": None}) == 2
        rows = owner.execute("select name, sort from b_sender_list where id > 900 order by id").fetchall()
        assert rows == [("a\tb\\c\nд", 100), ("до", 100)]
        with pytest.raises(KeyError, match="NO_SUCH"):
            writer.write("b_lang", {"LID": ["s2"], "NO_SUCH": 1})
        with pytest.raises(ContractError, match="DATE_INSERT"):
            writer.write("b_sender_contact", {"CODE": ["x"]})
        with pytest.raises(ContractError, match="b_sender_list"):
            writer.write("b_sender_list", {"ID": [903], "NAME": ["n" * 101]})
        owner.rollback()


def test_a_real_database_is_never_replaced(postgres: EmbeddedPostgres) -> None:
    """Without our mark in its comment a database stays untouched."""
    dsn = postgres.ensure_database("precious")
    world = generate(seed=2, scale=0.005, as_of=date(2026, 11, 1))
    with pytest.raises(ConfigurationError, match="no sample site"):
        load_postgres_site(world, postgres.dsn(), owner_password="x", reader_password="y", database="precious")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)


@pytest.fixture
def own_server(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own: the roles and their passwords are those of the whole server."""
    server = EmbeddedPostgres(server_dir / "postgres-site", durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_the_command_loads_a_site_once(
    own_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The command line writes the site and both files; a second call finds the site complete."""
    arguments = ["--postgres-dsn", own_server.dsn(), "--world-dir", str(tmp_path), "--seed", "2", "--scale", "0.005"]
    arguments += ["--as-of", "2026-11-01", "--database", "by_command"]
    caplog.set_level("INFO")
    assert postgres_site.main(arguments) == 2
    assert bitrix_site.OWNER_PASSWORD_VARIABLE in caplog.text
    monkeypatch.setenv(bitrix_site.OWNER_PASSWORD_VARIABLE, "owner-secret")
    monkeypatch.setenv(bitrix_site.READER_PASSWORD_VARIABLE, "reader-secret")
    assert postgres_site.main(arguments) == 0
    assert (tmp_path / "world.json").exists()
    caplog.clear()
    assert postgres_site.main(arguments) == 0
    assert "sample site on PostgreSQL: 0 rows" in caplog.text
    assert "secret" not in caplog.text
