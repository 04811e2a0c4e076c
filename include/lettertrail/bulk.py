"""Writing many rows and accounting for each: the part of a push that no service does differently.

A service may refuse rows inside a successful answer, leave rows unmentioned, or lose its answer. Whatever
is not said is read back before it is reported, so nothing counts as done on hope.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from lettertrail.errors import ContractError, RateLimited, TemporaryApiError
from lettertrail.esps.port import Evidence, Outcome, Record, Status, normalise_email

log = logging.getLogger(__name__)

Verdict = tuple[Status, str | None]
"""The status and reason of one target."""

Target = Callable[[Record], str | None]
"""How a destination names what a record is about (an address, a contact id); None when it names nothing."""

Settled = Callable[[Sequence[str]], set[str]]
"""Reads back which of some targets are as they should be."""

_PROVES_NOTHING: Mapping[str | None, Evidence] = MappingProxyType({})

_STRENGTH: tuple[Status, ...] = ("already_ok", "applied", "rejected", "retry_pending")


def address_of(record: Record) -> str | None:
    """The target of an ESP: the normalised address."""
    email = normalise_email(record.email)
    name, at, host = email.rpartition("@")
    is_address = name and at and host and not any(letter.isspace() for letter in email)
    return email if is_address else None


def targets(records: Sequence[Record], target: Target = address_of) -> list[str]:
    """What the records are about, each once, in their order."""
    return list(dict.fromkeys(filter(None, map(target, records))))


def attributes_of(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Address → attributes, for the records that have any; where an address repeats, the later record wins."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        email = address_of(record)
        if email and record.attributes:
            found.setdefault(email, {}).update(record.attributes)
    return found


def names_beyond(known: Container[str], wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Attributes that the service has no field for; `known` holds the names of its fields, case folded."""
    return sorted({name for given in wanted.values() for name in given if name.casefold() not in known})


def outcomes(
    work: str,
    records: Sequence[Record],
    verdicts: Iterable[tuple[str, Verdict]],
    *,
    target: Target = address_of,
    proof: Mapping[str | None, Evidence] = _PROVES_NOTHING,
) -> Iterator[Outcome]:
    """One outcome per record, as the verdicts on the targets come in.

    `proof` names the reasons of refusals that are evidence by themselves: reason → what it proves.

    Raises:
        ContractError: a target got no verdict.
    """
    waiting: dict[str | None, list[Record]] = {}
    for record in records:
        waiting.setdefault(target(record), []).append(record)
    counts: Counter[str] = Counter()
    nameless: tuple[None, Verdict] = (None, ("rejected", "no usable address"))
    for about, (status, reason) in chain([nameless], verdicts):
        for record in waiting.pop(about, ()):
            counts[status] += 1
            yield Outcome(record.key, status, reason, proof.get(reason) if status == "rejected" else None)
    told = " ".join(f"{status}={counts[status]}" for status in _STRENGTH)
    log.info("%s records=%d %s", work, len(records), told)
    if waiting:
        raise ContractError(f"{work}: {len(waiting)} targets came back without an outcome")


def push(
    wanted: Sequence[str],
    send: Callable[[Sequence[str]], dict[str, Verdict]],
    settled: Settled,
    *,
    bulk: int,
    unmentioned: Status,
    otherwise: str,
) -> Iterator[tuple[str, Verdict]]:
    """Sends in bulks and yields a verdict for every target.

    `settled` reads back which of some targets are as they should be. Those an answer left out count as
    `unmentioned` when settled and are rejected with the reason `otherwise` when not; those of a lost answer
    are applied or pending. After a lost answer nothing more is sent: the rest is pending.
    """
    is_lost = False
    for start in range(0, len(wanted), bulk):
        part = wanted[start : start + bulk]
        if is_lost:
            yield from ((one, ("retry_pending", "not attempted")) for one in part)
            continue
        verdicts: dict[str, Verdict] = {}
        try:
            verdicts = send(part)
        except (TemporaryApiError, RateLimited) as error:
            kind = type(error).__name__
            log.warning("a write of %d rows got no answer (%s); reading back", len(part), kind)
            is_lost = True
        yield from ((one, verdicts[one]) for one in part if one in verdicts)
        silent = [one for one in part if one not in verdicts]
        good: Verdict = ("applied" if is_lost else unmentioned, None)
        bad: Verdict = ("retry_pending", "no answer") if is_lost else ("rejected", otherwise)
        try:
            fine = settled(silent) if silent else set()
        except (TemporaryApiError, RateLimited):
            is_lost, fine, bad = True, set(), ("retry_pending", "no answer")
        yield from ((one, good if one in fine else bad) for one in silent)


def push_then_check(
    wanted: Sequence[str],
    send: Callable[[Sequence[str]], dict[str, Verdict]],
    settled: Settled,
    *,
    bulk: int,
    otherwise: str,
) -> Iterator[tuple[str, Verdict]]:
    """As `push`, for a service where reading back is an export: it is done once, after the last bulk.

    What an answer left out is applied when it has settled. After a lost answer nothing more is sent.
    """
    verdicts: dict[str, Verdict] = {}
    sent = 0
    is_lost = False
    while sent < len(wanted) and not is_lost:
        part = wanted[sent : sent + bulk]
        sent += len(part)
        try:
            verdicts |= send(part)
        except (TemporaryApiError, RateLimited) as error:
            log.warning("a write of %d rows got no answer (%s); reading back", len(part), type(error).__name__)
            is_lost = True
    silent = [one for one in wanted[:sent] if one not in verdicts]
    bad: Verdict = ("retry_pending", "no answer") if is_lost else ("rejected", otherwise)
    try:
        fine = settled(silent) if silent else set()
    except (TemporaryApiError, RateLimited):
        fine, bad = set(), ("retry_pending", "no answer")
    for one in wanted[:sent]:
        yield one, verdicts.get(one) or (("applied", None) if one in fine else bad)
    yield from ((one, ("retry_pending", "not attempted")) for one in wanted[sent:])


def strongest(verdicts: Iterable[Verdict], *, weakest_reason: str) -> Verdict:
    """What to report of a target that several lists gave a verdict on; `weakest_reason` says least."""
    return max(verdicts, key=lambda verdict: (_STRENGTH.index(verdict[0]), verdict[1] != weakest_reason))
