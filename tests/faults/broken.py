"""The product with a protection taken away, to see the tests notice.

Every variant is a mistake that copies of databases are really made with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.bitrix.port import Rows, Source
from lettertrail.clock import system_clock
from lettertrail.errors import SourceError
from lettertrail.warehouse import deliver, load, ranges, run

VARIANTS = {
    "cursor first": "the cursor moves in a transaction of its own, before the rows are there",
    "rows first": "the rows are committed before their ledger row and cursor",
    "range first": "a range of a copy is marked as done before its rows are there, and the keys are not compared",
    "marks last": "a copy takes its watermarks when it ends instead of when it begins",
    "no tail": "no id below the watermark is read again, and the keys are not compared",
    "no lock": "two loads of a table do not wait for each other",
    "lock in a table": "the lock is a row that somebody has to remove",
    "end of stream": "a read that breaks off looks like one that ended",
    "unlogged": "the raw tables skip the write-ahead log, and the keys are not compared",
}


@dataclass
class Broken:
    """What is taken away from one process."""

    names: Sequence[str]
    warehouse_dsn: str
    _sessions: list[Any] = field(default_factory=list)

    def switch_off(self) -> None:
        """Breaks this process. Call it in one that ends soon."""
        breakers: dict[str, Callable[[], None]] = {
            "rows first": self._remember_sessions,
            "range first": self._range_first,
            "no tail": _no_key_comparison,
            "no lock": lambda: _replace_lock(lambda *_, **__: None),
            "lock in a table": lambda: _replace_lock(self._lock_in_a_table),
            "unlogged": self._unlogged,
        }
        for name in self.names:
            assert name in VARIANTS, name
            breakers.get(name, lambda: None)()

    def entry(self, entry: TableEntry) -> TableEntry:
        """The entry, with what is broken in it."""
        return replace(entry, tail=0, overlap_minutes=0) if "no tail" in self.names else entry

    def source(self, source: Source) -> Source:
        """The source, with what is broken in it."""
        return _EndsEarly(source) if "end of stream" in self.names else source  # type: ignore[return-value]

    def on_stage(self, stage: str, source: Source, entry: TableEntry) -> None:
        """What is done too early, or too late."""
        if "cursor first" in self.names and stage == "source opened":
            self._move_cursor(source, entry)
        if "marks last" in self.names and stage == "copied":
            self._move_cursor(source, entry)
        if "rows first" in self.names and stage == "merged":
            self._commit()

    def _move_cursor(self, source: Source, entry: TableEntry) -> None:
        marks = source.marks(entry, source.columns(entry), now=system_clock())
        self._write(
            "update ops.cursors set state = jsonb_set(state, '{marks}', %s) where target = %s",
            [json.dumps(marks), f"raw_bitrix.{entry.name}"],
        )

    def _remember_sessions(self) -> None:
        real = deliver.transaction

        @contextmanager
        def transaction(connection: Any) -> Iterator[Any]:
            with real(connection) as session:
                self._sessions.append(session)
                yield session

        deliver.transaction = transaction  # type: ignore[assignment]

    def _commit(self) -> None:
        self._sessions[-1].connection.execute("commit")

    def _range_first(self) -> None:
        _no_key_comparison()

        def claim(_: Any, *, copy_id: int, number: int) -> bool:
            self._write(
                "update ops.copy_ranges set status = 'done', load_id = (select max(load_id) from ops.loads)"
                " where copy_id = %s and number = %s",
                [copy_id, number],
            )
            return True

        ranges._claim = claim  # type: ignore[assignment]
        ranges._settle = lambda *_, **__: None  # type: ignore[assignment]

    def _lock_in_a_table(self, _: Any, entry: TableEntry, **__: Any) -> None:
        try:
            self._write("create table if not exists ops.locks (name text primary key)", [])
            self._write("insert into ops.locks values (%s)", [entry.name])
        except psycopg.errors.UniqueViolation:
            raise SourceError(f"table {entry.name} is locked") from None

    def _unlogged(self) -> None:
        _no_key_comparison()
        real = run.ensure_target

        def ensure_target(connection: Any, *arguments: Any, **options: Any) -> Any:
            target, notices = real(connection, *arguments, **options)
            connection.execute(sql.SQL("alter table {} set unlogged").format(target.relation))
            return target, notices

        run.ensure_target = ensure_target  # type: ignore[attr-defined]

    def _write(self, statement: str, values: Sequence[object]) -> None:
        with psycopg.connect(self.warehouse_dsn) as connection:
            done = connection.execute(statement, values)  # type: ignore[call-overload]
            assert done.rowcount in {-1, 1}, "what this variant breaks is not where it looks for it"


class _EndsEarly:
    """A source whose streams end where they break."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        if not name.startswith("read_"):
            return found

        def read(*arguments: Any, **options: Any) -> Rows:
            try:
                rows = found(*arguments, **options)
            except SourceError:
                return Rows(iter(()))
            return Rows(_until_it_breaks(rows), rows.unreadable)

        return read


def _until_it_breaks(rows: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from rows
    except SourceError:
        return


def _no_key_comparison() -> None:
    load._compare_keys = lambda *_: None  # type: ignore[assignment]


def _replace_lock(lock: Callable[..., None]) -> None:
    run.lock = load.lock = lock  # type: ignore[attr-defined,assignment]
