"""The worker: takes letters out of the outbox and sends them, several threads at a time, until it is told to stop.

It wakes up when the inbox says that there is something, and looks by itself every second. A process that is killed
leaves letters `sending`; whoever runs next sees that its lock is gone and looks up what became of them.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from lettertrail import esps
from lettertrail.clock import Clock
from lettertrail.errors import ApiError, AuthenticationError, ConfigurationError, ContractError
from lettertrail.esps.port import AccountConnection, Esp, Sent
from lettertrail.relay.outbox import CHANNEL, WORKERS, Going, Outbox, Waiting, told_briefly
from lettertrail.relay.route import Policy, Rests, guarded_until, next_account
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""How long a letter waits at most to be seen when no notification came."""
RECOVER = timedelta(seconds=5)
FORGET = timedelta(hours=1)
ASKING = timedelta(minutes=10)
"""How long one worker may take to look a letter up before another tries."""
ASK_AGAIN = timedelta(seconds=30)
WATCH = timedelta(minutes=15)

Connector = Callable[[AccountConnection], Esp]


@dataclass(frozen=True, slots=True)
class Relay:
    """What a worker needs."""

    dsn: str
    """Of the role lettertrail_relay."""
    accounts: Sequence[AccountConnection]
    """In the order in which they are asked."""
    clock: Clock
    policy: Policy = field(default_factory=Policy)
    threads: int = 4


def connected(connection: AccountConnection, *, clock: Clock) -> Esp:
    """The adapter of an account.

    Raises:
        ConfigurationError: something is missing from the connection.
    """
    return esps.load(esps.adapter_name(connection.conn_id)).connect(connection, clock=clock)


def work(relay: Relay, stop: threading.Event, *, connector: Connector | None = None) -> None:
    """Sends until `stop` is set; calls under way are finished and recorded.

    Raises:
        ConfigurationError: an account cannot be used at all.
        WarehouseError: the warehouse broke off. Start again: nothing is lost and nothing is sent twice.
    """
    make = connector or partial(connected, clock=relay.clock)
    for account in relay.accounts:
        make(account)  # a wrong setting is told before anything is taken
    worker = random.SystemRandom().randrange(1, 1 << 31)
    rests, wake = Rests(), threading.Condition()
    with (
        told_briefly(),
        connect(relay.dsn, purpose="relay", autocommit=True) as main,
        ThreadPoolExecutor(relay.threads, thread_name_prefix="relay") as pool,
    ):
        try:
            main.execute("select pg_advisory_lock(%s, %s)", [WORKERS, worker])
            main.execute(f"listen {CHANNEL}".encode())
            outbox = Outbox(main, worker=worker, policy=relay.policy)
            _recover(outbox, relay.clock())
            senders = [
                pool.submit(Sender(relay, make, rests, worker, looks_up_first=number == 0).run, stop, wake)
                for number in range(relay.threads)
            ]
            log.info("relay: %d threads, accounts %s", relay.threads, ", ".join(a.conn_id for a in relay.accounts))
            _keep(outbox, relay.clock, stop, partial(_wait, main, wake), senders)
        finally:
            stop.set()
            with wake:
                wake.notify_all()


def _wait(main: Connection, wake: threading.Condition) -> None:
    """Until there is something new, or for a moment."""
    for _ in main.notifies(timeout=LOOK.total_seconds(), stop_after=1):
        with wake:
            wake.notify_all()


def _keep(
    outbox: Outbox, clock: Clock, stop: threading.Event, wait: Callable[[], None], senders: Sequence[Future[None]]
) -> None:
    """Wakes the senders, and clears up after other workers and after letters."""
    recover_at, forget_at = clock() + RECOVER, clock()
    while not stop.is_set():
        wait()
        for sender in senders:
            if sender.done():
                sender.result()
        now = clock()
        if now >= recover_at:
            _recover(outbox, now)
            recover_at = now + RECOVER
        if now >= forget_at:
            log.info("relay: %d letters forgotten", outbox.forget(now=now))
            forget_at = now + FORGET


def _recover(outbox: Outbox, now: datetime) -> None:
    if lost := outbox.recover(now=now):
        log.warning("relay: %d letters were on their way with a worker that is no more; looking them up", lost)


