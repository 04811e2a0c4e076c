"""`ops.outbox`: every step of a letter is one transaction, and a call is written down before it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from lettertrail.errors import WarehouseError
from lettertrail.esps.port import Letter, Sent
from lettertrail.relay.route import GivenUp, Past, Policy, Result
from lettertrail.warehouse.connect import Connection

CHANNEL = "lettertrail_outbox"
WORKERS = 0x6C657474
"""First half of the advisory lock that a worker holds as long as it lives; the second is its number."""

_DUE = (
    "select outbox_id, key, event_name, recipient, sender, sender_name, reply_to, subject, body, body_type, attempts,"
    " attempts_from from ops.outbox where state = %s and next_attempt_at <= %s and forgotten_at is null"
    " order by next_attempt_at, outbox_id limit 1 for update skip locked"
)
_ORPHANS = (
    "select outbox_id, attempts from ops.outbox where state = 'sending' and not exists ("
    "  select from pg_locks where locktype = 'advisory' and granted and objsubid = 2 and classid = %s"
    "  and objid = worker and database = (select oid from pg_database where datname = current_database())"
    ") for update skip locked"
)
_HOPELESS = frozenset({"hard_bounce"})
_LEFT = frozenset({"complaint", "erased"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter that is due, with what was tried."""

    outbox_id: int
    letter: Letter = field(repr=False)
    number: int
    """Of attempts so far."""
    history: Sequence[Past]
    """Those that count."""


@dataclass(frozen=True, slots=True)
class Going:
    """An attempt that is written down and may now be made."""

    waiting: Waiting
    account: str
    number: int
    started_at: datetime

    @property
    def is_repeat(self) -> bool:
        """Whether the account has not answered about the letter before, so that it may have it already."""
        last = self.waiting.history[-1] if self.waiting.history else None
        return last is not None and (last.account, last.outcome) == (self.account, "unknown")


@contextmanager
def told_briefly() -> Iterator[None]:
    """Turns what the database driver raises into ours, without the values it quotes.

    Raises:
        WarehouseError: trying again may help.
    """
    try:
        yield
    except psycopg.Error as error:
        state = f" {error.sqlstate}" if error.sqlstate else ""
        raise WarehouseError(f"the relay lost the warehouse ({type(error).__name__}{state})") from None


Step = Going | Literal["settled"] | None
"""`settled`: a letter was due and needed no call. None: none is due."""


