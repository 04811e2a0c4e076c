"""Gets cleaned batches into a temporary table beside the raw one; it ends with the transaction, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from psycopg import sql

from lettertrail.bitrix.port import ROW_HASH
from lettertrail.warehouse.clean import Cleaner
from lettertrail.warehouse.session import Session
from lettertrail.warehouse.target import Target

_ANALYZE_FROM = 2_000
"""Below this many rows the planner's guess about a new table is good enough."""


def land(session: Session, target: Target, batches: Iterator[pa.RecordBatch], cleaner: Cleaner) -> sql.Composable:
    """Copies batches into a temporary table of the columns' wire types; returns its name."""
    name = f"landing_{target.table}"[:63]
    landing = sql.Identifier("pg_temp", name)
    columns = [*((column.name, column.wire_type) for column in target.columns), (ROW_HASH, "bigint")]
    lines = [sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns]
    session.run(
        sql.SQL("create temporary table {} ({}) on commit drop").format(sql.Identifier(name), sql.SQL(", ").join(lines))
    )
    session.copy(landing, columns, cleaner.clean(batches))
    if cleaner.rows >= _ANALYZE_FROM:
        session.run(sql.SQL("analyze {}").format(landing))
    return landing
