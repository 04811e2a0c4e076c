"""What was decided about keeping each table fresh: ops.table_freshness, and its words for the DAG's docs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.freshness import Freshness, applied, probe
from lettertrail.bitrix.port import Source
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.target import SCHEMA


def settle(
    connection: Connection, source: Source, entry: TableEntry, columns: Sequence[Column], *, at: datetime
) -> TableEntry:
    """Decides how the table is kept fresh here, keeps the decision, and returns the entry to load by.

    Raises:
        SourceError: the source could not be asked.
    """
    freshness = probe(source, entry, columns)
    record_freshness(connection, entry, freshness, source.kind, at=at)
    return applied(entry, freshness)


def record_freshness(
    connection: Connection, entry: TableEntry, freshness: Freshness, kind: str, *, at: datetime
) -> None:
    """Keeps the decision; `entry` is the one of the catalogue. A table has one row, its latest."""
    connection.execute(
        "insert into ops.table_freshness (target, kind, declared, strategy, cursor, reason, probed_at)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (target) do update set kind = excluded.kind,"
        " declared = excluded.declared, strategy = excluded.strategy, cursor = excluded.cursor,"
        " reason = excluded.reason, probed_at = excluded.probed_at",
        [
            f"{SCHEMA}.{entry.name}", kind, entry.strategy, freshness.strategy, freshness.cursor, freshness.reason, at,
        ],
    )  # fmt: skip


def record_missing(connection: Connection, entry: TableEntry, kind: str, *, at: datetime) -> None:
    """Keeps that the source does not have the table."""
    freshness = Freshness("full", None, "not in the source: its module is not installed, or the cloud does not show it")
    record_freshness(connection, entry, freshness, kind, at=at)


def read_freshness(warehouse_dsn: str) -> str:
    """A Markdown table of how each table is kept fresh here, by name; one sentence before the first load."""
    with connect(warehouse_dsn, purpose="read freshness") as connection:
        rows = connection.execute(
            "select split_part(target, '.', 2), kind, declared, strategy, coalesce(cursor, ''), reason, probed_at"
            " from ops.table_freshness order by target"
        ).fetchall()
    if not rows:
        return "Nothing was looked at yet.\n"
    lines = ["| Table | Transport | Strategy | Change time | Found | At |", "|---|---|---|---|---|---|"]
    for table, kind, declared, strategy, cursor, reason, probed_at in rows:
        rule = strategy if strategy == declared else f"{strategy} (declared {declared})"
        at = probed_at.strftime("%Y-%m-%d %H:%M %Z")
        lines.append(f"| `{table}` | {kind} | {rule} | {cursor} | {_cell(reason)} | {at} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
