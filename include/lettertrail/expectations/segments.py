"""Door 2: one suite applied to every published segment.

Suppression is subtracted by the plan, by address, whatever the segment holds. Here it is asked whether that leaves
somebody who must not be written to: a person who left at one address and is in the segment with another one that
`dim_suppression` does not know. A segment that consists mostly of suppressed people, or whose size jumped, is pointed
out (a warning: it does not shut the door, the brake holds what is risky).
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.errors import ContractError
from lettertrail.expectations.suite import Expectation, Suite, between, computed_once, matches, not_null, unique
from lettertrail.warehouse.connect import Connection

SCHEMA = "segments"
ADDRESS = r"^[^@\s<>(),;:\"]{1,64}@[^@\s<>(),;:\"_]+\.[^@\s<>(),;:\"_.]{2,}$"
"""What any service takes: one address and no name, brackets or list around it."""
MAX_SUPPRESSED_SHARE = 0.5
SIZE_FACTOR = 3
SMALL = 100
"""Sizes up to this jump by nature."""
HISTORY = 10
"""Checks whose median is the usual size."""

# A dead mailbox says nothing about the person's other ones, and where suppression holds for single addresses
# (`suppress_whole_person`), no row is ever about another one. An address with evidence that stands no more has
# consented since.
SUPPRESSED_WITHOUT_THEIR_ADDRESS = """
    from {relation} as person
    where lower(btrim(person.email)) not in (
            select email from marts.fct_suppression_evidence where scope = 'everything' and email is not null
        )
        and person.person_id in (
            select person_id
            from marts.dim_suppression
            where scope = 'everything'
                and state in ('erased', 'complaint', 'unsubscribed', 'no_consent')
                and exists (select from marts.dim_suppression where is_from_other_email)
        )
"""


def suites(connection: Connection, at: datetime, zone: ZoneInfo) -> list[Suite]:
    """Two suites per segment of `ops.segments`: its rows, and its size and make-up.

    Raises:
        ContractError: nothing was ever published, so nobody knows what to check.
    """
    published = connection.execute("select name, relation from ops.segments order by name").fetchall()
    if not published:
        raise ContractError("ops.segments is empty: no segment was published after the dbt build")
    return [
        suite for name, relation in published for suite in (_rows(name, relation), _figures(connection, name, relation))
    ]


def _rows(name: str, relation: str) -> Suite:
    return Suite(
        name=f"{SCHEMA}.{name}",
        relation=relation,
        expectations=(
            *not_null("email", "person_id"),
            unique("email"),
            matches("email", ADDRESS),
        ),
    )


def _figures(connection: Connection, name: str, relation: str) -> Suite:
    table = sql.Identifier(*relation.split("."))
    left = sql.SQL(SUPPRESSED_WITHOUT_THEIR_ADDRESS).format(relation=table)
    query = sql.SQL(
        """
        select
            count(*) as size,
            count(*) filter (where suppression.email is not null)::float / nullif(count(*), 0) as suppressed_share,
            (select count(*) {left}) as suppressed_people_left
        from {table} as person
        left join (select distinct email from marts.dim_suppression where scope = 'everything') as suppression
            on lower(btrim(person.email)) = suppression.email
        """
    ).format(left=left, table=table)
    return Suite(
        name=f"{SCHEMA}.{name}.figures",
        query=computed_once(query.as_string(connection)),
        rows_behind={"suppressed_people_left": sql.SQL("select person.* {}").format(left).as_string(connection)},
        expectations=(
            *_size(_usual_size(connection, name)),
            between("suppressed_share", at_most=MAX_SUPPRESSED_SHARE, warn_only=True),
            between("suppressed_people_left", at_most=0),
        ),
    )


def _size(usual: float | None) -> list[Expectation]:
    if usual is None or usual <= SMALL:
        return []
    return [between("size", at_least=usual / SIZE_FACTOR, at_most=usual * SIZE_FACTOR, warn_only=True)]


def _usual_size(connection: Connection, name: str) -> float | None:
    """The median of the last checks' sizes, as those checks recorded them."""
    row = connection.execute(
        "select percentile_cont(0.5) within group (order by size) from ("
        " select (details ->> 'rows')::bigint as size from ops.quality_checks where suite = %s"
        " order by check_id desc limit %s) as former",
        [f"{SCHEMA}.{name}", HISTORY],
    ).fetchone()
    return None if row is None else row[0]
