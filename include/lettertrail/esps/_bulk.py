"""Writing many rows and accounting for each: the part of a push that no service does differently.

A service may refuse rows inside a successful answer, leave rows unmentioned, or lose its answer. Whatever
is not said is read back before it is reported, so nothing counts as done on hope.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from lettertrail.errors import ContractError, RateLimited, TemporaryApiError
from lettertrail.esps.port import Outcome, Record, Status, normalise_email

log = logging.getLogger(__name__)

Verdict = tuple[Status, str | None]
"""The status and reason of one address."""

_STRENGTH: tuple[Status, ...] = ("already_ok", "applied", "rejected", "retry_pending")


def usable(records: Sequence[Record]) -> list[str]:
    """The normalised addresses of the records, each once, in their order, without what is no address."""
    return list(dict.fromkeys(filter(_is_address, (normalise_email(record.email) for record in records))))


def outcomes(work: str, records: Sequence[Record], verdicts: Iterable[tuple[str, Verdict]]) -> Iterator[Outcome]:
    """One outcome per record, as the verdicts on the addresses come in.

    Raises:
        ContractError: an address got no verdict.
    """
    waiting: dict[str, list[Record]] = {}
    for record in records:
        waiting.setdefault(normalise_email(record.email), []).append(record)
    counts: Counter[str] = Counter()
    for email in [email for email in waiting if not _is_address(email)]:
        for record in waiting.pop(email):
            counts["rejected"] += 1
            yield Outcome(record.key, "rejected", "no usable address")
    for email, (status, reason) in verdicts:
        for record in waiting.pop(email, ()):
            counts[status] += 1
            yield Outcome(record.key, status, reason)
    told = " ".join(f"{status}={counts[status]}" for status in _STRENGTH)
    log.info("%s records=%d %s", work, len(records), told)
    if waiting:
        raise ContractError(f"{work}: {len(waiting)} addresses came back without an outcome")


def push(
    emails: Sequence[str],
    send: Callable[[Sequence[str]], dict[str, Verdict]],
    settled: Callable[[Sequence[str]], set[str]],
    *,
    bulk: int,
    unmentioned: Status,
    otherwise: str,
) -> Iterator[tuple[str, Verdict]]:
    """Sends in bulks and yields a verdict for every address.

    `settled` reads back which of some addresses are as wanted. Those an answer left out count as
    `unmentioned` when settled and are rejected with the reason `otherwise` when not; those of a lost answer
    are applied or pending. After a lost answer nothing more is sent: the rest is pending.
    """
    is_lost = False
    for start in range(0, len(emails), bulk):
        part = emails[start : start + bulk]
        if is_lost:
            yield from ((email, ("retry_pending", "not attempted")) for email in part)
            continue
        verdicts: dict[str, Verdict] = {}
        try:
            verdicts = send(part)
        except (TemporaryApiError, RateLimited) as error:
            kind = type(error).__name__
            log.warning("a write of %d rows got no answer (%s); reading back", len(part), kind)
            is_lost = True
        yield from ((email, verdicts[email]) for email in part if email in verdicts)
        silent = [email for email in part if email not in verdicts]
        good: Verdict = ("applied" if is_lost else unmentioned, None)
        bad: Verdict = ("retry_pending", "no answer") if is_lost else ("rejected", otherwise)
        try:
            fine = settled(silent) if silent else set()
        except (TemporaryApiError, RateLimited):
            is_lost, fine, bad = True, set(), ("retry_pending", "no answer")
        yield from ((email, good if email in fine else bad) for email in silent)


def strongest(verdicts: Iterable[Verdict], *, weakest_reason: str) -> Verdict:
    """What to report of an address that several lists gave a verdict on; `weakest_reason` says least."""
    return max(verdicts, key=lambda verdict: (_STRENGTH.index(verdict[0]), verdict[1] != weakest_reason))


def _is_address(email: str) -> bool:
    name, at, host = email.rpartition("@")
    return bool(name and at and host) and not any(letter.isspace() for letter in email)
