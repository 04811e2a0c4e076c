"""Writes one batch and accounts for every record of it, whatever the destination does.

A batch that the destination refuses as a whole is cut in halves until the records it is about are found; the others
go through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from math import log2
from typing import cast

from lettertrail.errors import ComplianceRefusal, ContractError, Duplicate, LetterTrailError, RequestRejected
from lettertrail.esps.port import Evidence, Outcome, Record

log = logging.getLogger(__name__)

POISONED_AT_MOST = 8
"""Records of one batch that may make the service refuse a whole call; with more the fault is not theirs."""

Write = Callable[[Sequence[Record]], Iterable[Outcome]]
"""What a destination does with records; one outcome each, in any order."""


def write_batch(write: Write, records: Sequence[Record]) -> tuple[list[Outcome], LetterTrailError | None]:
    """One outcome for every record of the batch, whatever the destination did, and the fault if there was one."""
    answered: dict[str, Outcome] = {}
    fault = _ask(write, records, answered)
    if isinstance(fault, RequestRejected):
        fault = _bisect(write, records, answered, fault)
    why = f"no certain answer ({type(fault).__name__})"
    outcomes = [answered.get(record.key) or Outcome(record.key, "retry_pending", why) for record in records]
    return outcomes, fault


def _ask(write: Write, records: Sequence[Record], answered: dict[str, Outcome]) -> LetterTrailError | None:
    """Writes records, adds what was said of each to `answered`, and returns the fault that ended it early."""
    asked = {record.key for record in records}
    try:
        for outcome in write(records):
            if outcome.key not in asked or outcome.key in answered:
                return ContractError("the destination answered for a record that was not asked about")
            answered[outcome.key] = outcome
    except LetterTrailError as error:
        return error
    if silent := len(asked - answered.keys()):
        return ContractError(f"the destination did not account for {silent} records")
    return None


def _bisect(
    write: Write, records: Sequence[Record], answered: dict[str, Outcome], refusal: RequestRejected
) -> LetterTrailError | None:
    """Halves a batch that was refused as a whole until the records that poison it are alone, and refuses only those.

    When too many of them would be refused, the fault is not the records' (a setting, the whole account): it stands as
    it was, and all that is not answered stays pending.
    """
    waiting = [record for record in records if record.key not in answered]
    tries_left = POISONED_AT_MOST * (int(log2(len(waiting))) + 2) * 2
    refused: dict[str, Outcome] = {}
    parts = _halves(waiting)
    while parts and tries_left:
        part = parts.pop()
        tries_left -= 1
        fault = _ask(write, part, answered)
        if fault is None:
            continue
        if not isinstance(fault, RequestRejected):
            return fault
        rest = [record for record in part if record.key not in answered]
        if len(part) > 1:
            parts += _halves(rest)
            continue
        refused[part[0].key] = _refused(part[0].key, fault)
        if len(refused) > POISONED_AT_MOST:
            return refusal
    if parts or len(refused) == len(records) > 1:
        return refusal
    log.warning("a batch of %s records was refused because of %s of them", len(records), len(refused))
    answered |= refused
    return None


def _halves(records: list[Record]) -> list[list[Record]]:
    """The second half first: the last is taken first."""
    middle = (len(records) + 1) // 2
    return [part for part in (records[middle:], records[:middle]) if part]


def _refused(key: str, error: RequestRejected) -> Outcome:
    """What the refusal of a call with one record says of that record."""
    if isinstance(error, Duplicate):
        return Outcome(key, "already_ok", "the service has done this already")
    if isinstance(error, ComplianceRefusal):
        return Outcome(key, "rejected", "compliance", cast("Evidence", error.evidence))
    return Outcome(key, "rejected", f"the service refuses it ({error.code or error.status or type(error).__name__})")
