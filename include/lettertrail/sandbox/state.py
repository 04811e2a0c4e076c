"""A service's state in one SQLite file. A restart finds everything as it was left."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lettertrail.clock import Clock, system_clock
from lettertrail.errors import ConfigurationError

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    from lettertrail.sandbox.world import World


class SqliteState:
    """One account. Calls are serialised: the file has one writer and this process is it."""

    schema: ClassVar[str]
    """`create table if not exists …`; a table `account (name, value)` is added to it."""

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.execute("pragma foreign_keys = on")
        self._db.execute("create table if not exists account (name text primary key, value text not null)")
        self._db.executescript(self.schema)

    @property
    def moment(self) -> datetime:
        """The current time, aware, in UTC."""
        return self._clock()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; nested use joins the outer transaction."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    @contextmanager
    def savepoint(self) -> Iterator[sqlite3.Connection]:
        """Inside a transaction: undoes only what happened within, when it raises."""
        with self.transaction() as db:
            db.execute("savepoint row_of_bulk")
            try:
                yield db
            except BaseException:
                db.execute("rollback to row_of_bulk")
                raise
            finally:
                db.execute("release row_of_bulk")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a select."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a select."""
        with self._lock:
            found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return found

    def number(self, sql: str, *values: Any) -> int:
        """The first column of the first row, as a whole number; NULL is 0."""
        found = self.row(sql, *values)
        return int(found[0] or 0) if found is not None else 0

    def fact(self, name: str) -> str | None:
        """A remembered word about the account, such as which world it was seeded from."""
        found = self.row("select value from account where name = ?", name)
        return None if found is None else str(found["value"])

    def remember(self, name: str, value: str) -> None:
        """Stores such a word."""
        with self.transaction() as db:
            db.execute("insert or replace into account (name, value) values (?, ?)", (name, value))

    def close(self) -> None:
        """Closes the file; open transactions of other threads end first."""
        with self._lock:
            self._db.close()


@dataclass(frozen=True, slots=True)
class WorldMark:
    """Which world an account was filled from."""

    seed: int
    scale: float
    as_of: date

    @classmethod
    def of(cls, world: World) -> WorldMark:
        """The mark of a world that was generated."""
        return cls(world.seed, float(world.scale), world.as_of)

    def __str__(self) -> str:
        return f"seed={self.seed} scale={self.scale} as_of={self.as_of}"


def is_filled(store: SqliteState, mark: WorldMark, *, service: str) -> bool:
    """Whether the account was filled from this world.

    Raises:
        ConfigurationError: when it was filled from another one; it names the service.
    """
    before = store.fact("world")
    if before not in {None, str(mark)}:
        raise ConfigurationError(
            f"the {service} sandbox holds the world {before}, not {mark}; empty its state directory"
        )
    return before is not None
