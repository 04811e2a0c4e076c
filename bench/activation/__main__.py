"""`python -m bench.activation`: wrong plans, ninety days, kills at every step, a million members; to results.md.

The stages are those of the tests (`tests/audiences`), here at full length. Wants about three minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.audiences.fakes import NOON, FakeDestination, Warehouse
from tests.audiences.test_crashes import crash
from tests.audiences.test_wrong_plans import live
from tests.audiences.wrong_plans import CROWD, WRONG_PLANS, destructive, leave, staged
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from bench.program import Line, argument_parser, write_lines
from lettertrail.audiences.plan import Target, plan_segment
from lettertrail.audiences.push import SyncResult
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate

CROWD_OF = """
insert into segments.seg_lapsed (email, person_id, city, step)
select 'p' || n || '@example.com', 'p:' || n, 'city ' || n %% 300, n %% 7 from generate_series(1, %(people)s) as n
"""
CONFIRMED_OF = """
insert into ops.acknowledged (destination, account, audience, record_key, value, fields, confirmed_at)
select
    'mailchimp', 'mailchimp', 'lapsed', 'p' || n || '@example.com', 'member',
    jsonb_build_object(
        'city', left(md5(to_jsonb('city ' || n %% 300)::text), 16), 'step', left(md5(to_jsonb(n %% 7)::text), 16)
    ),
    %(at)s
from generate_series(1, %(people)s) as n
where n %% 100 <> 0
"""
SUPPRESSED_OF = """
insert into marts.dim_suppression (email, scope, state)
select 'p' || n || '@example.com', 'everything', 'unsubscribed' from generate_series(1, %(people)s, 10) as n
"""


def wrong_plans(warehouse: Warehouse, service: MailchimpService, directory: Path) -> Iterator[Line]:
    """All kinds, each from the same good state; counts what reached the service."""
    reached: list[str] = []
    silent = late = told = writes_of_nothing = 0
    for number, plan in enumerate(WRONG_PLANS):
        with staged(warehouse, service, directory, number) as stage:
            seen = len(service.writes())
            stage.push()
            writes_of_nothing += len(service.writes()) - seen
            plan.spoil(stage)
            if plan.knows_leavers:
                leave(stage)
            before, seen = stage.members(), len(service.lines())
            _, segment = stage.push()
            reached += destructive(stage, plan, service.lines()[seen:])
            reached += [f"{plan.name}: gone" for _ in before - stage.members() - {stage.leaver}]
            silent += isinstance(segment, SyncResult) or plan.says not in str(segment)
            if plan.knows_leavers:
                told += 1
                late += not stage.is_told(stage.leaver)
    yield Line(
        f"{len(WRONG_PLANS)} kinds of wrong plan",
        f"{len(reached)} destructive calls reached the service; {silent} stopped without their reason",
        "0, 0",
        not reached and not silent,
    )
    yield Line("opt-outs with evidence under a hold", f"{late} of {told} waited", "0", not late)
    yield Line("nothing changed", f"{writes_of_nothing} writing calls", "0", not writes_of_nothing)


def ordinary_days(warehouse: Warehouse, days: int) -> Line:
    """Days in which nothing is wrong."""
    held = live(warehouse, FakeDestination(), days=days)
    return Line(f"{days} ordinary days of three segments", f"{len(held)} false holds", "≤ 1", len(held) <= 1)


def crashes(warehouse: Warehouse) -> Line:
    """A kill after every statement of a push, and the run that completes it; `crash` checks each of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        kills = crash(warehouse, monkeypatch, stride=1)
    unbalanced = len(warehouse.unbalanced())
    return Line(
        f"{kills} kills, one after each statement of a push",
        f"every record one outcome, both sides right after the next run; {unbalanced} runs do not balance",
        "0 out of balance",
        unbalanced == 0,
    )


def large_plan(warehouse: Warehouse, people: int) -> Line:
    """A plan of which a little is new: with two fields, a tenth suppressed, and a hundredth still to be added."""
    warehouse.execute("alter table segments.seg_lapsed add column city text, add column step int")
    for statement in (CROWD_OF, CONFIRMED_OF, SUPPRESSED_OF):
        warehouse.execute(statement, {"people": people, "at": NOON})
    warehouse.execute("analyze")
    target = Target("mailchimp", "mailchimp", "lapsed")
    segment = replace(warehouse.segment, audience="lapsed")
    began = time.monotonic()
    with connect(warehouse.dsn, purpose="bench") as connection:
        plan = plan_segment(connection, segment, target, sends_attributes=True, at=NOON)
    seconds = time.monotonic() - began
    return Line(
        f"plan for {people} members",
        f"{seconds:.1f} s; {plan.count('add')} to add, {plan.count('update')} to change,"
        f" {plan.count('remove')} to remove",
        "≤ 15 s",
        seconds <= 15,
    )


@contextmanager
def fresh(server: EmbeddedPostgres, name: str) -> Iterator[Warehouse]:
    """A migrated warehouse with empty marts."""
    dsn = server.ensure_database(name)
    migrate(dsn)
    warehouse = Warehouse(dsn)
    try:
        yield warehouse
    finally:
        warehouse.close()
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")


def measure(directory: Path, *, people: int, days: int) -> Iterator[Line]:
    """One line after the other."""
    server = EmbeddedPostgres(directory / "postgres", durable=False)
    server.start()
    try:
        with fresh(server, "wrong") as warehouse, mailchimp_service(directory, is_empty=True) as service:
            service.enrol(CROWD)
            yield from wrong_plans(warehouse, service, directory)
        with fresh(server, "days") as warehouse:
            yield ordinary_days(warehouse, days)
        with fresh(server, "crashes") as warehouse:
            yield crashes(warehouse)
        with fresh(server, "large") as warehouse:
            yield large_plan(warehouse, people)
    finally:
        server.stop()


def main() -> int:
    """Measures, writes the page, and says by the exit status whether everything holds."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90)
    options = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="lettertrail-bench-") as directory:
        Path(directory).chmod(0o711)  # the server runs as another user than root
        for line in measure(Path(directory), people=options.people, days=options.days):
            lines.append(line)
            print(f"{line.what}: {line.measured}", flush=True)
    holds = write_lines(options.out, "Pushes: measured", "python -m bench.activation", lines)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
