"""Freshness and volume by the source's own calendar: is it silent, loud or thin, for a day like this?

A site that sends on weekdays is not late on a Sunday, and a shop is not broken because it sells less in the night. So a
day is judged by the same weekdays of the eight weeks before, in the source's time zone, and only whole days are.

All of this is pointed out and shuts no door. The other sources are as good as ever, and whoever unsubscribed at one of
them must be left alone at all, also while one is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.expectations.suite import Expectation, Suite, between, computed_once
from lettertrail.warehouse.connect import Connection

WEEKS = 8
USUAL_SHARE = 0.75
"""A weekday on which so many of the last weeks had rows is one on which rows are expected."""
MAX_SILENT_DAYS = 1
"""Expected days in a row without a row."""
SMALL = 50
"""Days with fewer rows than this differ by nature."""
VOLUME_FACTOR = 5
"""More or fewer rows than a weekday's median by this factor are worth a look."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows that come as things happen at the source."""

    name: str
    """Part of the figures' names: `silent_days_<name>`, `volume_<name>`."""
    relation: str
    moment: str
    """The column with the time of the row."""
    is_naive: bool
    """Whether that time is the source's own clock, without a zone."""
    condition: str = "true"

    @property
    def table(self) -> str:
        return self.relation.partition(".")[2]


def rhythm(connection: Connection, name: str, streams: Sequence[Stream], at: datetime, zone: ZoneInfo) -> Suite:
    """One suite with two figures per stream; a stream with no usual days yet has none."""
    parts = [_figures(stream, at, zone) for stream in streams]
    query = sql.SQL("select * from {parts}").format(parts=sql.SQL(" cross join ").join(parts))
    return Suite(
        name=name,
        query=computed_once(query.as_string(connection)),
        expectations=tuple(expectation for stream in streams for expectation in _expectations(stream)),
    )


def _expectations(stream: Stream) -> tuple[Expectation, ...]:
    return (
        between(f"silent_days_{stream.name}", at_most=MAX_SILENT_DAYS, warn_only=True),
        between(f"volume_{stream.name}", at_least=1 / VOLUME_FACTOR, at_most=VOLUME_FACTOR, warn_only=True),
    )


def _figures(stream: Stream, at: datetime, zone: ZoneInfo) -> sql.Composed:
    """One row: usual days since the last one with rows, and the last usual day's rows per its weekday's median."""
    today = at.astimezone(zone).date()
    moment = sql.Identifier(stream.moment)
    local = moment if stream.is_naive else sql.SQL("{} at time zone {}").format(moment, sql.Literal(zone.key))
    return sql.SQL(
        """
        (
            with counted as (
                select ({local})::date as day, count(*) as row_count
                from {relation}
                where _deleted_at is null
                    and ({condition})
                    and {moment} >= {today}::date - {days} - 1
                group by 1
            ),

            days as (
                select
                    calendar.day::date as day,
                    extract(isodow from calendar.day) as weekday,
                    coalesce(counted.row_count, 0) as row_count
                from generate_series({today}::date - {days}, {today}::date - 1, interval '1 day') as calendar (day)
                left join counted on counted.day = calendar.day::date
            ),

            usual as (
                select
                    weekday,
                    percentile_cont(0.5) within group (order by row_count) as median_rows
                from days
                group by weekday
                having avg((row_count > 0)::int) >= {usual_share}
            ),

            judged as (
                select
                    days.day,
                    days.row_count,
                    usual.median_rows,
                    max(days.day) over () as last_usual_day,
                    (select max(day) from days where row_count > 0) as last_day_with_rows
                from days
                inner join usual on days.weekday = usual.weekday
            )

            select
                case when count(*) > 0 then count(*) filter (where day > last_day_with_rows) end as {silent_days},
                max(row_count / nullif(median_rows, 0)) filter (where day = last_usual_day and median_rows >= {small})
                    as {volume}
            from judged
        ) as {name}
        """
    ).format(
        local=local,
        relation=sql.Identifier(*stream.relation.split(".")),
        condition=sql.SQL(stream.condition),
        moment=moment,
        today=sql.Literal(today.isoformat()),
        days=sql.Literal(7 * WEEKS),
        usual_share=sql.Literal(USUAL_SHARE),
        small=sql.Literal(SMALL),
        silent_days=sql.Identifier(f"silent_days_{stream.name}"),
        volume=sql.Identifier(f"volume_{stream.name}"),
        name=sql.Identifier(stream.name),
    )