class Outbox:
    """One thread's way to it."""

    def __init__(self, connection: Connection, *, worker: int, policy: Policy) -> None:
        """
        Args:
            connection: in autocommit mode, as the role lettertrail_relay.
            worker: the number whose lock this process holds.
        """
        self._db = connection
        self._worker = worker
        self._policy = policy

    def claim(self, choose: Callable[[Sequence[Past]], str | GivenUp], *, now: datetime) -> Step:
        """Takes the letter that has been due longest and writes its next attempt down.

        Args:
            choose: gives the account from the attempts so far.
        """
        with self._db.transaction():
            waiting = self._due("queued", now)
            if waiting is None:
                return None
            if_erased = self._policy.pseudonym(waiting.letter.to)
            (refusal,) = self._one(
                "select coalesce(ops.mail_refusal(%s), ops.mail_refusal(%s))", waiting.letter.to, if_erased
            )
            if refusal is not None:
                self._settle(waiting.outbox_id, "suppressed", str(refusal), now=now)
                return "settled"
            account = choose(waiting.history)
            if isinstance(account, GivenUp):
                self._settle(waiting.outbox_id, "dead", self._why_dead(waiting, account), now=now)
                return "settled"
            return self._begin(waiting, account, now=now)

    def claim_unknown(self, *, now: datetime, until: datetime) -> Waiting | None:
        """A letter whose last call had no answer and that is to be looked up; nobody else gets it before `until`."""
        with self._db.transaction():
            waiting = self._due("unknown", now)
            if waiting is not None:
                self._run("update ops.outbox set next_attempt_at = %s where outbox_id = %s", until, waiting.outbox_id)
            return waiting

    def repeat(self, waiting: Waiting, *, now: datetime) -> Going | None:
        """Writes down that the account of the last attempt is asked again; None when somebody settled the letter."""
        with self._db.transaction():
            held = self._db.execute(
                "select from ops.outbox where outbox_id = %s and state = 'unknown' and attempts = %s for update",
                [waiting.outbox_id, waiting.number],
            ).fetchone()
            return None if held is None else self._begin(waiting, waiting.history[-1].account, now=now)

    def record(self, going: Going, sent: Sent, *, now: datetime) -> Result:
        """What came of an attempt; gives it in the outbox's words."""
        outcome = _outcome(sent)
        if going.is_repeat and outcome in ("refused", "passing") and sent.evidence is None:
            # This call was not taken. The one before may have been, so no other account may be asked yet.
            outcome = "unknown"
        waiting = going.waiting
        with self._db.transaction():
            self._run(
                "update ops.outbox_attempts set outcome = %s, finished_at = %s, reason = %s, message_ref = %s"
                " where outbox_id = %s and number = %s",
                outcome, now, sent.reason, sent.message_ref, waiting.outbox_id, going.number,
            )  # fmt: skip
            # Unless it went on without us: a worker that lost its lock is taken for dead.
            held = self._db.execute(
                "select from ops.outbox where outbox_id = %s and attempts = %s and state in ('sending', 'unknown')"
                " for update",
                [waiting.outbox_id, going.number],
            ).fetchone()
            if held is not None:
                self._follow(going, sent, outcome, now)
        return outcome

    def _follow(self, going: Going, sent: Sent, outcome: Result, now: datetime) -> None:
        outbox_id, reason = going.waiting.outbox_id, sent.reason or "no reason given"
        failures = sum(past.outcome in ("passing", "unknown") for past in going.waiting.history)
        if outcome == "accepted":
            self._settle(outbox_id, "sent", sent.reason, now=now, message_ref=sent.message_ref)
        elif sent.evidence in _LEFT:
            self._settle(outbox_id, "suppressed", reason, now=now)
        elif sent.evidence in _HOPELESS:
            self._settle(outbox_id, "dead", reason, now=now)
        elif outcome == "unknown":
            wait = self._policy.wait(failures) if failures else now - now
            self._put_back(outbox_id, "unknown", reason, next_attempt_at=now + wait)
        else:
            wait = self._policy.wait(failures + 1) if outcome == "passing" else now - now
            self._put_back(outbox_id, "queued", reason, next_attempt_at=now + wait)

    # Letters whose last call had no answer

    def was_told(self, waiting: Waiting, service: str) -> str | None:
        """The service's id of the letter, when an event of it has come in since."""
        row = self._db.execute(
            "select message_ref from ops.letter_traces(%s, %s, %s, %s)",
            [service, waiting.history[-1].account, waiting.letter.to, waiting.letter.key],
        ).fetchone()
        return None if row is None else str(row[0])

    def known_refs(self, waiting: Waiting) -> set[str]:
        """Ids of other letters to the same person through the same account."""
        rows = self._db.execute(
            "select message_ref from ops.outbox where lower(recipient) = lower(%s) and esp_account = %s"
            " and outbox_id <> %s and message_ref is not null",
            [waiting.letter.to, waiting.history[-1].account, waiting.outbox_id],
        ).fetchall()
        return {str(ref) for (ref,) in rows}

    def found(self, waiting: Waiting, message_ref: str, *, now: datetime) -> None:
        """The service has it."""
        with self._db.transaction():
            self._resolve(waiting, "accepted", message_ref)
            self._settle(waiting.outbox_id, "sent", "found after a lost answer", now=now, message_ref=message_ref)

    def not_there(self, waiting: Waiting, *, now: datetime) -> None:
        """The service does not have it and never will: it may be sent."""
        with self._db.transaction():
            self._resolve(waiting, "absent", None)
            self._put_back(waiting.outbox_id, "queued", "not taken", next_attempt_at=now, only_if="unknown")

    def look_again(self, waiting: Waiting, at: datetime | None) -> None:
        """Nothing is known yet; `at` None holds it for good."""
        self._run(
            "update ops.outbox set next_attempt_at = %s where outbox_id = %s and state = 'unknown'",
            at, waiting.outbox_id,
        )  # fmt: skip

    def recover(self, *, now: datetime) -> int:
        """Attempts of workers that are no more have no answer; gives how many."""
        with self._db.transaction():
            rows = self._db.execute(_ORPHANS, [WORKERS]).fetchall()
            for outbox_id, number in rows:
                self._run(
                    "update ops.outbox_attempts set outcome = 'unknown', finished_at = %s, reason = %s"
                    " where outbox_id = %s and number = %s and outcome is null",
                    now, "the worker stopped", outbox_id, number,
                )  # fmt: skip
                self._put_back(int(outbox_id), "unknown", "the worker stopped", next_attempt_at=now)
        return len(rows)

    def forget(self, *, now: datetime) -> int:
        """Removes recipients, subjects and bodies that are kept no longer; gives of how many letters."""
        return self._run(
            "update ops.outbox set forgotten_at = %s, recipient = null, reply_to = null, subject = null, body = null"
            " where forgotten_at is null and (state in ('sent', 'suppressed') and settled_at < %s"
            " or state in ('dead', 'unknown') and coalesce(settled_at, queued_at) < %s)",
            now, now - self._policy.keep_letters, now - self._policy.keep_held,
        )  # fmt: skip

    # The rows

    def _due(self, state: str, now: datetime) -> Waiting | None:
        with self._db.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_DUE, [state, now]).fetchone()
        if row is None:
            return None
        history = self._db.execute(
            "select esp_account, outcome, started_at from ops.outbox_attempts"
            " where outbox_id = %s and number > %s and outcome is not null order by number",
            [row["outbox_id"], row["attempts_from"]],
        ).fetchall()
        return Waiting(row["outbox_id"], _letter(row), row["attempts"], [Past(*past) for past in history])

    def _begin(self, waiting: Waiting, account: str, *, now: datetime) -> Going:
        number = waiting.number + 1
        self._run(
            "update ops.outbox set state = 'sending', worker = %s, attempts = %s, esp_account = %s,"
            " next_attempt_at = null, reason = null where outbox_id = %s",
            self._worker, number, account, waiting.outbox_id,
        )  # fmt: skip
        self._run(
            "insert into ops.outbox_attempts (outbox_id, number, esp_account, started_at) values (%s, %s, %s, %s)",
            waiting.outbox_id, number, account, now,
        )  # fmt: skip
        return Going(waiting, account, number, now)

    def _settle(
        self, outbox_id: int, state: str, reason: str | None, *, now: datetime, message_ref: str | None = None
    ) -> None:
        self._run(
            "update ops.outbox set state = %s, reason = %s, settled_at = %s, message_ref = %s, worker = null,"
            " next_attempt_at = null where outbox_id = %s",
            state, reason, now, message_ref, outbox_id,
        )  # fmt: skip

    def _put_back(
        self, outbox_id: int, state: str, reason: str, *, next_attempt_at: datetime, only_if: str | None = None
    ) -> None:
        self._run(
            "update ops.outbox set state = %s, reason = %s, worker = null, next_attempt_at = %s"
            " where outbox_id = %s and state = coalesce(%s, state)",
            state, reason, next_attempt_at, outbox_id, only_if,
        )  # fmt: skip

    def _resolve(self, waiting: Waiting, outcome: Result, message_ref: str | None) -> None:
        self._run(
            "update ops.outbox_attempts set outcome = %s, message_ref = %s where outbox_id = %s and number = %s",
            outcome, message_ref, waiting.outbox_id, waiting.number,
        )  # fmt: skip

    def _why_dead(self, waiting: Waiting, given_up: GivenUp) -> str:
        (last,) = self._one(
            "select max(reason) from ops.outbox_attempts where outbox_id = %s and number = %s",
            waiting.outbox_id, waiting.number,
        )  # fmt: skip
        return f"{given_up.reason}; the last: {last or 'no reason given'}"

    def _run(self, statement: str, *values: object) -> int:
        return self._db.execute(statement.encode(), values).rowcount

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        (row,) = self._db.execute(query.encode(), values).fetchall()
        return row


def letter_key(key: str) -> str:
    """The idempotency key as services are given it: short, and nothing in it that a search could stumble over."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _letter(row: Mapping[str, Any]) -> Letter:
    body, is_html = row["body"], row["body_type"] == "html"
    return Letter(
        key=letter_key(row["key"]),
        to=row["recipient"],
        subject=row["subject"],
        sender=row["sender"],
        sender_name=row["sender_name"],
        html=body if is_html else None,
        text=None if is_html else body,
        reply_to=row["reply_to"],
        # Mandrill takes no tag that begins with an underscore, or is longer.
        tags=(row["event_name"][:50].lstrip("_") or "mail",),
    )


def _outcome(sent: Sent) -> Result:
    if sent.status == "rejected":
        return "passing" if sent.is_passing else "refused"
    return "accepted" if sent.status == "accepted" else "unknown"
