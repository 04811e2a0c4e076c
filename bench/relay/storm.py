"""Letters through a storm: workers killed, answers lost, services failing; then everything is counted."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import uvloop

from bench.inbox.sender import Tally, send
from bench.relay.place import Place
from bench.relay.site import ACCOUNT, mail, told
from lettertrail import esps
from lettertrail.relay.outbox import letter_key
from lettertrail.relay.worker import ASKING

COMPLAINED = 50
"""Every so many-th recipient has complained."""


@dataclass(frozen=True, slots=True)
class Storm:
    """What came of it."""

    acknowledged: int
    rate: float
    """Letters that the site sent a second."""
    kills: int
    faults: int
    unanswered: int
    """Calls to a service."""
    by_state: dict[str, int]
    untold: int
    """Of the unknown, those whose last call had no answer from a service that cannot be asked about a letter."""
    lost: int
    """Taken from the site, and neither with a service nor on record as held, dead or suppressed."""
    twice: int
    """Sent more than once."""
    wrongly: int
    """Sent to somebody who had complained."""
    untrue: int
    """Booked as sent that no service has, or as dead or suppressed that one has."""
    p50: float
    p95: float
    """Seconds from the site's request to the first call to a service."""
    slowest: float
    seconds: float


def storm(
    at: Place, count: int, *, kills: int, faults: int, seed: int, rate: float, first: int = 0, patience: float = 900
) -> Storm:
    """Sends `count` letters at a steady rate, one in twenty of them twice, and breaks things at moments by the seed.

    Args:
        first: number of the first letter.
        patience: seconds after the last request in which everything has to be settled.
    """
    rng = random.Random(seed)
    _complaints(at, first, count)
    numbers = [number for number in range(first, first + count) for _ in range(2 if rng.random() < 0.05 else 1)]
    blows = ["kill"] * kills + ["fault"] * faults
    rng.shuffle(blows)
    step = len(numbers) / (len(blows) + 1)
    moments = [int(step * (nth + rng.uniform(0.6, 1.4))) for nth in range(len(blows))]
    tally = Tally()
    began = time.monotonic()

    async def both() -> None:
        sending = asyncio.create_task(
            send(
                _requests(numbers), at.receiver.port, connections=32, rate=rate, repeat=True, tally=tally, seconds=3600
            )
        )
        for blow, moment in zip(blows, moments, strict=True):
            while len(tally.accepted) < moment and not sending.done():
                await asyncio.sleep(0.005)
            await asyncio.to_thread(_strike, at, blow, rng)
        await sending

    uvloop.run(both())
    for service in (at.mandrill, at.go):
        service.heal()
    _wait_until_settled(at, patience)
    if _free_look_ups(at):
        _wait_until_settled(at, patience)
    found = _counted(at, {numbers[nth] for nth in tally.accepted})
    return replace(found, rate=rate, kills=kills, faults=faults, seconds=time.monotonic() - began)


def _requests(numbers: list[int]) -> Iterator[bytes]:
    for nth, number in enumerate(numbers):
        # In another company the second time, as a site that got no answer sends it.
        yield told([mail(number)] if nth % 2 else [mail(number), mail(number)], unix=int(time.time())).raw()


def _complaints(at: Place, first: int, count: int) -> None:
    numbers = (number for number in range(first, first + count) if number % COMPLAINED == 0)
    emails = [f"person{number}@example.com" for number in numbers]
    at.rows(
        "with told as (insert into raw_esp.events"
        " (esp, account, external_id, email, event_type, payload, _row_hash, _loaded_at, _load_id)"
        " select 'sendpulse', 'sendpulse', email, email, 'complained', '{}', 0, now(), 0"
        " from unnest(%s::text[]) as email returning 1) select count(*) from told",
        emails,
    )


def _strike(at: Place, blow: str, rng: random.Random) -> None:
    if blow == "kill":
        rng.choice(at.workers).kill()
        return
    service = rng.choice([at.mandrill, at.mandrill, at.go])
    kind = rng.choice(["drop_after_write", "drop_after_write", "drop_before", "truncate", "refuse", "slow"])
    how: dict[str, object] = {"times": rng.randrange(1, 6), "skip": rng.randrange(4)}
    if kind == "refuse":
        how["status"] = rng.choice([429, 500, 502, 503])
    if kind == "slow":
        how["seconds"] = 0.3
    service.fault(kind, **how)


def _wait_until_settled(at: Place, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ((left,),) = at.rows(
            "select count(*) from ops.outbox where state in ('queued', 'sending')"
            " or (state = 'unknown' and next_attempt_at < now() + interval '5 minutes')"
        )
        if not left:
            return
        time.sleep(0.2)


def _free_look_ups(at: Place) -> int:
    """What a killed worker was looking up is another's after `ASKING`; here at once. Gives how many letters."""
    ((freed,),) = at.rows(
        "with freed as (update ops.outbox set next_attempt_at = now()"
        " where state = 'unknown' and next_attempt_at < now() + %s returning 1) select count(*) from freed",
        ASKING,
    )
    return int(freed)


def _counted(at: Place, acknowledged: set[int]) -> Storm:
    arrived = at.arrived()
    rows = dict(at.rows("select key, state from ops.outbox"))
    keys = {f"{ACCOUNT}:s1-mail-{number}:1": number for number in acknowledged}
    times = {key: arrived[letter_key(key)] for key in keys}
    final = {"dead", "suppressed", "unknown"}
    waits = sorted(
        float(wait)
        for (wait,) in at.rows(
            "select extract(epoch from tries.started_at - letters.queued_at) from ops.outbox as letters"
            " join ops.outbox_attempts as tries using (outbox_id)"
            " where tries.number = 1 and letters.key = any(%s)",
            list(keys),
        )
    )
    ((unanswered,),) = at.rows(
        "select count(*) from ops.outbox_attempts where outcome in ('unknown', 'absent')"
        " or reason = 'found after a lost answer'"
    )
    return Storm(
        acknowledged=len(keys),
        rate=0,
        kills=0,
        faults=0,
        unanswered=int(unanswered),
        untold=sum(
            _cannot_be_asked(account)
            for (account,) in at.rows(
                "select esp_account from ops.outbox where state = 'unknown' and key = any(%s)", list(keys)
            )
        ),
        by_state=dict(sorted(Counter(rows.get(key, "missing") for key in keys).items())),
        lost=sum(not times[key] and rows.get(key) not in final for key in keys),
        twice=sum(number > 1 for number in arrived.values()),
        wrongly=sum(times[key] > 0 for key, number in keys.items() if number % COMPLAINED == 0),
        untrue=sum((rows.get(key) == "sent") != (times[key] > 0) for key in keys if rows.get(key) != "unknown"),
        p50=waits[len(waits) // 2],
        p95=waits[int(0.95 * len(waits))],
        slowest=waits[-1],
        seconds=0,
    )


def _cannot_be_asked(account: str) -> bool:
    return esps.load(esps.adapter_name(account)).traced_after is None
