"""An outbox with two sandbox services behind it, and a clock that goes when it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
import requests
from bench.relay.site import ACCOUNT, mail
from psycopg import conninfo

from lettertrail import esps
from lettertrail.esps.port import AccountConnection, Esp, Sent
from lettertrail.relay import intake
from lettertrail.relay.outbox import WORKERS, Going, Outbox, letter_key
from lettertrail.relay.route import Policy, Rests
from lettertrail.relay.worker import Relay, Sender
from lettertrail.sandbox.esps import mandrill, unisender_go
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.server import served
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.roles import apply_roles

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY = "a-sandbox-key"
PASSWORD = "a-relay's"
WORKER = 7


@dataclass
class Clock:
    """The time, for the relay and the services alike."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Now."""
        return self.now

    def later(self, **delta: float) -> None:
        """Lets it go on."""
        self.now += timedelta(**delta)


@dataclass(frozen=True)
class Service:
    """A sandbox service."""

    base: str
    store: Any

    def fault(self, kind: str, **how: Any) -> None:
        """Orders a fault, for calls that send when nothing else is said."""
        order = {"kind": kind, "path": "/(messages|email)/send", **how}
        assert requests.post(f"{self.base}/_sandbox/faults", json=order, auth=("any", KEY), timeout=5).ok


@dataclass
class Desk:
    """Everything around one worker's thread."""

    dsn: str
    relay_dsn: str
    clock: Clock
    mandrill: Service
    go: Service
    database: Connection
    names: Sequence[str] = ("mailchimp", "unisender")
    policy: Policy = field(default_factory=Policy)
    key: str = KEY

    def __post_init__(self) -> None:
        self.rests = Rests()
        self.outbox = Outbox(self.database, worker=WORKER, policy=self.policy)

    def accounts(self) -> list[AccountConnection]:
        """In order."""
        bases = {"mailchimp": self.mandrill.base, "unisender": self.go.base}
        return [
            AccountConnection(
                name, "http://127.0.0.1:9", password="x-us1",
                extra={"transactional_key": self.key, "transactional_host": bases[name]},
            )
            for name in self.names
        ]  # fmt: skip

    def connected(self, connection: AccountConnection) -> Esp:
        """An adapter that does not sleep."""
        kind = esps.load(esps.adapter_name(connection.conn_id))
        esp = kind.connect(connection, clock=self.clock, allowed_hosts=["127.0.0.1"])
        esp.sending._sleep = lambda seconds: None
        return esp

    def sender(self) -> Sender:
        """A thread's work, without the thread."""
        relay = Relay(self.relay_dsn, self.accounts(), self.clock, self.policy)
        return Sender(relay, self.connected, self.rests, WORKER, looks_up_first=True)

    def work(self, limit: int = 50) -> int:
        """As long as something is due; how many steps."""
        sender, accounts = self.sender(), {each.conn_id: self.connected(each) for each in self.accounts()}
        for steps in range(limit):
            if not sender.step(self.outbox, accounts):
                return steps
        raise AssertionError("there is no end to it")

    def queue(self, *numbers: int, **data: object) -> None:
        """What the inbox does with letters."""
        letters = [
            letter.row()
            for number in numbers
            for letter in intake.letters(
                mail(number, **data)["data"], source=ACCOUNT, event_id=f"s1-mail-{number}", happened_at=self.clock(),
                queued_at=self.clock(), sender=None,
            )
        ]  # fmt: skip
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "select raw_inbox.receive_mail('{}', '{}', '{}', '{}', '{}', '{}', '{}', %s)", [json.dumps(letters)]
            )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """As the warehouse's owner."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def states(self) -> list[tuple[Any, ...]]:
        """Of all letters: state, the account asked last, and how many attempts."""
        return self.rows("select state, esp_account, attempts from ops.outbox order by outbox_id")

    def outcomes(self) -> list[tuple[Any, ...]]:
        """Of all attempts."""
        return self.rows("select esp_account, outcome from ops.outbox_attempts order by outbox_id, number")

    def arrived(self) -> list[tuple[str, str]]:
        """Service and letter key, by the services' own books."""
        first = self.mandrill.store.rows("select metadata from messages where state <> 'rejected' order by number")
        second = self.go.store.rows("select metadata from letters")
        return [
            *(("mailchimp", json.loads(row["metadata"])["lettertrail_key"]) for row in first),
            *(("unisender", json.loads(row["metadata"])["lettertrail_key"]) for row in second),
        ]


def claim(desk: Desk) -> Going | None:
    """An attempt that is written down and not made."""
    step = desk.outbox.claim(lambda history: desk.names[0], now=desk.clock())
    return step if isinstance(step, Going) else None


def lose_answer(desk: Desk) -> None:
    """Letter 1 through UniSender, of whose call nobody knows the end; the service has not seen it."""
    desk.names = ("unisender",)
    desk.queue(1)
    going = claim(desk)
    assert going is not None
    desk.outbox.record(going, Sent("", "unknown", reason="no answer"), now=desk.clock())


def hold_letter(desk: Desk) -> None:
    """Number 1: nobody can say, after three days of watching."""
    lose_answer(desk)
    desk.clock.later(days=3, minutes=1)
    desk.work()


def key_of(number: int) -> str:
    """As services are told it."""
    return letter_key(f"{ACCOUNT}:s1-mail-{number}:1")


@pytest.fixture
def desk(warehouse_dsn: str) -> Iterator[Desk]:
    """The relay's role, two services without a history."""
    apply_roles(warehouse_dsn, {"lettertrail_relay": PASSWORD})
    relay_dsn = conninfo.make_conninfo(warehouse_dsn, user="lettertrail_relay", password=PASSWORD)
    clock = Clock()
    first, second = (
        mandrill.MandrillStore(":memory:", clock=clock),
        unisender_go.UnisenderGoStore(":memory:", clock=clock),
    )
    apps = [mandrill.create_app(first, api_key=KEY), unisender_go.create_app(second, api_key=KEY)]
    wrapped = [partial(Faults, key=KEY)(app) for app in apps]
    with (
        served(wrapped[0]) as one,
        served(wrapped[1]) as two,
        connect(relay_dsn, purpose="test", autocommit=True) as database,
    ):
        database.execute("select pg_advisory_lock(%s, %s)", [WORKERS, WORKER])
        yield Desk(warehouse_dsn, relay_dsn, clock, Service(one, first), Service(two, second), database)
    for app, store in zip(apps, (first, second), strict=True):
        app.close()
        store.close()
