"""Desired against acknowledged: what has to change at one destination, and why.

The difference is worked out in SQL (`statements.py`) into a temporary table `planned`, so a million members take
seconds; what comes back is a `Plan`: counts, reasons and a sample without addresses, which is all the brake needs.

Only the difference is planned. What a destination once confirmed stays in `ops.acknowledged`, so with nothing changed
the plan is empty and nothing is called. Suppression is not the segment author's duty: `marts.dim_suppression`, and who
has left since it was built, is subtracted from every segment here, always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from lettertrail.audiences import statements
from lettertrail.audiences.segments import Segment
from lettertrail.errors import ContractError
from lettertrail.warehouse.connect import Connection

SUPPRESSIONS = "suppressions"
"""The name in `ops` of the audience of people who must not be mailed."""

CRM = "bitrix"
"""The one destination whose records are CRM contacts (key: contact id), not addresses."""

SITE = "bitrix_site"
"""A site with our handler: its addresses are those of the sender module (`marts.mart_site_addresses`)."""

LEAD_SUPPRESSIONS = "lead_suppressions"
"""The same for CRM leads, whose numbers are another series than the contacts'."""

FLAGGED = {
    SUPPRESSIONS: (("marts", "dim_crm_contact"), "contact_id"),
    LEAD_SUPPRESSIONS: (("marts", "mart_crm_lead_fields"), "lead_id"),
}
"""Audience → the relation and its key that say whose marketing flag is what."""

REFUSED_RETRY_AFTER = timedelta(days=7)
"""A refusal is an answer, not a fault: it is asked again only now and then, or when the contact changed."""

LINKS = ("preferences_url", "unsubscribe_url")
"""The attributes of who has links, in segments that send them along."""

_SAMPLE_SIZE = 5
_FIELDS_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Target:
    """One audience at one account: the unit that is planned, braked and pushed."""

    destination: str
    account: str
    audience: str

    def __str__(self) -> str:
        return f"{self.account} {self.audience}"

    def as_values(self) -> dict[str, Any]:
        """The bound values of every statement about this target."""
        return {"destination": self.destination, "account": self.account, "audience": self.audience}


@dataclass(frozen=True, slots=True)
class PlanLine:
    """Records that share an action and a reason."""

    action: str
    reason: str
    has_evidence: bool
    """True when the action rests on suppression evidence, which the brake never holds."""
    records: int
    is_new: bool = True
    """False for what an earlier run was let through with and did not bring to an end."""


