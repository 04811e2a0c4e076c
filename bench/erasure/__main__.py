"""`python -m bench.erasure`: how long a person is searched for, and how long the erasure itself then holds their rows.

One table of events of an e-mail service, in a PostgreSQL of its own; of two addresses and a telephone number one stands
in every 5000th row. Beside it the condition as it was before the search went first, on a tenth of the rows.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench.machine import machine
from bench.program import argument_parser, log_to_stderr
from lettertrail.clock import system_clock
from lettertrail.erasure.catalogue import Table, tables
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.rows import Scope, find_rows, reading, rows_of
from lettertrail.erasure.search import Search, search_for
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.embedded import EmbeddedPostgres

EVENTS = """
create schema raw_esp;
create table raw_esp.events as
select
    'mailchimp'::text as account,
    'person' || n * 7919 %% 200000 || '@shop.example' as email,
    'https://shop.example/item-' || n %% 5000 || '/?utm_source=mailchimp&rid=' || md5(n::text) as url,
    jsonb_build_object(
        'campaign', md5((n %% 300)::text), 'member', md5('p' || n), 'title', 'Осенняя распродажа номер ' || n %% 300,
        'agent', 'Mozilla/5.0 (X11, Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36',
        'phone', '+7 916 ' || 100 + n %% 800 || '-' || 10 + n %% 89 || '-' || 10 + n %% 83
    ) as payload,
    n / (%(rows)s / 10 + 1) as _load_id
from generate_series(1::bigint, %(rows)s) as n;
update raw_esp.events set email = 'anna.ivanova@shop.example' where url like '%%/item-77/%%';
vacuum analyze raw_esp.events
"""
KEY = ErasureKey(b"0123456789abcdef0123456789abcdef")
PERSON = search_for(KEY, ["anna.ivanova@shop.example", "ivanova@other.example"], ["+79995550123"], ())


def main() -> int:
    """Measures and writes the page."""
    parser = argument_parser(__file__, __doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    log_to_stderr()
    with tempfile.TemporaryDirectory() as work:
        postgres = EmbeddedPostgres(Path(work) / "postgres", durable=False)
        postgres.start()
        try:
            page = _measure(postgres.dsn(), options.rows)
        finally:
            postgres.stop()
    options.out.write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return 0


def _measure(dsn: str, rows: int) -> str:
    with psycopg.connect(dsn, autocommit=True) as owner:
        for statement in EVENTS.split(";"):
            psycopg.ClientCursor(owner).execute(statement.encode(), {"rows": rows})
        (bytes_there,) = owner.execute("select pg_table_size('raw_esp.events')").fetchone() or (0,)
    taken: dict[str, float] = {}
    with reading(dsn, purpose="bench") as connection:
        (events,) = tables(connection)
        with _timed(taken, "search"):
            findings = find_rows(connection, PERSON, clock=system_clock)
        with _timed(taken, "before"):
            connection.execute(_before(PERSON, events)).fetchall()
    with connect(dsn, purpose="bench") as connection, _timed(taken, "held"):
        found = rows_of(connection, events, PERSON, Scope(0, system_clock(), findings=findings))
    ratio = taken["before"] * 10 / taken["search"]
    return f"""# Searching for a person

Made by `python -m bench.erasure`, {machine()}.
{rows:,} events, {bytes_there / 1e6:,.0f} MB; {len(found)} are the person's.

| | Seconds |
|---|---|
| search, which only reads | {taken["search"]:.1f} ({bytes_there / 1e6 / taken["search"]:.0f} MB/s) |
| in the erasure's transaction: the rows found, and what was written since | {taken["held"]:.2f} |
| the search as it was, in that transaction (a tenth of the rows, times ten) | {taken["before"] * 10:.0f} |

The search is {ratio:.0f} times as quick as it was.
"""


@contextmanager
def _timed(taken: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    taken[what] = time.perf_counter() - started


def _before(search: Search, table: Table) -> sql.Composable:
    """The quick look and the exact pattern joined by `and`, which lets PostgreSQL begin with the pattern."""
    parts = {f"%{part}%" for token in search.strong for part in token.parts} | {"%9995550123%"}
    return sql.SQL(
        "select ctid from {} as each where _load_id = 0"
        " and translate(lower({words}), ' ()-', '') like any({parts}) and {words} ~* {pattern}"
    ).format(
        table.relation,
        words=table.words("each"),
        parts=sql.Literal(sorted(parts)),
        pattern=sql.Literal(search.pattern),
    )


if __name__ == "__main__":
    sys.exit(main())
