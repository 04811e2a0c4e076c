"""Not being in a site's way: giving way to its changes, few connections, quick refusals."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pytest
from tests.source_site import ZONE, EntryMaker, Site

from lettertrail.bitrix import sessions
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Digest, KeyRange, Rows
from lettertrail.bitrix.sessions import Gate, Patience
from lettertrail.bitrix.sql import SqlSource
from lettertrail.errors import ConfigurationError, SourceError
from lettertrail.sandbox.mariadb import connect

QUICK = Patience(look_seconds=0.1, pause_seconds=(0.3, 0.3, 0.3))
HEEDLESS = Patience(look_seconds=None)
ROWS = 3000
SLOW_SECONDS = 2.5
"""What a read of `t` takes with `slow` columns."""


@pytest.fixture(params=["mysql", "postgresql"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """A table of a few thousand rows without an index to cut it by: a read of it is one statement."""
    made: Site = request.getfixturevalue("site" if request.param == "mysql" else "pg_site")
    made.run("create table t (id int not null, a varchar(20))")
    if request.param == "mysql":
        made.run(f"insert into t select seq, seq from seq_1_to_{ROWS}")
    else:
        made.run(f"insert into t select seq, seq from generate_series(1, {ROWS}) as seq")
    return made


def source_of(site: Site, patience: Patience, **more: Any) -> SqlSource:
    """Another source for the same database."""
    return SqlSource(site.dsn, ZONE, patience=patience, **more)


def slow(source: SqlSource, entry: EntryMaker, *, seconds: float = SLOW_SECONDS) -> list[Column]:
    """The columns of `t`, of which one takes its time."""
    pause = seconds / ROWS
    if source.kind == "mysql":
        return [
            replace(column, select=f"if(sleep({pause}), null, {column.source})") if column.name == "a" else column
            for column in source.columns(entry("t"))
        ]
    # PostgreSQL never sleeps for less than a millisecond, so it does so for every tenth row.
    said = f"case when t.id % 10 > 0 or pg_sleep({pause * 10})::text = '' then t.\"a\"::text end"
    return [replace(column, select=said) if column.name == "a" else column for column in source.columns(entry("t"))]


class Alter:
    """An ALTER TABLE that begins half a second from now; `seconds` is what it took."""

    def __init__(self, site: Site) -> None:
        self.seconds = 0.0
        self._site = site
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        time.sleep(0.5)
        began = time.monotonic()
        self._site.run("alter table t add column z int")
        self.seconds = time.monotonic() - began

    def join(self) -> float:
        """Waits for its end."""
        self._thread.join()
        return self.seconds


def ids(rows: Rows) -> list[int]:
    """All ids, sorted."""
    return sorted(pa.Table.from_batches(list(rows)).column("id").to_pylist())


def test_a_change_of_the_table_waits_only_for_a_moment(
    any_site: Site, entry: EntryMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """The read is ended for it, and then repeated: every row is there, and each once."""
    caplog.set_level(logging.INFO)
    source = source_of(any_site, QUICK)
    columns = slow(source, entry)
    alter = Alter(any_site)
    found = ids(source.read_ranges(entry("t"), columns, [KeyRange()]))
    assert alter.join() < 1.2
    assert found == list(range(1, ROWS + 1))
    assert "reading t gives way for 0.3 s: it made a change of the table wait" in caplog.text
    source.close()


def test_without_the_watch_the_change_waits_for_the_read(any_site: Site, entry: EntryMaker) -> None:
    """What the watch is there for."""
    source = source_of(any_site, HEEDLESS)
    columns = slow(source, entry)
    alter = Alter(any_site)
    assert len(ids(source.read_ranges(entry("t"), columns, [KeyRange()]))) == ROWS
    assert alter.join() > 1.7
    source.close()


def test_a_comparison_gives_way_too(site: Site, entry: EntryMaker) -> None:
    """Its statements go over another driver."""
    site.run("create table t (id int not null, a int)", f"insert into t select seq, seq from seq_1_to_{ROWS}")
    source = source_of(site, QUICK)
    columns = [
        replace(column, terms=(f"if(sleep({SLOW_SECONDS / ROWS}), 0, 1)",)) if column.name == "a" else column
        for column in source.columns(entry("t"))
    ]
    alter = Alter(site)
    (digest,) = source.digests(entry("t"), columns, [KeyRange()], width=ROWS * 2, whole_rows=True).values()
    assert alter.join() < 1.2
    assert digest == Digest(ROWS, digest.total)
    source.close()


def test_a_read_that_is_always_in_the_way_is_given_up(site: Site, entry: EntryMaker) -> None:
    """After a few attempts the error says why; the task's own retries take it from there."""
    site.run("create table t (id int not null, a int)", f"insert into t select seq, seq from seq_1_to_{ROWS}")
    source = source_of(site, Patience(look_seconds=0.1, pause_seconds=(0.1,)))
    columns = slow(source, entry)
    is_over = threading.Event()

    def alter_all_the_time() -> None:
        while not is_over.is_set():
            site.run("alter table t comment = 'x'")

    thread = threading.Thread(target=alter_all_the_time)
    thread.start()
    try:
        with pytest.raises(SourceError, match="reading t was given up after 2 attempts: it made a change"):
            ids(source.read_ranges(entry("t"), columns, [KeyRange()]))
    finally:
        is_over.set()
        thread.join()
    source.close()


