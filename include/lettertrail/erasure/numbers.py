"""The models keep identifiers as numbers too, 64 bits of an unkeyed hash: out of them an address can be guessed.

Such a number is replaced by one made under the key, the same in all tables, so what belongs together still does. The
next build gives what stands for the address a number of its own, and what stood under the old one stays as a row that
says it is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql
from psycopg.types.json import Jsonb

from lettertrail.erasure.catalogue import Table, all_tables
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.places import IDENTIFIERS, NUMBERS
from lettertrail.erasure.rows import Scope, at, fresh, lock_rows
from lettertrail.erasure.search import Search
from lettertrail.warehouse.connect import Connection


def numbers_in(
    connection: Connection, present: Sequence[Table], search: Search, conditions: Sequence[sql.Composable]
) -> list[int]:
    """The numbers of the person's addresses and telephone numbers.

    Args:
        conditions: reach between them every row of `IDENTIFIERS`, named `each`, that may be one of them.
    """
    found: set[int] = set()
    for table in present:
        if table.full_name == IDENTIFIERS and search.strong:
            for condition in conditions:
                statement = sql.SQL(
                    "select identifier_number from {} as each where {} and kind in ('email', 'phone') and {}"
                ).format(table.relation, condition, search.finds(table, "each"))
                found.update(number for (number,) in connection.execute(statement))
    return sorted(found)


def numbered(connection: Connection) -> Iterator[tuple[Table, list[str], sql.Composable]]:
    """Every table with such numbers, its columns of them, and the condition with the parameter `numbers`."""
    for table in all_tables(connection):
        columns = [column for column in NUMBERS if column in table.columns]
        if columns:
            held = [sql.SQL("{} = any(%(numbers)s)").format(sql.Identifier(column)) for column in columns]
            yield table, columns, sql.SQL("({})").format(sql.SQL(" or ").join(held))


def renumber(connection: Connection, key: ErasureKey, numbers: Sequence[int], scope: Scope) -> Mapping[str, int]:
    """Replaces the numbers everywhere; gives table -> rows that nothing had changed before."""
    places: dict[str, int] = {}
    if not numbers:
        return places
    made = Jsonb({str(number): key.number(number) for number in numbers})
    for table, columns, condition in numbered(connection):
        rows = lock_rows(connection, table, condition, {"numbers": list(numbers)})
        settings = [
            sql.SQL("{column} = coalesce((%(made)s::jsonb ->> {column}::text)::bigint, {column})").format(
                column=sql.Identifier(column)
            )
            for column in columns
        ]
        statement = sql.SQL("update {} as each set {} where {}").format(
            table.relation, sql.SQL(", ").join([*settings, *scope.marks(table)]), at(list(rows))
        )
        connection.execute(statement, {"made": made})
        places[table.full_name] = fresh(rows)
    return places