@dataclass(frozen=True, slots=True)
class PlannedSample:
    """One planned record, told by a fingerprint (first 12 hex digits of the key's SHA-256), never by its address."""

    action: str
    reason: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class FieldSet:
    """Records of one action that bring the same fields: services that take columns cut their calls by these."""

    action: str
    fields: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change, in numbers."""

    lines: tuple[PlanLine, ...]
    acknowledged: int
    """Records that are ours to take back: members we added, or people we suppressed ourselves."""
    suppression_size: int
    """Addresses in `marts.dim_suppression`."""
    suppressed_before: int
    """Suppressions that destinations, this one or another, have confirmed so far."""
    audience_size: int | None = None
    """Addresses in the segment before anything is subtracted; None for suppressions."""
    subtracted: int = 0
    """Of these, how many must not be mailed."""
    held_out: int = 0
    """Of the rest, how many are kept back to measure the effect."""
    members: int = 0
    """Confirmed members, those we only found among them; 0 for suppressions."""
    sample: tuple[PlannedSample, ...] = ()
    field_sets: tuple[FieldSet, ...] = ()

    @property
    def planned(self) -> int:
        return sum(line.records for line in self.lines)

    def count(self, action: str, *, has_evidence: bool | None = None, is_new: bool | None = None) -> int:
        """Planned records of one action, all or only those with (or without) suppression evidence, or new ones."""
        return sum(
            line.records
            for line in self.lines
            if line.action == action and has_evidence in (None, line.has_evidence) and is_new in (None, line.is_new)
        )


def plan_suppressions(connection: Connection, target: Target, *, at: datetime) -> Plan:
    """Fills the temporary table `planned` for a destination's suppressions.

    An ESP is told about addresses it holds as mailable contacts (`raw_esp.contacts`) and has not confirmed yet, or that
    were seen mailable after the confirmation. Bitrix is told about contacts (`marts.dim_crm_contact`); only
    what we suppressed ourselves is ever released.

    Raises:
        ContractError: when a mart is missing.
    """
    values = {**target.as_values(), "refused_before": at - REFUSED_RETRY_AFTER}
    _start(connection, values)
    execute_on_marts(connection, _suppressions_of(target), values)
    return _planned(connection, values, acknowledged=_number(connection, statements.COUNT_OURS, values))


def plan_segment(
    connection: Connection, segment: Segment, target: Target, *, sends_attributes: bool, at: datetime
) -> Plan:
    """Fills the temporary table `planned` for one segment at one destination.

    Where the destination takes attributes, a member is sent those fields whose value is not the confirmed one. A
    membership that was found and not made by us is updated and never removed.

    Raises:
        ContractError: when the segment's relation or a mart is missing.
    """
    values = {
        **target.as_values(),
        "refused_before": at - REFUSED_RETRY_AFTER,
        "mode": segment.mode,
        "segment": segment.name,
        "holdout": round(segment.holdout_pct * 100),
        "links": segment.links,
    }
    _start(connection, values)
    relation = sql.Identifier(*segment.relation.split("."))
    fields = (
        _fingerprints(connection, relation, LINKS if segment.links else ())
        if sends_attributes
        else sql.SQL("'{}'::jsonb")
    )
    execute_on_marts(connection, sql.SQL(statements.JUDGE_PEOPLE).format(relation=relation, fields=fields), values)
    connection.execute("analyze judged, confirmed, suppressed, tried")
    execute_on_marts(connection, statements.PLAN_SEGMENT, values)
    size, subtracted, held_out = _row(connection, statements.COUNT_JUDGED, values)
    ours, members = _row(connection, statements.COUNT_MEMBERS, values)
    planned = _planned(connection, values, acknowledged=ours)
    return replace(planned, members=members, audience_size=size, subtracted=subtracted, held_out=held_out)


def plan_records(
    connection: Connection, target: Target, statement: sql.Composed, values: dict[str, Any], *, at: datetime
) -> Plan:
    """Fills the temporary table `planned` with a statement of the caller's, for what is neither of the above.

    The statement inserts into `planned`; it may read `confirmed`, and has `refused_before` and the target's values
    bound besides `values`.

    Raises:
        ContractError: when a mart is missing.
    """
    values = {**values, **target.as_values(), "refused_before": at - REFUSED_RETRY_AFTER}
    _start(connection, values)
    execute_on_marts(connection, statement, values)
    ours, members = _row(connection, statements.COUNT_MEMBERS, values)
    return replace(_planned(connection, values, acknowledged=ours), members=members)


def _suppressions_of(target: Target) -> str | sql.Composed:
    if target.destination == SITE:
        return statements.PLAN_SITE_SUPPRESSIONS
    if target.destination != CRM:
        return statements.PLAN_ESP_SUPPRESSIONS
    relation, key = FLAGGED[target.audience]
    return sql.SQL(statements.PLAN_CRM_FLAGS).format(relation=sql.Identifier(*relation), key=sql.Identifier(key))


def _fingerprints(connection: Connection, relation: sql.Identifier, more: Sequence[str]) -> sql.Composed:
    """An expression that gives field -> fingerprint of `people.attributes`; of `more` only where there is one."""
    rows = connection.execute(statements.ATTRIBUTE_COLUMNS, [relation.as_string(connection)]).fetchall()
    columns = [*(str(row[0]) for row in rows), *more]
    # a function takes a hundred arguments at most
    parts = [columns[start : start + _FIELDS_AT_ONCE] for start in range(0, len(columns), _FIELDS_AT_ONCE)] or [[]]
    built = sql.SQL(" || ").join(
        sql.SQL("jsonb_build_object({pairs})").format(
            pairs=sql.SQL(", ").join(
                sql.SQL("{name}::text, left(md5((people.attributes -> {name})::text), 16)").format(
                    name=sql.Literal(name)
                )
                for name in part
            )
        )
        for part in parts
    )
    return sql.SQL("jsonb_strip_nulls({built})").format(built=built) if more else built


def _start(connection: Connection, values: dict[str, Any]) -> None:
    # A million members are joined in memory; the default makes every step of it go through files.
    connection.execute("set work_mem = '128MB'")
    for statement in statements.TEMPORARY_TABLES:
        connection.execute(statement)
    for statement in (statements.READ_CONFIRMED, statements.READ_SUPPRESSED, statements.READ_TRIED):
        execute_on_marts(connection, statement, values)


def _planned(connection: Connection, values: dict[str, Any], *, acknowledged: int) -> Plan:
    """What `planned` holds, and what every plan is measured by."""
    return Plan(
        lines=tuple(PlanLine(*row) for row in connection.execute(statements.PLAN_LINES)),
        acknowledged=acknowledged,
        suppression_size=_number(connection, statements.COUNT_SUPPRESSION, values),
        suppressed_before=_number(connection, statements.COUNT_CONFIRMED, values),
        sample=_sample(connection),
        field_sets=_field_sets(connection),
    )


def _sample(connection: Connection) -> tuple[PlannedSample, ...]:
    rows: Iterator[tuple[str, str, str]] = iter(connection.execute(statements.PLAN_SAMPLE, [_SAMPLE_SIZE]))
    return tuple(PlannedSample(*row) for row in rows)


def _field_sets(connection: Connection) -> tuple[FieldSet, ...]:
    rows = connection.execute(statements.FIELD_SETS)
    return tuple(FieldSet(action, tuple(fields), records) for action, fields, records in rows)


def _number(connection: Connection, statement: str, values: dict[str, Any]) -> int:
    return int(_row(connection, statement, values)[0])


def _row(connection: Connection, statement: str, values: dict[str, Any]) -> tuple[Any, ...]:
    row = execute_on_marts(connection, statement, values).fetchone()
    assert row is not None
    return row


def execute_on_marts(
    connection: Connection, statement: str | sql.Composed, values: Mapping[str, Any]
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Runs a statement that may read a mart.

    Raises:
        ContractError: the mart is missing.
    """
    try:
        return connection.execute(statement, values)
    except psycopg.errors.UndefinedTable as error:
        raise ContractError(f"{error.diag.message_primary}: build the marts before anything is pushed") from None
