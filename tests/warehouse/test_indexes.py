"""Every raw table gets its indexes: a new one when it is made, an older one with the migrations."""

from __future__ import annotations

import psycopg
from psycopg import sql

from lettertrail.warehouse.indexes import LOOKUPS, index_raw_tables
from lettertrail.warehouse.migrate import migrate

RECIPIENTS = "b_sender_posting_recipient"


def indexes(connection: psycopg.Connection[tuple[str, ...]], table: str) -> dict[str, str]:
    """Method by name, keys left out."""
    rows = connection.execute(
        "select indexname, indexdef from pg_indexes where tablename = %s and indexname like %s", [table, "%\\_\\_%"]
    ).fetchall()
    return {name: definition.split(" using ", 1)[-1].split(" USING ")[-1] for name, definition in rows}


def test_what_a_load_brought_is_found_by_its_number(warehouse_dsn: str) -> None:
    """The services' tables have theirs from the first migration on, and a second run makes none."""
    migrate(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        made = indexes(connection, "events")
        assert made["events__load"].startswith("brin (_load_id)")
        assert made["events__email"].startswith("btree (")
        assert index_raw_tables(connection) == []


def test_an_older_table_gets_what_it_lacks(warehouse_dsn: str) -> None:
    """A table that an earlier version made, without one of the columns to look up by, gets the rest."""
    migrate(warehouse_dsn)
    columns = LOOKUPS["raw_bitrix", RECIPIENTS]
    with psycopg.connect(warehouse_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create table raw_bitrix.{} (id bigint primary key, posting_id bigint, _load_id bigint)").format(
                sql.Identifier(RECIPIENTS)
            )
        )
        connection.execute("create table raw_bitrix.not_loaded (id bigint primary key)")
    migrate(warehouse_dsn)
    with psycopg.connect(warehouse_dsn) as connection:
        assert set(indexes(connection, RECIPIENTS)) == {f"{RECIPIENTS}__load", f"{RECIPIENTS}__posting_id"}
        assert set(columns) > {"posting_id"}
        assert indexes(connection, "not_loaded") == {}
