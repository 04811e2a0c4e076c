"""The tables in which a person may stand, from the database's own catalogue: one added yesterday is among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from lettertrail.erasure.places import PROOF, SCHEMAS
from lettertrail.warehouse.connect import Connection

TEXTS = ("text", "varchar", "bpchar", "json", "jsonb", "_text", "_varchar")
BYTES = {"raw_inbox.deliveries": "body"}
"""Table -> column of bytes that are searched like a text."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the warehouse."""

    schema: str
    name: str
    columns: Mapping[str, str]
    """Every column -> its type."""
    key: tuple[str, ...]
    worded: tuple[str, ...] = ()
    """Columns that take words of ours only, such as a status; somebody may be called like one of them."""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(name for name, kind in self.columns.items() if kind in TEXTS)

    def words(self, row: str) -> sql.Composable:
        """All that can be read in a row of the table, named `row`, as one text.

        What stands between two columns is neither in an address nor in a number, so that none is found across them.
        """
        parts = [sql.SQL("{}::text").format(sql.Identifier(row, column)) for column in self.texts]
        if self.full_name in BYTES:
            parts.append(sql.SQL("encode({}, 'escape')").format(sql.Identifier(row, BYTES[self.full_name])))
        return sql.SQL("concat_ws(chr(31), {})").format(sql.SQL(", ").join(parts))


def tables(connection: Connection, schemas: Sequence[str] = SCHEMAS) -> list[Table]:
    """All tables with a text column, of which something may be erased."""
    return [table for table in all_tables(connection, schemas) if table.texts]


def all_tables(connection: Connection, schemas: Sequence[str] = SCHEMAS) -> list[Table]:
    """The same, and those without a text."""
    rows = connection.execute(
        """
        select
            space.nspname, class.relname,
            (
                select jsonb_object_agg(attname, typname)
                from pg_attribute
                join pg_type on pg_type.oid = atttypid
                where attrelid = class.oid and attnum > 0 and not attisdropped and attgenerated = ''
            ),
            coalesce((
                select array_agg(attname::text)
                from pg_index
                join pg_attribute on attrelid = indrelid and attnum = any(indkey)
                where indrelid = class.oid and indisprimary
            ), '{}'),
            coalesce((
                select array_agg(distinct attname::text)
                from pg_constraint
                join pg_attribute on attrelid = conrelid and attnum = any(conkey)
                where conrelid = class.oid and contype in ('c', 'f')
            ), '{}')
        from pg_class as class
        join pg_namespace as space on space.oid = relnamespace
        where relkind = 'r' and nspname = any(%s) and not (nspname = 'ops' and relname = any(%s))
        order by 1, 2
        """,
        [list(schemas), list(PROOF)],
    ).fetchall()
    return [Table(schema, name, columns or {}, tuple(key), tuple(words)) for schema, name, columns, key, words in rows]


def storage_of(connection: Connection, table: Table) -> str:
    """Which table and which file of it bear the name now; the places of rows mean nothing in another one."""
    row = connection.execute(
        "select oid || '/' || pg_relation_filenode(oid) from (select to_regclass(%s)::oid) as named (oid)",
        [f'"{table.schema}"."{table.name}"'],
    ).fetchone()
    assert row is not None
    return str(row[0])
