"""The four runs behind the figures; the tests do short ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psycopg
import uvloop
from psycopg import conninfo
from tests.faults.servers import free_port, kill_postgres

from bench.inbox import letters
from bench.inbox.forgeries import forgeries
from bench.inbox.garbage import garbage
from bench.inbox.receiver import Receiver, receiver, wait_until_up
from bench.inbox.sender import Tally, send, throw
from lettertrail.clock import system_clock
from lettertrail.inbox.process import process_deliveries
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import apply_roles

_PASSWORD = "inbox"
ACCOUNTS = {
    **json.loads(letters.accounts()),
    "sendpulse": {"token": letters.TOKEN},
    "bitrix24": {"token": letters.TOKEN, "secrets": {"events": ["application-token"]}},
}
ADDRESSES = [*letters.SECRETS, "sendpulse/marketing", "bitrix24/events"]


@dataclass(frozen=True, slots=True)
class Place:
    """A durable PostgreSQL with a warehouse, and a receiver in front of it."""

    postgres: EmbeddedPostgres
    database: str
    receiver: Receiver

    @property
    def dsn(self) -> str:
        """Of the warehouse, as its owner."""
        return self.postgres.dsn(self.database)

    def rows(self) -> int:
        """Deliveries stored."""
        with psycopg.connect(self.dsn) as connection:
            ((count,),) = connection.execute("select count(*) from raw_inbox.deliveries").fetchall()
        return int(count)

    def outcomes(self) -> dict[str, int]:
        """How many deliveries ended how."""
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute(
                "select coalesce(outcome, 'None'), count(*) from raw_inbox.deliveries group by 1"
            )
            return {str(outcome): int(count) for outcome, count in found}

    def hashes(self) -> list[bytes]:
        """Of all bodies stored."""
        with psycopg.connect(self.dsn) as connection:
            return [bytes(row[0]) for row in connection.execute("select sha256(body) from raw_inbox.deliveries")]


@contextmanager
def place(workers: int, directory: Path | None = None) -> Iterator[Place]:
    """Makes both and takes them away again."""
    with tempfile.TemporaryDirectory(prefix="lettertrail-inbox-", dir=directory) as name:
        Path(name).chmod(0o711)
        # A port of its own: PostgreSQL would choose another one at every start.
        postgres = EmbeddedPostgres(Path(name) / "postgres", port=free_port())
        postgres.start()
        try:
            with serving(postgres, workers, Path(name) / "receiver.log") as running:
                yield running
        finally:
            postgres.stop()


@contextmanager
def serving(postgres: EmbeddedPostgres, workers: int, log: Path, database: str = "inbox") -> Iterator[Place]:
    """A receiver in front of a fresh warehouse on a server that runs."""
    dsn = postgres.ensure_database(database)
    migrate(dsn)
    apply_roles(dsn, {"lettertrail_inbox": _PASSWORD})
    inbox_dsn = conninfo.make_conninfo(dsn, user="lettertrail_inbox", password=_PASSWORD)
    with receiver(inbox_dsn, accounts=json.dumps(ACCOUNTS), url=letters.URL, workers=workers, log=log) as running:
        yield Place(postgres, database, running)


@dataclass(frozen=True, slots=True)
class Speed:
    """Deliveries of one event each, every one on disk before its answer."""

    per_second: float
    p50: float
    p99: float
    slowest: float
    refused: int
    missing: int
    """Answered with 200, and not there."""


def speed(at: Place, count: int, *, connections: int, rate: float | None = None, first: int = 0) -> Speed:
    """As fast as it goes, or at a steady rate; seconds count from when a request was due."""
    before = at.rows()
    # Two addresses in turn: one alone is held to 5 000 a second.
    makers = cycle((letters.mailchimp, letters.unisender))
    requests = [
        make(number, unix=_unix()).raw() for number, make in zip(range(first, first + count), makers, strict=False)
    ]
    tally = uvloop.run(send(requests, at.receiver.port, connections=connections, rate=rate))
    accepted = len(tally.accepted)
    return Speed(
        per_second=accepted / tally.took,
        p50=tally.percentile(0.5),
        p99=tally.percentile(0.99),
        slowest=max(tally.seconds),
        refused=sum(tally.statuses.values()) - accepted,
        missing=accepted - (at.rows() - before),
    )


@dataclass(frozen=True, slots=True)
class Soak:
    """What a storm of kills did."""

    acknowledged: int
    attempts: int
    unanswered: int
    put_off: int
    """Answered with 503."""
    worker_kills: int
    postgres_kills: int
    lost: int
    """Acknowledged, and not there."""
    doubled: int
    seconds: float


def soak(at: Place, count: int, *, worker_kills: int, postgres_kills: int, seed: int, connections: int = 32) -> Soak:
    """Sends until everything was accepted, and kills meanwhile, at moments spread over the whole by a seed."""
    rng = random.Random(seed)
    kinds = ["worker"] * worker_kills + ["postgres"] * postgres_kills
    rng.shuffle(kinds)
    step = count / (len(kinds) + 1)
    moments = [int(step * (number + rng.uniform(0.6, 1.4))) for number in range(len(kinds))]
    hooks = [letters.mandrill(number, unix=0) for number in range(count)]
    tally = Tally()

    async def both() -> None:
        sending = asyncio.create_task(
            send(
                (hook.raw() for hook in hooks), at.receiver.port, connections=connections, repeat=True, tally=tally,
                seconds=3600,
            )
        )  # fmt: skip
        for kind, moment in zip(kinds, moments, strict=True):
            while len(tally.accepted) < moment and not sending.done():
                await asyncio.sleep(0.005)
            await asyncio.to_thread(_kill, at, kind, rng)
        await sending

    uvloop.run(both())
    held = Counter(at.hashes())
    lost = sum(hashlib.sha256(hooks[number].body).digest() not in held for number in tally.accepted)
    return Soak(
        acknowledged=len(tally.accepted),
        attempts=sum(tally.statuses.values()),
        unanswered=tally.statuses[0],
        put_off=tally.statuses[503],
        worker_kills=worker_kills,
        postgres_kills=postgres_kills,
        lost=lost,
        doubled=sum(held.values()) - len(held),
        seconds=tally.took,
    )


def _kill(at: Place, kind: str, rng: random.Random) -> None:
    if kind == "postgres":
        kill_postgres(at.postgres)
        at.postgres.start()
    else:
        at.receiver.kill_worker(rng.randrange(8))
        wait_until_up(at.receiver.port)


@dataclass(frozen=True, slots=True)
class Forged:
    """What forgeries achieved."""

    sent: int
    by_status: dict[int, int]
    accepted: int
    """Answered with 200 although nobody signed them."""
    replays: int
    added: int
    """Rows there are now because of forgeries and replays."""


def forged(at: Place, count: int, *, seed: int) -> Forged:
    """Sends the genuine ones, then what was made of them."""
    made = list(forgeries(count, unix=_unix(), seed=seed))
    genuine = uvloop.run(send((one.genuine.raw() for one in made), at.receiver.port, connections=16))
    assert len(genuine.accepted) == count, f"genuine webhooks were refused: {genuine.statuses}"
    before = at.rows()
    tally = uvloop.run(send((one.hook.raw() for one in made), at.receiver.port, connections=16))
    replays = {number for number, one in enumerate(made) if one.is_replay}
    return Forged(
        sent=count,
        by_status=dict(sorted(tally.statuses.items())),
        accepted=len(set(tally.accepted) - replays),
        replays=len(replays),
        added=at.rows() - before,
    )


@dataclass(frozen=True, slots=True)
class Thrown:
    """What garbage achieved."""

    sent: int
    by_status: dict[int, int]
    worst: dict[str, int]
    """Kinds that got 410 or 5xx, and how often."""
    is_alive: bool
    """A genuine webhook was taken afterwards."""
    outcomes: dict[str, int]
    """Of what was let in, after it was processed; `None`: nobody could."""


def thrown(at: Place, count: int, *, seed: int) -> Thrown:
    """Throws garbage, then sends one genuine webhook, then has everything processed that was let in."""
    found = uvloop.run(throw(garbage(count, seed=seed, addresses=ADDRESSES), at.receiver.port, connections=32))
    statuses: Counter[int] = Counter()
    worst: Counter[str] = Counter()
    for (kind, status), times in found.items():
        statuses[status] += times
        if status >= 500 or status == 410:
            worst[f"{kind}: {status}"] += times
    last = letters.mailchimp(int(time.monotonic() * 1e6), unix=_unix()).raw()
    alive = uvloop.run(send([last], at.receiver.port, connections=1))
    process_deliveries(at.dsn, run_id="garbage", clock=system_clock)
    check_balance(at.dsn, run_id="garbage")
    return Thrown(
        sent=sum(statuses.values()),
        by_status=dict(sorted(statuses.items())),
        worst=dict(worst),
        is_alive=alive.statuses[200] == 1,
        outcomes=at.outcomes(),
    )


def _unix() -> int:
    return int(time.time())
