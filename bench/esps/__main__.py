"""`python -m bench.esps`: what a large push costs, how a storm ends, who was resubscribed; written to results.md.

Against the sandbox twins, which count calls and violations themselves. Wants about five minutes: SendPulse takes ten
calls a second.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.esps.accounts import TWINS, Account, account, addresses
from bench.esps.storm import Weather
from bench.program import Line, argument_parser, write_lines
from lettertrail.errors import ApiError, RateLimited, TemporaryApiError
from lettertrail.esps.port import Esp, Outcome, Record

MAILABLE = frozenset({"subscribed", "pending"})
MOST_RUNS = 40
STORMS = 5
AUDIENCE = "seg_bench"


def push(name: str, directory: Path, people: int) -> Line:
    """Writes a changed field of every person; counts the calls that write, and all."""
    with account(name, directory, is_limited=True) as there:
        crowd = addresses(people)
        there.service.enrol(crowd)
        esp = there.connect()
        began = time.monotonic()
        counts = Counter(outcome.status for outcome in esp.upsert(_records(there, crowd, "A")))
        seconds = time.monotonic() - began
        writes, calls = len(there.service.writes()), there.storm.requests
        least = -(-people // esp.bulk)
        violations = there.violations()
    done = counts["applied"] + counts["already_ok"]
    return Line(
        f"{name}: {people} changed contacts",
        f"{writes} writing calls, {writes / least:.3f} × the least ({least}, {esp.bulk} a call); {calls} in all;"
        f" {done} done; {violations} violations; {seconds:.0f} s",
        "≤ 1.05 × the least, 0 violations",
        writes <= 1.05 * least and violations == 0 and done == people,
    )


def storm(name: str, directory: Path, people: int) -> Line:
    """Suppresses half and writes a field of the other half in a storm, run after run until nothing is pending.

    Over several storms: one of a few hundred requests says little about a chance.
    """
    crowd = addresses(people)
    leaving, staying = crowd[::2], crowd[1::2]
    with account(name, directory, is_limited=False) as calm:
        calm.service.enrol(crowd)
        _until_settled(calm, leaving, staying)
        least = calm.storm.requests
    requests = wrong = runs = 0
    for seed in range(STORMS):
        with account(name, directory, is_limited=False, seed=seed) as there:
            there.service.enrol(crowd)
            there.storm.weather = Weather()
            runs = max(runs, _until_settled(there, leaving, staying))
            requests += there.storm.requests
            there.storm.weather = None
            wrong += sum(there.service.status_of(address) in MAILABLE for address in leaving)
            wrong += sum(there.service.status_of(address) not in MAILABLE for address in staying)
            contacts = there.hurried().contacts(None)
            written = {contact.email for contact in contacts if "A" in map(str, contact.fields.values())}
            wrong += len(set(staying) - written)
    factor = requests / STORMS / least
    return Line(
        f"{name}: {STORMS} storms over {people} contacts",
        f"{wrong} wrong at the end; {requests // STORMS} requests each, {least} in calm weather: {factor:.2f} ×;"
        f" {runs} runs at most",
        "0 wrong, ≤ 2.2 ×",
        wrong == 0 and factor <= 2.2,
    )


def resubscribing(name: str, directory: Path, attempts: int) -> Line:
    """Everything a push can do, in random order, to people who left."""
    chance = random.Random(11)
    with account(name, directory, is_limited=False) as there:
        crowd = addresses(50)
        there.service.enrol(crowd)
        for address in crowd[:25]:
            there.service.leave(address)
        list(there.hurried().suppress(_records(there, crowd[25:], "A")))
        made = found = 0
        while made < attempts:
            esp = there.hurried(**({"add_missing": "true"} if chance.random() < 0.5 else {}))
            some = chance.sample(crowd, chance.randint(1, 25))
            list(chance.choice(_ways(esp))(_records(there, some, chance.choice("ABC"))))
            made += len(some)
            found += sum(there.service.status_of(address) in MAILABLE for address in some)
    return Line(f"{name}: {made} attempts to resubscribe", f"{found} subscribed again", "0", found == 0)


def _ways(esp: Esp) -> list[Callable[[Sequence[Record]], Iterator[Outcome]]]:
    return [
        esp.upsert,
        esp.suppress,
        esp.unsubscribe,
        esp.set_preferences,
        lambda records: esp.add_members(AUDIENCE, records),
        lambda records: esp.remove_members(AUDIENCE, records),
    ]


def _until_settled(there: Account, leaving: Sequence[str], staying: Sequence[str]) -> int:
    """Repeats what is pending, as the next run of a sync does; gives the number of runs."""
    todo = {
        "suppress": {record.key: record for record in _records(there, leaving, "A")},
        "upsert": {record.key: record for record in _records(there, staying, "A")},
    }
    for run in range(1, MOST_RUNS + 1):
        for what, records in todo.items():
            if not records:
                continue
            try:
                for outcome in getattr(there.hurried(), what)(list(records.values())):
                    if outcome.status != "retry_pending":
                        del records[outcome.key]
            except (RateLimited, TemporaryApiError):
                continue  # the next run goes on
        if not any(todo.values()):
            return run
    raise ApiError(there.name, f"not settled after {MOST_RUNS} runs")


def _records(there: Account, people: Sequence[str], value: str) -> list[Record]:
    return [Record(address, address, {there.service.field: value}) for address in people]


def main() -> int:
    """Measures, writes the page, and says by the exit status whether everything holds."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--storm", type=int, default=20_000, help="contacts in the storm")
    parser.add_argument("--attempts", type=int, default=2_000, help="attempts to resubscribe, for each service")
    parser.add_argument("--only", nargs="*", default=list(TWINS), choices=list(TWINS))
    options = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as directory:
        for measure, amount in ((push, options.people), (storm, options.storm), (resubscribing, options.attempts)):
            for name in options.only:
                lines.append(measure(name, Path(directory), amount))
                print(f"{lines[-1].what}: {lines[-1].measured}", flush=True)
    holds = write_lines(options.out, "The ESP adapters: measured", "python -m bench.esps", lines)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