class Sender:
    """One thread: one letter at a time."""

    def __init__(self, relay: Relay, make: Connector, rests: Rests, worker: int, *, looks_up_first: bool) -> None:
        self._relay = relay
        self._names = [account.conn_id for account in relay.accounts]
        self._make = make
        self._rests = rests
        self._worker = worker
        self._looks_up_first = looks_up_first

    def run(self, stop: threading.Event, wake: threading.Condition) -> None:
        """Until `stop` is set.

        Raises:
            WarehouseError: the warehouse broke off.
        """
        try:
            with told_briefly(), connect(self._relay.dsn, purpose="relay", autocommit=True) as db:
                outbox = Outbox(db, worker=self._worker, policy=self._relay.policy)
                accounts = {account.conn_id: self._make(account) for account in self._relay.accounts}
                while not stop.is_set():
                    if not self.step(outbox, accounts):
                        with wake:
                            wake.wait(LOOK.total_seconds())
        finally:
            stop.set()

    def step(self, outbox: Outbox, accounts: Mapping[str, Esp]) -> bool:
        """One letter sent or looked up; whether there was one."""
        steps = [self._look_up, self._send] if self._looks_up_first else [self._send, self._look_up]
        return any(step(outbox, accounts) for step in steps)

    def _send(self, outbox: Outbox, accounts: Mapping[str, Esp]) -> bool:
        now = self._relay.clock()
        choose = partial(next_account, self._names, policy=self._relay.policy, resting=self._rests.resting(now))
        found = outbox.claim(choose, now=now)
        if isinstance(found, Going):
            self._call(outbox, accounts[found.account], found)
        return found is not None

    def _call(self, outbox: Outbox, esp: Esp, going: Going) -> None:
        is_the_account = False
        try:
            with esp.sending.hurried():
                (sent,) = esp.send([going.waiting.letter])
        except (AuthenticationError, ConfigurationError) as error:
            # Neither kind is raised once a letter may have been taken.
            sent, is_the_account = _put_off(going, type(error).__name__), True
            log.error("relay: account %s cannot send: %s", going.account, error)
        except (ApiError, ContractError) as error:
            sent = Sent(going.waiting.letter.key, "unknown", reason=type(error).__name__)
        now = self._relay.clock()
        outcome = outbox.record(going, sent, now=now)
        has_failed = outcome in ("passing", "unknown")
        self._rests.note(going.account, has_failed=has_failed, now=now, at_once=is_the_account)
        if outcome != "accepted":
            log.warning(
                "relay: letter %d, attempt %d through %s: %s (%s)",
                going.waiting.outbox_id, going.number, going.account, outcome, sent.reason,
            )  # fmt: skip

    def _look_up(self, outbox: Outbox, accounts: Mapping[str, Esp]) -> bool:
        now = self._relay.clock()
        waiting = outbox.claim_unknown(now=now, until=now + ASKING)
        if waiting is None:
            return False
        account = waiting.history[-1].account
        told = outbox.was_told(waiting, esps.adapter_name(account))
        if told is not None:
            outbox.found(waiting, told, now=now)
        elif account not in accounts:
            self._watch(outbox, waiting, now)
        else:
            self._ask(outbox, accounts[account], waiting, now)
        return True

    def _ask(self, outbox: Outbox, esp: Esp, waiting: Waiting, now: datetime) -> None:
        policy = self._relay.policy
        guarded = guarded_until(waiting.history, esp.guards_repeats, policy.guard_margin)
        if guarded is not None and now < guarded:
            going = outbox.repeat(waiting, now=now)
            if going is not None:
                self._call(outbox, esp, going)
        elif esp.traced_after is None:
            self._watch(outbox, waiting, now)
        else:
            started_at = waiting.history[-1].started_at
            surely_at = started_at + (policy.traced_after or esp.traced_after)
            try:
                with esp.sending.hurried():
                    ref = esp.trace(waiting.letter, since=started_at, known=outbox.known_refs(waiting))
            except (ApiError, ContractError, ConfigurationError) as error:
                log.warning("relay: letter %d cannot be looked up: %s", waiting.outbox_id, error)
                self._watch(outbox, waiting, now, again=ASK_AGAIN)
                return
            if ref is not None:
                outbox.found(waiting, ref, now=self._relay.clock())
            elif now >= surely_at:
                outbox.not_there(waiting, now=self._relay.clock())
            else:
                outbox.look_again(waiting, min(now + ASK_AGAIN, surely_at))

    def _watch(self, outbox: Outbox, waiting: Waiting, now: datetime, *, again: timedelta = WATCH) -> None:
        """No service says: an event of the letter may still tell, or the service answer `again`."""
        is_over = now >= waiting.history[-1].started_at + self._relay.policy.watched_for
        outbox.look_again(waiting, None if is_over else now + again)
        if is_over:
            log.warning("relay: letter %d is held: nobody can say whether it went out", waiting.outbox_id)


def _put_off(going: Going, reason: str) -> Sent:
    return Sent(going.waiting.letter.key, "rejected", reason=reason, is_passing=True)
