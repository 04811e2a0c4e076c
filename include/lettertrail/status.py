"""How the copy stands, table by table, and what the destinations have: `lettertrail status`; also for the report.

One row per table that was ever loaded, from the view `ops.table_status`: rows, last load and its age, when the copy was
last proven to be the source, what a first copy still lacks, and what a person should know (drift, quarantine).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from lettertrail.audiences.audit import Drift
from lettertrail.warehouse.connect import connect

RECENT = timedelta(days=7)
"""Notices older than this have been seen."""
_ROUTINE = ("table created with",)
"""Said once for every table; no news to anybody."""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One copied table."""

    table: str
    """`schema.table`, for an ESP account `schema.table:account`."""
    rows: int
    """Rows that the source has, as far as the copy knows."""
    loaded_at: datetime | None
    """When the last load was committed."""
    strategy: str | None
    """Of the last load."""
    proven_at: datetime | None
    """When a comparison of whole rows last ended with the copy being the source."""
    ranges_done: int | None
    """Key ranges of an unfinished first copy that are done; None when there is none."""
    ranges: int | None
    notices: tuple[str, ...]
    """Of the last seven days, the newest first, each once."""


def read_status(warehouse_dsn: str, *, at: datetime) -> list[TableStatus]:
    """All tables by name. Any role that may read `ops` will do.

    Raises:
        ConfigurationError: the warehouse cannot be reached.
    """
    with connect(warehouse_dsn, purpose="status") as connection:
        rows = connection.execute(
            "select target, rows, loaded_at, last_strategy, proven_at, ranges_done, ranges, notices"
            " from ops.table_status order by target"
        ).fetchall()
    return [
        TableStatus(table, count, loaded_at, strategy, proven_at, done, ranges, recent_notices(noticed, at=at))
        for table, count, loaded_at, strategy, proven_at, done, ranges, noticed in rows
    ]


def as_text(tables: Sequence[TableStatus], *, at: datetime) -> str:
    """The table for a terminal, and one line that sums it up."""
    header = ("table", "rows", "last load", "lag", "strategy", "proven")
    lines = [header, *(_line(table, at) for table in tables)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    shown = []
    for line, table in zip(lines, [None, *tables], strict=True):
        cells = [cell.rjust(width) if column in {1, 3} else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        shown.append("  ".join(cells).rstrip())
        shown += [f"    {notice}" for notice in (table.notices if table else ())]
    proven = sum(table.proven_at is not None for table in tables)
    rows = sum(table.rows for table in tables)
    shown.append(f"{len(tables)} tables, {_grouped(rows)} rows, {proven} proven")
    return "\n".join(shown)


def audits_as_text(audits: Sequence[Drift], *, at: datetime) -> str:
    """One line per audience that was read back, those with drift told apart; empty when none ever was."""
    lines = [
        f"read back {age(audit.finished_at, at=at)} ago: {audit.account} {audit.audience}: "
        + (
            f"{audit.missing} of {audit.expected} missing, {audit.repaired} repaired, {audit.strangers} strangers"
            if audit.missing or audit.strangers
            else f"as confirmed ({audit.expected})"
        )
        for audit in audits
    ]
    return "\n".join(lines)


def as_json(tables: Sequence[TableStatus]) -> str:
    """The same for programs: a list of objects, times in ISO 8601."""
    return json.dumps([asdict(table) for table in tables], default=datetime.isoformat, indent=1)


def age(since: datetime | None, *, at: datetime) -> str:
    """A time span as people say it: 45 s, 12 min, 3 h, 2 d."""
    if since is None:
        return "never"
    seconds = max(0, int((at - since).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _line(table: TableStatus, at: datetime) -> tuple[str, ...]:
    strategy = table.strategy or ""
    if table.ranges is not None:
        strategy = f"first copy, {table.ranges_done} of {table.ranges} ranges"
    proven = "never" if table.proven_at is None else f"{age(table.proven_at, at=at)} ago"
    loaded = "never" if table.loaded_at is None else f"{table.loaded_at:%Y-%m-%d %H:%M}"
    return (table.table, _grouped(table.rows), loaded, age(table.loaded_at, at=at), strategy, proven)


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def recent_notices(noticed: Sequence[Mapping[str, Any]], *, at: datetime) -> tuple[str, ...]:
    """What `ops.table_status.notices` holds of the last seven days, without what is said of every table."""
    found: dict[str, None] = {}
    for item in noticed:
        if datetime.fromisoformat(item["at"]) >= at - RECENT:
            found |= {str(notice): None for notice in item["notices"] if not str(notice).startswith(_ROUTINE)}
    return tuple(found)
