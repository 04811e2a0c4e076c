"""`python -m bench.preferences`: how long from an unsubscribe on the page until every service refuses that person.

The real legs, one after the other, as Airflow runs them: the receiver under uvicorn, the notification, the ledger, the
push to four sandbox services through the real adapters; and whether the models come to the same when they are built
afterwards, with all their tests. Only the scheduler is left out; what it adds is assumed and told apart. Takes some
minutes and wants the machine quiet.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from urllib.request import Request, urlopen
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import conninfo
from tests.dbt.dbt_runs import NO_UNIT_TESTS, dbt

from bench.esps.accounts import Account, account
from bench.inbox.receiver import receiver
from bench.machine import machine
from bench.program import argument_parser, log_to_stderr
from lettertrail.airflow.inbox import CHANNEL, SETTLE_SECONDS
from lettertrail.audiences.push import sync_suppressions
from lettertrail.audiences.segments import publish
from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import system_clock
from lettertrail.esps import names
from lettertrail.expectations.door import check_door
from lettertrail.preferences.applied import note_choices
from lettertrail.preferences.links import Links
from lettertrail.preferences.roster import sign_links
from lettertrail.sandbox.bitrix_site import load_site
from lettertrail.sandbox.mariadb import MariaDb
from lettertrail.sandbox.world import generate
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.load_esp import load_account
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import apply_roles

log = logging.getLogger("bench")

ZONE = ZoneInfo("Europe/Moscow")
LAYERS = ("staging", "intermediate", "marts", "segments")
LINKS = Links((uuid.uuid4().hex.encode(),), "https://hooks.example.com")
PASSWORD = "bench"
TASK_SECONDS = 4.0
"""Assumed: what Airflow adds to a task on 2 cores, where its process has to start."""
TASKS_IN_A_ROW = 4
"""From `process_inbox` to the last push: work in, check, push, and one for making the runs."""
LIMIT = timedelta(minutes=1)
"""\"Seconds\", as the receiver promises; whoever leaves where nobody is told at once waits for the hourly copy."""


@dataclass(frozen=True, slots=True)
class House:
    """A warehouse with the sample world in it, a receiver, and an account at each service."""

    dsn: str
    port: int
    accounts: tuple[Account, ...]
    directory: Path

    def build(self) -> None:
        """What `build_marts` does."""
        at = system_clock()
        for door in ("raw_bitrix", "raw_esp"):
            self._check(door)
        for layer in LAYERS:
            seeds = ["path:seeds"] if layer == LAYERS[0] else []
            built = dbt(
                "build", "--select", f"path:models/{layer}", *seeds,
                "--indirect-selection", "buildable", *NO_UNIT_TESTS,
                dsn=self.dsn, work_dir=self.directory, run_at=at.isoformat(),
            )  # fmt: skip
            if built.returncode:
                raise RuntimeError(built.output[-4000:])
        publish(built.manifest, self.dsn, at=at)
        self._check("segments")

    def push(self) -> None:
        """What `forward_opt_outs` does, one account after the other."""
        for each in self.accounts:
            sync_suppressions(each.hurried(), self.dsn, run_id="bench", clock=system_clock, dry_run=False)

    def leave(self, email: str) -> None:
        """One click, as a mail program sends it."""
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("select link_id from ops.links where email = %s", [email]).fetchone()
        assert found is not None
        url = f"http://127.0.0.1:{self.port}/unsubscribe/{LINKS.token('unsubscribe', UUID(str(found[0])))}"
        with urlopen(Request(url, data=b"List-Unsubscribe=One-Click"), timeout=10) as answer:
            assert answer.status == 200

    def suppressed(self, people: list[str]) -> int:
        """How many of them the marts say must not be written to."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(
                "select count(distinct email) from marts.dim_suppression"
                " where scope = 'everything' and state = 'unsubscribed' and email = any(%s)",
                [people],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def still_mailable(self, email: str) -> list[str]:
        """The services that would write to an address."""
        return [each.name for each in self.accounts if email not in set(each.hurried().suppressed())]

    def _check(self, door: str) -> None:
        check_door(
            door, warehouse_dsn=self.dsn, gx_root=self.directory / "gx", run_id="bench", clock=system_clock, zone=ZONE
        )


@contextmanager
def house(scale: float, people: list[str]) -> Iterator[House]:
    """Everything loaded, built and pushed once, so that a round is an ordinary one."""
    with tempfile.TemporaryDirectory(prefix="lettertrail-preferences-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        postgres = EmbeddedPostgres(directory / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        dsn = postgres.ensure_database("warehouse")
        migrate(dsn)
        apply_roles(dsn, {"lettertrail_inbox": PASSWORD})
        _load_site(dsn, directory, scale)
        accounts = tuple(stack.enter_context(account(esp, directory, is_limited=False)) for esp in names())
        for each in accounts:
            each.service.enrol(people)
            load_account(each.hurried(), dsn, run_id="bench", clock=system_clock)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("LETTERTRAIL_LINK_SECRETS", LINKS.secrets[0].decode())
        inbox = conninfo.make_conninfo(dsn, user="lettertrail_inbox", password=PASSWORD)
        running = stack.enter_context(
            receiver(inbox, accounts="", url=LINKS.public_url, workers=1, log=directory / "inbox.log")
        )
        found = House(dsn, running.port, accounts, directory)
        found.build()
        sign_links(dsn, LINKS, clock=system_clock)
        found.push()
        yield found


def _load_site(dsn: str, directory: Path, scale: float) -> None:
    world = generate(seed=7, scale=scale, as_of=system_clock().date())
    mariadb = MariaDb(directory / "mariadb")
    mariadb.start()
    try:
        passwords = {"owner_password": uuid.uuid4().hex, "reader_password": uuid.uuid4().hex}
        source = SqlSource(load_site(world, mariadb.dsn, **passwords).reader_dsn, ZONE)
        for entry in load_catalog():
            load_table(source, entry, dsn, run_id="bench", clock=system_clock)
    finally:
        mariadb.stop()


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of each leg for one person."""

    page: float
    told: float
    noted: float
    pushed: float
    is_refused: bool

    @property
    def total(self) -> float:
        """The legs, and the pause in which webhooks gather."""
        return self.page + self.told + SETTLE_SECONDS + self.noted + self.pushed


