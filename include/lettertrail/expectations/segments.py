"""Door 2: one suite applied to every published segment.

Suppression is subtracted by the plan, whatever the segment holds; here a segment that consists mostly of suppressed
people, or whose size jumped, is pointed out (a warning: it does not shut the door, the brake holds what is risky).
"""

from __future__ import annotations

from datetime import datetime

from lettertrail.errors import ContractError
from lettertrail.expectations.suite import Expectation, Suite, between, computed_once, matches, not_null, unique
from lettertrail.warehouse.connect import Connection

SCHEMA = "segments"
ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
MAX_SUPPRESSED_SHARE = 0.5
SIZE_FACTOR = 3
SMALL = 100
"""Sizes up to this jump by nature."""


def suites(connection: Connection, at: datetime) -> list[Suite]:
    """Two suites per segment of `ops.segments`: its rows, and its size and make-up.

    Raises:
        ContractError: nothing was ever published, so nobody knows what to check.
    """
    published = connection.execute("select name, relation from ops.segments order by name").fetchall()
    if not published:
        raise ContractError("ops.segments is empty: no segment was published after the dbt build")
    return [
        suite
        for name, relation in published
        for suite in (_rows(name, relation), _figures(name, relation, _former_size(connection, name)))
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


def _figures(name: str, relation: str, former: int | None) -> Suite:
    query = f"""
        select
            count(*) as size,
            count(*) filter (where suppression.email is not null)::float / nullif(count(*), 0) as suppressed_share
        from {_quoted(relation)} as person
        left join marts.dim_suppression as suppression
            on lower(btrim(person.email)) = suppression.email and suppression.scope = 'everything'
    """  # noqa: S608
    size: list[Expectation] = []
    if former is not None and former > SMALL:
        limits = {"at_least": former / SIZE_FACTOR, "at_most": former * SIZE_FACTOR}
        size = [between("size", **limits, warn_only=True)]
    return Suite(
        name=f"{SCHEMA}.{name}.figures",
        query=computed_once(query),
        expectations=(*size, between("suppressed_share", at_most=MAX_SUPPRESSED_SHARE, warn_only=True)),
    )


def _former_size(connection: Connection, name: str) -> int | None:
    """The size at the last check, as that check recorded it."""
    row = connection.execute(
        "select (details ->> 'rows')::bigint from ops.quality_checks where suite = %s order by check_id desc limit 1",
        [f"{SCHEMA}.{name}"],
    ).fetchone()
    return None if row is None else row[0]


def _quoted(relation: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in relation.split("."))
