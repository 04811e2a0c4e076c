"""Keeps the rows that failed an expectation in `ops.failed_rows`, for a while, where only operators may look.

Great Expectations itself is told to count only: what it fetches would end in its pages. So the failing rows are asked
for here, in one select per failed expectation, and go from table to table without leaving the warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from lettertrail.expectations.suite import Suite
from lettertrail.warehouse.connect import Connection

log = logging.getLogger(__name__)

KEPT_PER_CHECK = 100
"""Rows of one expectation: enough to see what is wrong, whatever the size of the table."""
KEPT_FOR = timedelta(days=30)
"""Since a row was last seen failing."""

# What makes a row fail, by the type of the expectation.
_CONDITIONS: Mapping[str, LiteralString] = {
    "expect_column_values_to_not_be_null": "{column} is null",
    "expect_column_values_to_be_unique": (
        "{column} in (select {column} from {relation} where {column} is not null group by 1 having count(*) > 1)"
    ),
    "expect_column_values_to_be_in_set": "{column}::text <> all ({words})",
    "expect_column_values_to_match_regex": "{column} !~ {regex}",
    "expect_column_pair_values_a_to_be_greater_than_b": "{column_a} < {column_b}",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that did not hold."""

    name: str
    """As it is recorded: `<type>(<columns>)`."""
    kind: str
    arguments: Mapping[str, Any]


def keep(connection: Connection, suite: Suite, failures: Sequence[Failure], *, check_id: int, at: datetime) -> int:
    """Stores what failed; a row seen failing before is only seen again. Returns how many rows were looked at."""
    return sum(_keep_one(connection, suite, failure, check_id=check_id, at=at) for failure in failures)


def forget(connection: Connection, *, at: datetime) -> None:
    """Drops what nobody has seen failing for a while."""
    connection.execute("delete from ops.failed_rows where last_seen_at < %s", [at - KEPT_FOR])


def _keep_one(connection: Connection, suite: Suite, failure: Failure, *, check_id: int, at: datetime) -> int:
    rows = _failing_rows(suite, failure)
    if rows is None:
        return 0
    statement = sql.SQL(
        """
        insert into ops.failed_rows as kept
            (suite, expectation, record_hash, record, first_seen_at, last_seen_at, last_check_id)
        select distinct on (md5(record::text)) {suite}, {name}, md5(record::text), record, {at}, {at}, {check_id}
        from (select to_jsonb(failing) as record from ({rows}) as failing limit {most}) as failed
        on conflict (suite, expectation, record_hash)
        do update set last_seen_at = excluded.last_seen_at, last_check_id = excluded.last_check_id
        """
    ).format(
        suite=sql.Literal(suite.name),
        name=sql.Literal(failure.name),
        at=sql.Literal(at),
        check_id=sql.Literal(check_id),
        rows=rows,
        most=sql.Literal(KEPT_PER_CHECK),
    )
    try:
        return connection.execute(statement).rowcount
    except psycopg.Error as error:
        # The verdict stands without its rows; the text of the error may hold one of them.
        log.warning("rows of %s: %s cannot be kept: %s", suite.name, failure.name, type(error).__name__)
        return 0


def _failing_rows(suite: Suite, failure: Failure) -> sql.Composable | None:
    """A select of the rows that failed; None where no row is to blame (a table that is missing or too small)."""
    if suite.relation is None:
        behind = suite.rows_behind.get(failure.arguments.get("column", ""))
        return None if behind is None else sql.SQL(behind)
    if failure.kind not in _CONDITIONS:
        return None
    relation = sql.Identifier(*suite.relation.split("."))
    columns = {
        name.lower(): sql.Identifier(failure.arguments[name])
        for name in ("column", "column_A", "column_B")
        if name in failure.arguments
    }
    condition = sql.SQL(_CONDITIONS[failure.kind]).format(
        relation=relation,
        words=sql.Literal([str(word) for word in failure.arguments.get("value_set", ())]),
        regex=sql.Literal(failure.arguments.get("regex", "")),
        **columns,
    )
    return sql.SQL("select * from {relation} where {condition}").format(relation=relation, condition=condition)