def follow(at: House, email: str) -> Round:
    """One person from the click to the last service."""
    before = set(at.still_mailable(email))
    assert before == {each.name for each in at.accounts}, f"{before} of the services know the person"
    with psycopg.connect(at.dsn, autocommit=True) as listener:
        listener.execute(f"listen {CHANNEL}".encode())
        moments = [time.monotonic()]
        at.leave(email)
        moments.append(time.monotonic())
        assert [*listener.notifies(timeout=10, stop_after=1)], "nobody was told"
        moments.append(time.monotonic())
    assert note_choices(at.dsn, run_id="bench", clock=system_clock) == 1
    moments.append(time.monotonic())
    at.push()
    moments.append(time.monotonic())
    legs = [after - earlier for earlier, after in pairwise(moments)]
    return Round(*legs, is_refused=at.still_mailable(email) == [])


def main() -> int:
    """The exit status is 1 when the figure is missed."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--scale", type=float, default=0.2, help="of the sample world; 1 has half a million letters")
    parser.add_argument("--rounds", type=int, default=100, help="people who leave")
    options = parser.parse_args()
    log_to_stderr()
    people = [f"leaver{number}@example.com" for number in range(options.rounds)]
    with house(options.scale, people) as at:
        rounds = []
        for email in people:
            rounds.append(follow(at, email))
            log.info("%s", rounds[-1])
        at.build()
        agreeing = at.suppressed(people)
    page, is_met = _page(rounds, options.scale, agreeing)
    options.out.write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return int(not is_met)


def _page(rounds: list[Round], scale: float, agreeing: int) -> tuple[str, bool]:
    overhead = TASKS_IN_A_ROW * TASK_SECONDS
    late = quantiles([each.total for each in rounds], n=100)[98] + overhead
    refused = sum(each.is_refused for each in rounds)
    is_met = refused == agreeing == len(rounds) and late <= LIMIT.total_seconds()
    legs = {
        "the page answers: it is on disk": [each.page for each in rounds],
        "the listener is told": [each.told for each in rounds],
        "the ledger notes it": [each.noted for each in rounds],
        "planned for and pushed to four services": [each.pushed for each in rounds],
        f"all, with the {SETTLE_SECONDS:g} s in which webhooks gather": [each.total for each in rounds],
    }
    lines = [
        "# From an unsubscribe on the page to every service's refusal",
        "",
        f"{machine()}; sample world at scale {scale:g}, {len(rounds)} people one after the other",
        "",
        "| Leg | Median, s | Slowest, s |",
        "|---|---:|---:|",
        *(f"| {name} | {median(seconds):.2f} | {max(seconds):.2f} |" for name, seconds in legs.items()),
        "",
        f"Refused by all four services before anything was built: {refused} of {len(rounds)}. "
        f"Suppressed by the models that were built afterwards: {agreeing}.",
        f"p99 with {overhead:.0f} s for Airflow's scheduler ({TASKS_IN_A_ROW} tasks in a row at {TASK_SECONDS:g} s): "
        f"{late:.0f} s, {'met' if is_met else 'MISSED'} (at most {LIMIT.total_seconds():.0f} s).",
        "",
    ]
    return "\n".join(lines), is_met


if __name__ == "__main__":
    sys.exit(main())
