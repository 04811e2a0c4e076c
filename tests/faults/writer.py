"""A shop at work: changes the source while it is copied, by a seed, until it is told to stop.

    python -m tests.faults.writer --seed 7 [--silent] [--pause 0.01]        # the DSN comes in by LETTERTRAIL_FAULTS_DSN

It prints `ready` when it begins. It ends at SIGTERM or when its standard input closes, with every open transaction
decided, and prints what it did as one line of JSON. A server that goes away is waited for: shops do not stop writing
because a copy is running.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import MySQLdb
from tests.faults.tables import OPEN_POSTINGS, OPENS

from lettertrail.sandbox.mariadb import connect

DSN_VARIABLE = "LETTERTRAIL_FAULTS_DSN"
LONGEST_TRANSACTION_SECONDS = 2.0
Statements = list[str]
_GONE = {2002, 2003, 2006, 2013, 1053, 1927}
"""Error numbers of a server that is not there, or leaves."""
_COLLIDED = {1020, 1062, 1205, 1213}
"""Row changed since it was read, duplicate key, lock wait time-out, deadlock: another transaction was first."""


@dataclass
class Change:
    """Makes statements of one business event; `row(table)` is an id that may exist."""

    rng: random.Random
    highest: dict[str, int] = field(default_factory=dict)

    def row(self, table: str) -> int:
        """Recent rows change more often than old ones."""
        highest = max(1, self.highest.get(table, 1))
        return max(1, highest - int(self.rng.expovariate(4 / highest)))

    def new_deal(self) -> Statements:
        amount = self.rng.randint(0, 10**7) / 100
        return [
            f"insert into deals (title, stage, opportunity, date_modify) values ('новая', 'NEW', {amount}, now())",
            f"insert into links values (last_insert_id(), {self.rng.randint(1, 999)}, 'Y')",
        ]

    def deal_moves(self) -> Statements:
        stage = self.rng.choice(["NEW", "PREPARATION", "WON", "LOSE"])
        return [f"update deals set stage = '{stage}', date_modify = now() where id = {self.row('deals')}"]

    def deal_goes(self) -> Statements:
        deal = self.row("deals")
        return [f"delete from links where deal_id = {deal}", f"delete from deals where id = {deal}"]

    def deal_comes_back(self) -> Statements:
        """The recycle bin restores a row under its old id."""
        deal = self.row("deals")
        return [
            f"insert ignore into deals (id, title, stage, opportunity, begun, date_modify)"
            f" values ({deal}, 'восстановлена', 'NEW', 1, '0000-00-00', now())",
            f"insert ignore into links values ({deal}, 5, 'N')",
        ]

    def contacts_of_deal(self) -> Statements:
        deal = self.row("deals")
        return [
            f"delete from links where deal_id = {deal} and is_primary = 'N'",
            f"insert ignore into links select id, {self.rng.randint(1, 999)}, 'N' from deals where id = {deal}",
            f"update deals set date_modify = now() where id = {deal}",
        ]

    def open(self) -> Statements:
        recipient = self.row("recipients")
        return [
            f"insert into opens (recipient_id, date_insert) values ({recipient}, now())",
            f"update recipients set is_read = 'Y' where id = {recipient}",
        ]

    def open_goes(self) -> Statements:
        """Old ones only: nothing could know whom an open was of that came and went between two loads."""
        return [f"delete from opens where id = {self.rng.randint(1, OPENS)}"]

    def new_recipients(self) -> Statements:
        posting = self.rng.choice(OPEN_POSTINGS)
        values = ", ".join(f"({posting}, 'n{self.rng.getrandbits(32)}@example.com', '')" for _ in range(5))
        return [f"insert into recipients (posting_id, email, fields) values {values}"]

    def sending(self) -> Statements:
        """Statuses of open postings go forwards and backwards."""
        status = self.rng.choice("NYEW")
        postings = ", ".join(map(str, OPEN_POSTINGS))
        return [
            f"update recipients set status = '{status}', date_sent = if('{status}' = 'Y', now(), null)"
            f" where id = {self.row('recipients')} and posting_id in ({postings})"
        ]

    def recipient_goes(self) -> Statements:
        return [f"delete from recipients where id = {self.row('recipients')}"]

    def option(self) -> Statements:
        name = f"option_{self.rng.randint(1, 60)}"
        if self.rng.random() < 0.2:
            return [f"delete from options where name = '{name}'"]
        return [f"replace into options values ('{name}', '{self.rng.getrandbits(64)}')"]

    def silent(self) -> Statements:
        """What nothing but a comparison of all rows can see."""
        return [
            self.rng.choice(
                [
                    f"update deals set title = concat(title, '!') where id = {self.row('deals')}",
                    f"update recipients set status = 'E' where id = {self.row('recipients')}",
                    f"update opens set recipient_id = {self.row('recipients')} where id = {self.row('opens')}",
                    f"update links set is_primary = 'N' where deal_id = {self.row('deals')}",
                ]
            )
        ]


def changes(change: Change, *, silent: bool) -> list[Callable[[], Statements]]:
    """Every kind of change, as often as it happens."""
    usual = [
        change.new_deal, change.deal_moves, change.deal_moves, change.deal_goes, change.deal_comes_back,
        change.contacts_of_deal, change.open, change.open, change.open_goes, change.new_recipients, change.sending,
        change.sending, change.recipient_goes, change.option,
    ]  # fmt: skip
    return [*usual, change.silent, change.silent] if silent else usual


class Writer:
    """Two connections: one commits at once, the other late, so that ids commit out of order."""

    def __init__(self, dsn: str, *, seed: int, silent: bool) -> None:
        self._dsn = dsn
        self._rng = random.Random(seed)
        self._change = Change(self._rng)
        self._kinds = changes(self._change, silent=silent)
        self._prompt: Any = None
        self._late: Any = None
        self._late_until = 0.0
        self.done: Counter[str] = Counter()

    def step(self) -> None:
        """One event, or the end of a late one; waits for a server that is away."""
        try:
            if self._prompt is None:
                self._connect()
            self._decide_late()
            if self._late_until == 0.0 and self._rng.random() < 0.1:
                self._late_until = time.monotonic() + self._rng.uniform(0.1, LONGEST_TRANSACTION_SECONDS)
                self._run(self._late)
            else:
                self._run(self._prompt)
                self._prompt.commit()
        except MySQLdb.Error as error:
            self._recover(error)

    def finish(self) -> None:
        """Decides what is open."""
        if self._prompt is None:
            return
        try:
            self._decide_late(now=True)
        except MySQLdb.Error as error:
            self._recover(error)

    def _connect(self) -> None:
        self._prompt, self._late = connect(self._dsn), connect(self._dsn)
        self._late_until = 0.0
        for connection in (self._prompt, self._late):
            connection.cursor().execute("set innodb_lock_wait_timeout = 1")
        self._look()

    def _look(self) -> None:
        cursor = self._prompt.cursor()
        for table in ("deals", "recipients", "opens"):
            cursor.execute(f"select coalesce(max(id), 1) from {table}")
            self._change.highest[table] = int(cursor.fetchone()[0])
        self._prompt.commit()

    def _run(self, connection: Any) -> None:
        kind = self._rng.choice(self._kinds)
        for statement in kind():
            connection.cursor().execute(statement)
        self.done[kind.__name__] += 1
        if self.done.total() % 50 == 0:
            self._look()

    def _decide_late(self, *, now: bool = False) -> None:
        if self._late_until and (now or time.monotonic() >= self._late_until):
            self._late_until = 0.0
            if self._rng.random() < 0.15:
                self._late.rollback()
                self.done["rolled back"] += 1
            else:
                self._late.commit()
                self.done["committed late"] += 1

    def _recover(self, error: MySQLdb.Error) -> None:
        number = error.args[0] if error.args else 0
        if number in _COLLIDED:
            self.done["collided"] += 1
            for connection in (self._prompt, self._late):
                connection.rollback()
            self._late_until = 0.0
        elif number in _GONE:
            self.done["waited for the server"] += 1
            self._prompt = self._late = None
            self._late_until = 0.0
            time.sleep(0.1)
        else:
            raise error


def main(arguments: Sequence[str]) -> int:
    """Writes until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.005)
    parser.add_argument("--silent", action="store_true")
    options = parser.parse_args(arguments)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    writer = Writer(os.environ[DSN_VARIABLE], seed=options.seed, silent=options.silent)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not stopped:
        writer.step()
        # Standard input becomes readable when whoever started us is gone.
        stopped = stopped or bool(select.select([sys.stdin], [], [], options.pause)[0])
    writer.finish()
    sys.stdout.write(json.dumps(writer.done) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
