"""Is what we believe a destination confirmed still what the last push left? If not, it is read from the destination.

Three witnesses, because each can be lost:

- `ops.sync_states`: number and checksum of an audience's rows in `ops.acknowledged`, moved in the same transaction as
  the rows. Rows that were deleted, edited or restored behind our back do not match it.
- The warehouse's identity in the same row: a restored dump, or a copied database, is another warehouse.
- A mark outside the warehouse, a small file in the state directory, with the newest push from this machine. A warehouse
  that does not know that push was set back (a restored disk, a replica that lagged). A mark may be old, never ahead, so
  several workers with a directory each are as good as one.

A state that fails is built anew from what the destination has; ours is what the ledger shows we made. From then on
removals without evidence wait until a person approved, and after a restore additions wait for newer marts too.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from lettertrail.audiences import state_statements
from lettertrail.audiences.plan import Target
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest push of a target from this machine."""

    sync_run_id: int
    started_at: datetime
    is_finished: bool


class Marks:
    """The marks of a machine, one small file per target."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made when the first mark is set."""
        self._directory = directory

    def read(self, target: Target) -> Mark | None:
        """The mark of a target; None when this machine never pushed it.

        Raises:
            ConfigurationError: the file cannot be read as a mark; it is named.
        """
        path = self._path(target)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return Mark(
                int(found["sync_run_id"]), datetime.fromisoformat(found["started_at"]), bool(found["is_finished"])
            )
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ConfigurationError(
                f"{target}: {path} is no mark of a push ({type(error).__name__}); look at the latest rows of "
                "ops.sync_runs, and remove the file if they are right"
            ) from None

    def set(self, target: Target, mark: Mark) -> None:
        """Replaces the mark, whole or not at all."""
        path = self._path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {
                "sync_run_id": mark.sync_run_id,
                "started_at": mark.started_at.isoformat(),
                "is_finished": mark.is_finished,
            }
        )
        half = path.with_suffix(".new")
        half.write_text(text, encoding="utf-8")
        half.replace(path)

    def _path(self, target: Target) -> Path:
        told = "\x1f".join((target.destination, target.account, target.audience))
        return self._directory / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


@dataclass(frozen=True, slots=True)
class State:
    """How far the ledger of a target can be believed."""

    doubted_because: str | None = None
    """Why it was rebuilt and no person approved removals since; None without doubt."""
    restored_at: datetime | None = None
    """When the warehouse was found to be older than a push."""


@contextmanager
def alone(warehouse_dsn: str, target: Target) -> Iterator[Connection]:
    """A connection that alone may push or read back this target: a second run waits for the first to end.

    Raises:
        LetterTrailError: the other does not end.
    """
    with connect(warehouse_dsn, purpose=f"sync {target}", autocommit=True) as connection:
        try:
            connection.execute(
                "select pg_advisory_lock(hashtextextended(%s, 0))",
                [f"lettertrail sync {target.destination} {target}"],
            )
        except psycopg.errors.LockNotAvailable:
            raise LetterTrailError(f"{target}: another sync of it is still running") from None
        yield connection


def settle_state(
    connection: Connection,
    target: Target,
    present: Callable[[], Iterable[str]],
    marks: Marks | None,
    *,
    at: datetime,
) -> State:
    """Adopts what is there on the first run, and builds a lost or rolled-back state anew.

    `present` reads the destination; it is called only for these two.
    """
    values = {**target.as_values(), "at": at}
    row = connection.execute(state_statements.READ_STATE, values).fetchone()
    assert row is not None
    records, is_intact, is_same_warehouse, doubted_because, restored_at, found = row
    mark_is_lost = marks is not None and not _is_known(connection, target, marks.read(target))
    is_first = bool(_first(connection, state_statements.IS_FIRST_RUN, values))
    if mark_is_lost:
        return _rebuild(
            connection, target, present, "the warehouse does not know the last push: it was set back", at, restored=True
        )
    if records is None and is_first:
        return _adopt(connection, target, present, at)
    if records is None:
        return _rebuild(connection, target, present, "what was confirmed is lost", at)
    if not is_same_warehouse:
        return _rebuild(
            connection, target, present, "the warehouse was restored or copied from another one", at, restored=True
        )
    if not is_intact:
        why = f"{found} records are known as confirmed, and the last push left {records}"
        if found == records:
            why = f"the {found} records known as confirmed are not those the last push left"
        return _rebuild(connection, target, present, why, at)
    return State(doubted_because, restored_at)


def forget_records(connection: Connection, places: Sequence[str]) -> int:
    """Deletes rows of `ops.acknowledged` on purpose (erasing a person); gives how many. No push will doubt for it.

    Only these rows are taken off what the last push left, so that a loss there, of the same audience or another, is
    still told.

    Args:
        places: where the rows lie (`ctid`), locked by this transaction.
    """
    return int(str(_first(connection, state_statements.FORGET_RECORDS, {"places": list(places)})))


def _adopt(connection: Connection, target: Target, present: Callable[[], Iterable[str]], at: datetime) -> State:
    adopted = _read(connection, target, present, State(), at)
    log.info("%s first run, adopted=%s", target, adopted)
    return State()


def _rebuild(
    connection: Connection,
    target: Target,
    present: Callable[[], Iterable[str]],
    why: str,
    at: datetime,
    *,
    restored: bool = False,
) -> State:
    state = State(f"{why}; the state was read from the destination anew", at if restored else None)
    rebuilt = _read(connection, target, present, state, at)
    log.warning("%s state rebuilt from the destination, records=%s: %s", target, rebuilt, why)
    return state


def _read(
    connection: Connection,
    target: Target,
    present: Callable[[], Iterable[str]],
    state: State,
    at: datetime,
) -> int:
    """Replaces the target's state by what the destination has, in one transaction."""
    statement = state_statements.REBUILD if state.doubted_because else state_statements.ADOPT
    values = {**target.as_values(), "at": at}
    with connection.transaction():
        connection.execute("create temporary table adopted (record_key text not null) on commit drop")
        with connection.cursor().copy("copy adopted from stdin") as copy:
            for key in present():
                copy.write_row([key])
        connection.execute(state_statements.FORGET_ALL, values)
        count = connection.execute(statement, values).rowcount
        connection.execute(
            state_statements.NOTE_STATE,
            {**values, "doubted_because": state.doubted_because, "restored_at": state.restored_at},
        )
    return count


def _is_known(connection: Connection, target: Target, mark: Mark | None) -> bool:
    if mark is None:
        return True
    values = {
        **target.as_values(),
        "sync_run_id": mark.sync_run_id,
        "started_at": mark.started_at,
        "is_finished": mark.is_finished,
    }
    return bool(_first(connection, state_statements.IS_MARK_KNOWN, values))


def _first(connection: Connection, statement: str, values: dict[str, object]) -> object:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row[0]
