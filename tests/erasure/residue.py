"""What is left of somebody in a database: every text, JSON and bytes column of every schema, found in the catalogue."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

COLUMNS = """
select columns.table_schema, columns.table_name, columns.column_name, columns.udt_name
from information_schema.columns
join information_schema.tables using (table_schema, table_name)
where tables.table_type = 'BASE TABLE'
    and columns.table_schema not in ('pg_catalog', 'information_schema')
    and (
        columns.data_type in (
            'text', 'character varying', 'character', '"char"', 'json', 'jsonb', 'bytea', 'xml', 'ARRAY'
        )
        or columns.domain_name is not null
        or columns.data_type = 'USER-DEFINED'
    )
order by 1, 2, 3
"""
_BYTES = "bytea"


def traces_of(emails: Iterable[str], phones: Iterable[str], names: Iterable[str] = ()) -> list[str]:
    """What may not be found any more: each as it is written, in a link, as hex of its bytes, and as MD5 and SHA-256.

    Args:
        phones: as the marts hold them; their last ten digits are looked for.
    """
    written = [*emails, *(phone[-10:] for phone in phones)]
    hashed = [text for value in (*emails, *phones) for text in _hashes(value)]
    linked = [email.replace("@", "%40") for email in emails]
    return sorted({*written, *linked, *names, *hashed, *(text.encode().hex() for text in written)})


def columns_read(connection: psycopg.Connection[Any]) -> int:
    """How many columns `residue` looks at."""
    return len(connection.execute(COLUMNS).fetchall())


def residue(connection: psycopg.Connection[Any], traces: Sequence[str], *, but: str = "") -> Counter[str]:
    """`schema.table.column` -> rows in which one of the traces stands, whatever its case.

    Args:
        but: a text that holds a trace and is somebody else's.
    """
    patterns = sql.Literal([f"%{_escaped(trace.lower())}%" for trace in traces])
    tables: dict[tuple[str, str], list[tuple[str, sql.Composable]]] = {}
    for schema, table, column, kind in connection.execute(COLUMNS.encode()).fetchall():
        text = sql.SQL("encode({}, 'escape')" if kind == _BYTES else "{}::text").format(sql.Identifier(column))
        count = sql.SQL("count(*) filter (where replace(lower({}), {}, '') like any({}))").format(
            text, sql.Literal(but.lower()), patterns
        )
        tables.setdefault((schema, table), []).append((column, count))
    found: Counter[str] = Counter()
    for (schema, table), columns in tables.items():
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(count for _, count in columns), sql.Identifier(schema, table)
        )
        counts = connection.execute(query).fetchone() or ()
        found.update(
            {f"{schema}.{table}.{name}": rows for (name, _), rows in zip(columns, counts, strict=True) if rows}
        )
    return found


def _hashes(value: str) -> tuple[str, str]:
    return (
        hashlib.md5(value.encode(), usedforsecurity=False).hexdigest(),
        hashlib.sha256(value.encode()).hexdigest()[:12],
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
