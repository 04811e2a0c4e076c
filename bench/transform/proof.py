"""Whether increments have led to what a rebuild gives: a count and a sum of row hashes of every table."""

from __future__ import annotations

from decimal import Decimal

import psycopg
from psycopg import sql

from bench.transform.world import World

BOOKKEEPING = ("_built_at",)
"""Columns that tell when a row was built, and so differ by design."""
HISTORY = ("fct_attribution_ledger", "int_loads", "int_message_changes")
"""Tables that keep what was before, and so hold more than a rebuild knows."""

Prints = dict[str, tuple[int, Decimal]]


def fingerprints(world: World) -> Prints:
    """Rows and the sum of their hashes by table, whatever their order."""
    found: Prints = {}
    with psycopg.connect(world.dsn) as connection:
        tables = connection.execute(
            "select table_schema, table_name, array_agg(column_name::text order by column_name)"
            " from information_schema.tables join information_schema.columns using (table_schema, table_name)"
            " where table_schema in ('intermediate', 'marts', 'segments') and table_type = 'BASE TABLE'"
            " and column_name <> all (%s) and table_name <> all (%s) group by 1, 2",
            [list(BOOKKEEPING), list(HISTORY)],
        ).fetchall()
        for schema, table, columns in tables:
            query = sql.SQL(
                "select count(*), coalesce(sum(hashtextextended(row({})::text, 0)::numeric), 0) from {}"
            ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(schema, table))
            ((rows, total),) = connection.execute(query).fetchall()
            found[table] = (rows, total)
    return found


def differing(before: Prints, after: Prints) -> list[str]:
    """The tables that are not the same."""
    return sorted(table for table in before.keys() | after.keys() if before.get(table) != after.get(table))
