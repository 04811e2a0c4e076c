"""Takes a person's addresses, numbers and names out of the rows in which they stand.

What stands for an address is always the same, so rows still join each other, and counts and sums stay what they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from psycopg import sql

from lettertrail.erasure.catalogue import Table
from lettertrail.erasure.places import KEPT_FIELDS, Place
from lettertrail.erasure.rows import Scope, at, fresh, lock_rows, rows_of
from lettertrail.erasure.search import Search, escape
from lettertrail.warehouse.connect import Connection

ERASED = "erased"
DOCUMENTS = ("json", "jsonb")
_ARRAYS = {"_text": "text[]", "_varchar": "varchar[]"}


def scrub(connection: Connection, table: Table, search: Search, scope: Scope) -> int:
    """Takes the tokens out of one table; gives the number of rows that nothing had changed before."""
    rows = rows_of(connection, table, search, scope)
    if not rows:
        return 0
    found = at(list(rows))
    _drop_twins(connection, table, search, found)
    settings = [
        *(sql.SQL("{} = {}").format(sql.Identifier(column), _without(table, column, search)) for column in table.texts),
        *scope.marks(table),
    ]
    statement = sql.SQL("update {} as each set {} where {}")
    connection.execute(statement.format(table.relation, sql.SQL(", ").join(settings), found))
    return fresh(rows)


def clear(connection: Connection, table: Table, place: Place, owners: Mapping[str, object], scope: Scope) -> int:
    """Empties what is the person's in one place; rows that are empty already are left alone.

    Args:
        owners: the parameters of `Place.owned`.

    Returns:
        The number of rows that nothing had changed before.
    """
    condition = to_clear(connection, table, place)
    if condition is None:
        return 0
    condition = sql.SQL("{} and {}").format(beside_parameters(scope.condition(table), connection), condition)
    rows = lock_rows(connection, table, condition, owners)
    settings = [
        *(sql.SQL("{} = {}").format(sql.Identifier(column), value) for column, value in _wanted(table, place).items()),
        *scope.marks(table),
    ]
    statement = sql.SQL("update {} as each set {} where {}")
    connection.execute(statement.format(table.relation, sql.SQL(", ").join(settings), at(list(rows))))
    return fresh(rows)


def to_clear(connection: Connection, table: Table, place: Place) -> sql.Composable | None:
    """The condition, with the parameters of `Place.owned`, of the rows that hold what is to be emptied.

    None: the table has none of the columns.
    """
    differs = [
        sql.SQL("{}::text is distinct from ({})::text").format(
            sql.Identifier(column), beside_parameters(value, connection)
        )
        for column, value in _wanted(table, place).items()
    ]
    if not differs:
        return None
    return sql.SQL("({}) and ({})").format(sql.SQL(place.owned), sql.SQL(" or ").join(differs))


def is_readable(place: Place, present: Iterable[Table]) -> bool:
    """Whether the warehouse has all tables that say whose the rows are; small sites lack some."""
    return set(re.findall(r"raw_bitrix\.b_\w+", place.owned)) <= {table.full_name for table in present}


def beside_parameters(part: sql.Composable, connection: Connection) -> sql.Composable:
    """A part without parameters, spelled for a statement that has some."""
    return sql.SQL(part.as_string(connection).replace("%", "%%"))


def _wanted(table: Table, place: Place) -> dict[str, sql.Composable]:
    wanted: dict[str, sql.Composable] = {column: sql.SQL("null") for column in _cleared(table, place)}
    return wanted | {column: sql.SQL(value) for column, value in place.replaced.items() if column in table.columns}


def _cleared(table: Table, place: Place) -> list[str]:
    if place.cleared == ("*",):
        kept = (*KEPT_FIELDS, *table.key, "value_id")
        return [name for name in table.columns if name not in kept and not name.startswith("_")]
    return [column for column in place.cleared if column in table.columns]


def _without(table: Table, column: str, search: Search) -> sql.Composable:
    """The column's value without any of the tokens."""
    kind = table.columns[column]
    value: sql.Composable = sql.SQL("{}::text").format(sql.Identifier(column))
    for token in search.strong:
        value = sql.SQL("regexp_replace({}, {}, {}, 'gi')").format(
            value, sql.Literal(token.pattern), sql.Literal(token.instead)
        )
    if column not in table.key and (kind in DOCUMENTS or column not in table.worded):
        for name in search.names:
            pattern = rf"(?<![[:alnum:]_]){escape(name)}(?![[:alnum:]_])"
            value = sql.SQL("regexp_replace({}, {}, {}, 'gi')").format(value, sql.Literal(pattern), sql.Literal(ERASED))
    return sql.SQL("({})::{}").format(value, sql.SQL(_ARRAYS.get(kind, kind)))


def _drop_twins(connection: Connection, table: Table, search: Search, found: sql.Composable) -> None:
    """A row that came back under its old key takes the place of the one that was erased before."""
    texts = [column for column in table.key if column in table.texts]
    if not texts:
        return
    same = [sql.SQL("held.{} = back.{}").format(sql.Identifier(column), sql.Identifier(column)) for column in table.key]
    keys = [
        sql.SQL("{} as {}").format(
            _without(table, column, search) if column in texts else sql.Identifier(column), sql.Identifier(column)
        )
        for column in table.key
    ]
    connection.execute(
        sql.SQL(
            "delete from {table} as held using (select {keys} from {table} as each where {where}) as back"
            " where {same} and not {found}"
        ).format(
            table=table.relation,
            keys=sql.SQL(", ").join(keys),
            where=found,
            same=sql.SQL(" and ").join(same),
            found=search.finds(table, "held"),
        )
    )
