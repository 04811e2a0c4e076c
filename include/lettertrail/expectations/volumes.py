"""What `ops.loads` tells: how much of each table is left, how much could not be stored, when it was last looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import sql

from lettertrail.expectations.suite import Suite, between, computed_once
from lettertrail.warehouse.connect import Connection

MIN_KEPT_SHARE = 0.7
"""A table that lost over 30 % of its rows within a week was emptied, not tidied."""
MAX_QUARANTINED_SHARE = 0.01
WINDOW = timedelta(days=7)
MAX_HOURS_SINCE_LOAD = 24
"""Every source is read hourly. A copy this old is pointed out; it shuts no door, for the other sources are as good."""


def volumes(connection: Connection, name: str, targets: Sequence[tuple[str, str]], at: datetime) -> Suite:
    """A suite with one figure per (figure, target of `ops.loads`), the share put in quarantine and the oldest copy."""
    kept = [
        sql.SQL("max(kept) filter (where target = {target}) as {figure}").format(
            target=sql.Literal(target), figure=sql.Identifier(figure)
        )
        for figure, target in targets
    ]
    query = sql.SQL(
        """
        select
            {kept},
            max(quarantined_share) as quarantined_share,
            extract(epoch from {at} - min(loaded_at))::float / 3600 as hours_since_load
        from (
            select
                target,
                max(finished_at) as loaded_at,
                (array_agg(rows_after order by load_id desc))[1]::float
                    / nullif(max(greatest(rows_after, rows_before)) filter (where finished_at >= {since}), 0) as kept,
                (sum(quarantined) filter (where finished_at >= {since}))::float
                    / nullif(sum(read) filter (where finished_at >= {since}), 0) as quarantined_share
            from (
                select
                    target,
                    load_id,
                    finished_at,
                    read,
                    quarantined,
                    sum(inserted - deleted) over loads_so_far as rows_after,
                    sum(inserted - deleted) over loads_so_far - (inserted - deleted) as rows_before
                from ops.loads
                where target = any ({targets})
                window loads_so_far as (partition by target order by load_id)
            ) as loads
            group by target
        ) as volumes
        """
    ).format(
        kept=sql.SQL(", ").join(kept),
        at=sql.Literal(at),
        since=sql.Literal(at - WINDOW),
        targets=sql.Literal([target for _, target in targets]),
    )
    return Suite(
        name=name,
        query=computed_once(query.as_string(connection)),
        expectations=(
            *(between(figure, at_least=MIN_KEPT_SHARE) for figure, _ in targets),
            between("quarantined_share", at_most=MAX_QUARANTINED_SHARE),
            between("hours_since_load", at_most=MAX_HOURS_SINCE_LOAD, warn_only=True),
        ),
    )
