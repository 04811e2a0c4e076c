"""Connections to a Bitrix database: few, read-only, watched, and given back.

A long read holds a metadata lock that makes a site's ALTER TABLE wait, and every query behind that. So while a
statement runs, a second connection looks every few seconds whether somebody waits because of it; then it ends the
statement, gives way for a while, and the statement is repeated.
"""

from __future__ import annotations

import ctypes
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

import connectorx
import pyarrow as pa

from lettertrail.bitrix.dialect import CONNECT_SECONDS, Dialect, Row, Session, Trouble
from lettertrail.errors import ConfigurationError, SourceError

log = logging.getLogger(__name__)

STALE_SECONDS = 30.0
"""A connection unused for longer may have been cut by something in between."""
_Result = TypeVar("_Result")
_M_ARENA_MAX = -8
"""malloc.h"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a read behaves towards those who wait for it. `look_seconds` None: it takes no notice of them."""

    look_seconds: float | None = 2.0
    pause_seconds: tuple[float, ...] = (2.0, 5.0, 15.0, 30.0)
    """Before each repetition; when they are used up, the read fails."""
    connection_wait_seconds: float = 600.0


class Gate:
    """Counts the connections in use to one database, over all threads and sources of this process."""

    _gates: ClassVar[dict[str, Gate]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._in_use = 0

    @classmethod
    def of(cls, database: str) -> Gate:
        with cls._lock:
            return cls._gates.setdefault(database, cls())

    @contextmanager
    def passage(self, most: int, *, wait_seconds: float) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_use < most, timeout=wait_seconds):
                raise SourceError(
                    f"all {most} connections to the Bitrix database stayed in use for {wait_seconds:.0f} s"
                )
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is, for messages and for knocking."""

    host: str
    port: int
    database: str

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


class Connections:
    """Runs statements on one database, each for itself.

    Args:
        dsn: as ConnectorX wants it.
        most: connections in use at a time; the watching one, of which there is at most one per connection in use and
            only while a statement takes long, is not counted.
    """

    def __init__(
        self,
        dialect: Dialect,
        dsn: str,
        place: Place,
        *,
        most: int,
        statement_seconds: int,
        patience: Patience,
    ) -> None:
        keep_memory_together()
        self._dialect = dialect
        self._dsn = dsn
        self._place = place
        self._most = most
        self._statement_seconds = statement_seconds
        self._patience = patience
        self._gate = Gate.of(place.name)
        self._lock = threading.Lock()
        self._idle: tuple[Session, float] | None = None
        self._has_been_in = False

    def close(self) -> None:
        """Ends the connection that is kept for the next statement."""
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is not None:
            with suppress(Exception):  # it may be broken already, and that is as good
                idle[0].close()

    def rows(self, statement: str, *, tables: Collection[str] = ()) -> list[Row]:
        """All rows of a statement that reads these tables.

        Raises:
            SourceError: it failed, or others waited for it again and again.
            ConfigurationError: login or rights are missing.
        """

        def once() -> tuple[list[Row]] | Trouble:
            session, is_fresh = self._take()
            found = self._run(session, statement, tables)
            if isinstance(found, Trouble) and found.kind == "lost" and not is_fresh:
                # It was cut while nobody used it.
                found = self._run(self._open(), statement, tables)
            return found if isinstance(found, Trouble) else (found,)

        return self._patiently(once, tables)

    def table(self, statement: str, *, tables: Collection[str], stop: threading.Event) -> pa.Table | Trouble:
        """The rows of a statement as Arrow; Trouble when they cannot be decoded.

        ConnectorX's `arrow_stream` keeps Python's lock while it waits for rows, so that no other thread can watch;
        `arrow` does not. The caller keeps the pieces small instead.

        Args:
            stop: ends the statement when set.

        Raises:
            SourceError, ConfigurationError: as `rows`.
        """
        self.ensure()

        def once() -> pa.Table | Trouble:
            self.close()
            self._knock()
            tag = f"lettertrail {secrets.token_hex(6)}"
            with _Watch(self._dialect, self._open, tables, self._patience, tag=tag, stop=stop) as watch:
                try:
                    return _read(
                        self._dsn,
                        self._dialect.tagged(statement, tag),
                        self._dialect.stream_settings(tag, statement_seconds=self._statement_seconds),
                    )
                except BaseException as error:
                    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                        raise
                    return watch.trouble or self._dialect.trouble(error)

        def unless_worth_repeating() -> tuple[pa.Table | Trouble] | Trouble:
            found = once()
            return found if isinstance(found, Trouble) and found.kind != "undecodable" else (found,)

        return self._patiently(unless_worth_repeating, tables, stop=stop)

    def ensure(self) -> None:
        """Logs in, once: ConnectorX tries a wrong password for half a minute, and the server tells what it is.

        Raises:
            SourceError, ConfigurationError: as `rows`.
        """
        if not self._has_been_in:
            self.rows("select 1")

    def session(self) -> Session:
        """A connection of the caller's own, to be closed by it.

        Raises:
            SourceError, ConfigurationError: as `rows`.
        """
        return self._open()

    # --- one statement ---

    def _patiently(
        self,
        attempt: Callable[[], tuple[_Result] | Trouble],
        tables: Collection[str],
        *,
        stop: threading.Event | None = None,
    ) -> _Result:
        """What an attempt finds; repeated, after a while, when it was ended for the sake of others."""
        waiting = stop or threading.Event()
        why = ""
        for pause in (*self._patience.pause_seconds, None):
            with self._gate.passage(self._most, wait_seconds=self._patience.connection_wait_seconds):
                found = attempt()
            if not isinstance(found, Trouble):
                return found[0]
            if found.kind != "interrupted" or waiting.is_set():
                raise self._error(found, tables)
            why = found.text
            if pause is not None:
                log.info("reading %s gives way for %g s: %s", ", ".join(sorted(tables)), pause, why)
                waiting.wait(pause)
        attempts = len(self._patience.pause_seconds) + 1
        raise SourceError(f"reading {', '.join(sorted(tables))} was given up after {attempts} attempts: {why}")

    def _take(self) -> tuple[Session, bool]:
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is not None:
            session, since = idle
            if time.monotonic() - since < STALE_SECONDS:
                return session, False
            with suppress(Exception):  # as in `close`
                session.close()
        return self._open(), True

    def _give_back(self, session: Session) -> None:
        with self._lock:
            if self._idle is None:
                self._idle = (session, time.monotonic())
                return
        session.close()

    def _run(self, session: Session, statement: str, tables: Collection[str]) -> list[Row] | Trouble:
        with _Watch(self._dialect, self._open, tables, self._patience, connection_id=session.id) as watch:
            try:
                found: list[Row] | Trouble = session.rows(statement)
            except Exception as error:  # noqa: BLE001 - every driver has its own; `trouble` tells them apart
                found = self._dialect.trouble(error)
        if watch.trouble is None and not (isinstance(found, Trouble) and found.kind == "lost"):
            self._give_back(session)
        else:
            # What was meant to end this statement must not end the next.
            with suppress(Exception):  # as in `close`
                session.close()
        return (watch.trouble or found) if isinstance(found, Trouble) else found

    def _open(self) -> Session:
        self._knock()
        try:
            session = self._dialect.open(statement_seconds=self._statement_seconds)
        except Exception as error:  # noqa: BLE001 - translated
            raise self._error(self._dialect.trouble(error), ()) from None
        self._has_been_in = True
        return session

    def _knock(self) -> None:
        """A closed port answers at once; a driver may try it for half a minute."""
        try:
            socket.create_connection((self._place.host, self._place.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise SourceError(
                f"the Bitrix database does not answer on {self._place.host}:{self._place.port}: {error}"
            ) from None

    def _error(self, trouble: Trouble, tables: Collection[str]) -> Exception:
        where = f"the Bitrix database {self._place.database}"
        if trouble.kind == "refused" and tables:
            return ConfigurationError(
                f"{where} does not let us read {', '.join(sorted(tables))}: {self._dialect.refused_hint}"
            )
        if trouble.kind == "refused":
            return ConfigurationError(
                f"connection `bitrix`: {self._place.host}:{self._place.port} refuses the login to database"
                f" {self._place.database}; check Login, Password and Schema (docs/source-account.md)"
            )
        return SourceError(f"{where}: {trouble.text}")


class _Watch:
    """Looks, while a statement runs, whether somebody waits because of it, and then ends it."""

    def __init__(
        self,
        dialect: Dialect,
        open_session: Callable[[], Session],
        tables: Collection[str],
        patience: Patience,
        *,
        connection_id: int | None = None,
        tag: str = "",
        stop: threading.Event | None = None,
    ) -> None:
        self.trouble: Trouble | None = None
        """Set when it ended the statement."""
        self._dialect = dialect
        self._open = open_session
        self._tables = tables
        self._look_seconds = patience.look_seconds
        self._connection_id = connection_id
        self._tag = tag
        self._stop = stop or threading.Event()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Watch:
        if self._look_seconds is not None and self._tables:
            self._thread = threading.Thread(target=self._work, name="watching a read", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        assert self._look_seconds is not None
        session: Session | None = None
        try:
            while not self._is_over.wait(self._look_seconds):
                session = session or self._open()
                self._look(session)
        except Exception as error:  # noqa: BLE001 - the statement may go on unwatched; it has a time limit of its own
            log.warning("a read cannot be watched: %s", type(error).__name__)
        finally:
            if session is not None:
                with suppress(Exception):  # the work is done either way
                    session.close()

    def _look(self, session: Session) -> None:
        number = self._connection_id or self._dialect.find(session, self._tag)
        if number is None or self._is_over.is_set():
            return
        if self._stop.is_set():
            self.trouble = Trouble("interrupted", "no longer wanted")
        elif self._dialect.is_in_the_way(session, number, self._tables):
            self.trouble = Trouble("interrupted", "it made a change of the table wait")
        else:
            return
        if not self._is_over.is_set():
            self._dialect.cancel(session, number)


@cache
def keep_memory_together() -> None:
    """Limits the C library to two heaps, for the whole process; does nothing where it is not glibc.

    ConnectorX allocates in one thread and frees in another, and each heap keeps what it once had: reading a million
    rows in pieces took 157 MB with two heaps and 327 MB with as many as there were threads.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _read(dsn: str, statement: str, settings: list[str]) -> pa.Table:
    read: Callable[..., Any] = connectorx.read_sql  # its overloads do not know a list of settings
    return read(dsn, statement, return_type="arrow", pre_execution_query=settings)
