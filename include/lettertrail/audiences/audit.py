"""Read-back: does a destination still have what it once confirmed?

A push believes the ledger, because asking every service for everybody at every run would take hours. This asks, now
and then. What is missing was changed by somebody else: it is forgotten here, so that the next plan asks for it anew
where it is still wanted. Strangers are left alone, and members among them are noted as found, so that no plan takes
them for ours. Nothing is written at the destination.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.types.json import Jsonb

from lettertrail.audiences import audit_statements, state_statements
from lettertrail.audiences.destinations import AudienceDestination, Destination
from lettertrail.audiences.plan import CRM, FLAGGED, SUPPRESSIONS, Target, execute_on_marts
from lettertrail.audiences.state import alone
from lettertrail.clock import Clock
from lettertrail.errors import BrakeApplied
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

MOST_MISSING_PCT = 50.0
"""With more than this missing, it is likelier that we read the wrong place than that everybody was taken out."""
TOLERATED_MISSING = 20
"""So few may be all."""
_SAMPLE_SIZE = 5


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What a read-back found: found - strangers = expected - missing."""

    destination: str
    account: str
    audience: str
    expected: int
    """Records the ledger says are there."""
    found: int
    missing: int
    strangers: int
    """Found and not ours, nor known before."""
    repaired: int
    """Of the missing, how many the next plan will ask for anew where they are still wanted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How one kind of target is read back."""

    expected: sql.Composed
    """Makes the temporary table `expected` of the records that the ledger says are there."""
    present: Callable[[Connection], Iterable[str]]
    """The keys of the records that are; called once `expected` is made. While they are given no query may run."""
    repair: str = audit_statements.FORGET_MISSING
    keeps_strangers: bool = True


@dataclass(frozen=True, slots=True)
class Drift:
    """The newest audit of a target (`ops.audits`), for those who look."""

    destination: str
    account: str
    audience: str
    expected: int
    """Records the ledger said are there."""
    missing: int
    strangers: int
    repaired: int
    finished_at: datetime


def audit_suppressions(
    destination: Destination, warehouse_dsn: str, *, run_id: str, clock: Clock, audience: str = SUPPRESSIONS
) -> AuditResult | None:
    """Compares whom the destination refuses to mail with whom it confirmed; None when nothing was ever pushed there.

    Only people it has are expected: whom an account does not know it cannot show as suppressed.

    Args:
        audience: one of `plan.FLAGGED`; the other one is that of Bitrix' leads.

    Raises:
        BrakeApplied: so much is missing that nothing was repaired.
        ApiError: the destination could not be read; nothing was compared.
    """
    target = Target(destination.name, destination.account, audience)
    # Whom an ESP should refuse to mail is planned by what the last load saw; drift is newer than that.
    expected, repair = audit_statements.EXPECT_SUPPRESSED, audit_statements.MARK_DRIFTED
    if target.destination == CRM:
        expected, repair = audit_statements.expect_flags(*FLAGGED[audience]), audit_statements.FORGET_MISSING
    reading = Reading(expected, lambda _: destination.suppressed(), repair, keeps_strangers=False)
    return read_back(target, reading, warehouse_dsn, run_id=run_id, clock=clock)


def audit_members(
    audience: str, destination: AudienceDestination, warehouse_dsn: str, *, run_id: str, clock: Clock
) -> AuditResult | None:
    """Compares an audience's members with those that were confirmed; None when nothing was ever pushed there.

    Raises:
        BrakeApplied: so much is missing that nothing was repaired.
        ApiError: the destination could not be read; nothing was compared.
    """
    target = Target(destination.name, destination.account, audience)
    reading = Reading(audit_statements.EXPECT_MEMBERS, lambda _: destination.members(audience))
    return read_back(target, reading, warehouse_dsn, run_id=run_id, clock=clock)


def oldest_first(warehouse_dsn: str, account: str, audiences: Sequence[str], *, most: int | None) -> list[str]:
    """The audiences of an account, those first that were not read back for longest; at most `most` of them."""
    with connect(warehouse_dsn, purpose="choose what to read back") as connection:
        rows = connection.execute(audit_statements.LAST_AUDITS, {"account": account}).fetchall()
    audited: dict[str, datetime] = dict(rows)
    ordered = sorted(audiences, key=lambda name: (name in audited, audited.get(name), name))
    return ordered[:most]


def read_drift(warehouse_dsn: str) -> list[Drift]:
    """The newest audit of every target, by destination, account and audience."""
    with connect(warehouse_dsn, purpose="read audits") as connection:
        return [Drift(*row) for row in connection.execute(audit_statements.NEWEST_AUDITS)]


def read_back(target: Target, reading: Reading, warehouse_dsn: str, *, run_id: str, clock: Clock) -> AuditResult | None:
    """Compares what is there with the ledger and forgets what is missing; None when nothing was ever pushed there.

    Raises:
        BrakeApplied: so much is missing that nothing was repaired.
        ApiError: the destination could not be read; nothing was compared.
        ContractError: a mart is missing.
    """
    started_at = clock()
    with alone(warehouse_dsn, target) as connection:
        state = connection.execute(state_statements.READ_STATE, target.as_values()).fetchone()
        if state is None or state[0] is None:
            log.info("%s was never pushed: nothing to read back", target)
            return None
        if not (state[1] and state[2]):
            log.warning("%s the ledger is not what the last push left: the next push reads it anew", target)
            return None
        with connection.transaction():
            values = {**target.as_values(), "at": clock(), "doubted_because": state[3], "restored_at": state[4]}
            result, sample = _compare(connection, target, reading)
            if result.repaired:
                connection.execute(reading.repair)
            if reading.keeps_strangers:
                connection.execute(audit_statements.KEEP_STRANGERS, values)
            connection.execute(state_statements.NOTE_STATE, values)
            connection.execute(
                audit_statements.RECORD_AUDIT,
                {
                    **values,
                    "run_id": run_id,
                    "expected": result.expected,
                    "found": result.found,
                    "missing": result.missing,
                    "strangers": result.strangers,
                    "repaired": result.repaired,
                    "sample": Jsonb(sample),
                    "started_at": started_at,
                },
            )
    log.info(
        "%s read back expected=%s found=%s missing=%s strangers=%s repaired=%s",
        target, result.expected, result.found, result.missing, result.strangers, result.repaired,
    )  # fmt: skip
    if result.missing and not result.repaired:
        raise BrakeApplied(
            f"{target}: {result.missing} of {result.expected} confirmed records are not there. That looks like another "
            "list or account, so nothing was repaired; look at the connection and at ops.audits"
        )
    return result


def _compare(connection: Connection, target: Target, reading: Reading) -> tuple[AuditResult, list[str]]:
    """Fills the temporary tables `expected` and `present`."""
    execute_on_marts(connection, reading.expected, target.as_values())
    connection.execute("create temporary table present (record_key text not null) on commit drop")
    keys = reading.present(connection)
    with connection.cursor().copy("copy present from stdin") as copy:
        for key in keys:
            copy.write_row([key])
    row = connection.execute(audit_statements.COUNT_AUDIT).fetchone()
    assert row is not None
    count, found, missing, strangers = (int(number) for number in row)
    is_sound = missing <= TOLERATED_MISSING or missing * 100 <= MOST_MISSING_PCT * count
    sample = [str(one[0]) for one in connection.execute(audit_statements.SAMPLE_MISSING, [_SAMPLE_SIZE])]
    result = AuditResult(
        target.destination,
        target.account,
        target.audience,
        count,
        found,
        missing,
        strangers,
        missing if is_sound else 0,
    )
    return result, sample
