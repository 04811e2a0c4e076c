"""Whether increments have led to what a rebuild gives: a count and a sum of row hashes of every table."""

from __future__ import annotations

from decimal import Decimal

import psycopg
from psycopg import sql

from bench.transform.world import World

BOOKKEEPING = ("_built_at",)
"""Columns that tell when a row was built, and so differ by design."""
HISTORY = ("fct_attribution_ledger", "int_loads", "int_message_changes", "int_messages_touched")
"""Tables that keep what was before, and so hold more than a rebuild knows."""
STANDING = {"is_gone": "not is_gone", "is_held": "is_held", "is_linked": "is_linked"}
"""Columns that mark rows which are kept only for readers to hear that they are no more, and how to leave those out."""

Prints = dict[str, tuple[int, Decimal]]


def fingerprints(world: World) -> Prints:
    """Rows that stand and the sum of their hashes by table, whatever their order."""
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
            stands = [sql.SQL(condition) for column, condition in STANDING.items() if column in columns]
            query = sql.SQL(
                "select count(*), coalesce(sum(hashtextextended(row({})::text, 0)::numeric), 0) from {} where {}"
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.Identifier(schema, table),
                sql.SQL(" and ").join([sql.SQL("true"), *stands]),
            )
            ((rows, total),) = connection.execute(query).fetchall()
            found[table] = (rows, total)
    return found


def differing(before: Prints, after: Prints) -> list[str]:
    """The tables that are not the same."""
    return sorted(table for table in before.keys() | after.keys() if before.get(table) != after.get(table))