def test_who_waits_for_something_else_is_no_reason(
    any_site: Site, entry: EntryMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """A change of another table, held up by somebody else, is none of ours."""
    any_site.run("create table other (id int)", "insert into other values (1)")
    source = source_of(any_site, QUICK)
    caplog.set_level(logging.INFO)
    columns = slow(source, entry, seconds=1.0)
    holder = connect(any_site.dsn) if source.kind == "mysql" else psycopg.connect(any_site.dsn)
    holder.cursor().execute("begin")
    holder.cursor().execute("select * from other")
    waiting = threading.Thread(target=any_site.run, args=("alter table other add column z int",))
    waiting.start()
    assert len(ids(source.read_ranges(entry("t"), columns, [KeyRange()]))) == ROWS
    assert "gives way" not in caplog.text
    assert waiting.is_alive()
    holder.commit()
    holder.close()
    waiting.join()
    source.close()


def test_a_read_that_nobody_wants_any_more_is_ended(any_site: Site, entry: EntryMaker) -> None:
    """Whoever stops in the middle of a stream does not leave a statement behind."""
    source = source_of(any_site, QUICK)
    columns = slow(source, entry)
    first = iter([[KeyRange(None, 0)], [KeyRange()]])

    def two_statements(read: Any, ranges: Any, fetch: Any) -> Iterator[pa.Table]:
        for some in first:
            yield fetch(some, None)

    source._in_pieces = two_statements  # type: ignore[method-assign]
    any_site.run("insert into t values (-1, 'x')")
    rows = source.read_ranges(entry("t"), columns, [KeyRange()])
    assert next(rows).num_rows == 1
    began = time.monotonic()
    rows._batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < SLOW_SECONDS / 2
    source.close()


def test_no_more_connections_than_allowed(any_site: Site, entry: EntryMaker) -> None:
    """All sources of a process together, whatever they do."""
    sources = [source_of(any_site, HEEDLESS, max_connections=2) for _ in range(4)]
    columns = slow(sources[0], entry, seconds=0.7)
    for source in sources:
        source.count(entry("t"))
        source.close()
    most = 0
    with ThreadPoolExecutor(4) as threads:
        reads = [
            threads.submit(lambda s=source: len(ids(s.read_ranges(entry("t"), columns, [KeyRange()]))))
            for source in sources
        ]
        while not all(read.done() for read in reads):
            most = max(most, connections_to(any_site))
            time.sleep(0.05)
    assert [read.result() for read in reads] == [ROWS] * 4
    assert most == 2
    for source in sources:
        source.close()


def connections_to(site: Site) -> int:
    """Connections that read, besides the one that asks."""
    if site.dsn.startswith("mysql"):
        query = (
            "select count(*) from information_schema.processlist"
            " where info like '%lettertrail %' and id <> connection_id()"
        )
    else:
        query = "select count(*) from pg_stat_activity where application_name like 'lettertrail %'"
    return int(site.rows(query)[0][0])


def test_a_gate_that_stays_shut_is_an_error() -> None:
    """A read that holds its connection while it asks for another would wait for ever."""
    gate = Gate()
    shut = gate.passage(1, wait_seconds=0.05)
    with gate.passage(1, wait_seconds=1), pytest.raises(SourceError, match="all 1 connections"):
        shut.__enter__()
    with gate.passage(1, wait_seconds=0.05):
        pass


def test_a_wrong_password_is_said_at_once(any_site: Site, entry: EntryMaker) -> None:
    """ConnectorX alone would try it for half a minute."""
    parts = urlsplit(any_site.dsn)
    wrong = any_site.dsn.replace(f":{parts.password}@", ":wrong-but-secret@")
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="refuses the login") as caught:
        SqlSource(wrong, ZONE).columns(entry("t"))
    assert time.monotonic() - began < 2
    assert "check Login, Password and Schema" in str(caught.value)
    assert "wrong-but-secret" not in str(caught.value)


def test_a_database_that_is_not_there_is_said_at_once(any_site: Site, entry: EntryMaker) -> None:
    """The same words: Schema is where it is set."""
    with pytest.raises(ConfigurationError, match="no_such_database; check Login, Password and Schema"):
        SqlSource(any_site.dsn.replace(any_site.source.database, "no_such_database"), ZONE).columns(entry("t"))


def test_a_connection_that_was_cut_while_idle_is_replaced(any_site: Site, entry: EntryMaker) -> None:
    """A firewall, a restart: the next statement just opens another."""
    source = source_of(any_site, QUICK)
    assert source.count(entry("t")) == ROWS
    cut_all(any_site)
    assert source.count(entry("t")) == ROWS
    source.close()


def cut_all(site: Site) -> None:
    """Ends every other connection to the database."""
    if site.dsn.startswith("mysql"):
        query = "select id from information_schema.processlist where db = database() and id <> connection_id()"
        for (number,) in site.rows(query):
            site.run(f"kill connection {number}")
    else:
        site.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


def test_a_connection_that_breaks_while_reading_is_an_error_of_ours(any_site: Site, entry: EntryMaker) -> None:
    """And never an early end of the rows."""
    source = source_of(any_site, HEEDLESS)
    columns = slow(source, entry)
    killer = threading.Timer(0.5, cut_all, [any_site])
    killer.start()
    with pytest.raises(SourceError, match="the Bitrix database"):
        ids(source.read_ranges(entry("t"), columns, [KeyRange()]))
    killer.join()
    source.close()


def test_a_read_goes_on_unwatched_when_nobody_can_watch(
    any_site: Site, entry: EntryMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No connection left for the watch: a warning, not a failure."""
    source = source_of(any_site, QUICK)
    columns = slow(source, entry, seconds=0.7)

    def refuse(*_: object) -> None:
        raise SourceError("too many connections")

    monkeypatch.setattr(sessions._Watch, "_look", refuse)
    assert len(ids(source.read_ranges(entry("t"), columns, [KeyRange()]))) == ROWS
    assert "a read cannot be watched: SourceError" in caplog.text
    source.close()
