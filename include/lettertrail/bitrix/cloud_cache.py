"""What was read from a portal within the last minutes, so that one list fills several tables without being asked twice.

A contact's list gives the card, its addresses, its UTM tags, its links and its custom fields: six tables, one after the
other. Rows are kept on disk in files without a name (nobody else can open them, and they vanish with the process),
under a limit; beyond it the lists are read again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from lettertrail.bitrix.cloud_feeds import Feed

MAX_BYTES = 2 << 30
MAX_AGE = 1800.0
"""Seconds. Far below the overlap of change times, so that what happens meanwhile is read the next time."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of a list was read: all of it, or what changed at `since` or later and has an id `above`."""

    is_whole: bool = True
    since: str | None = None
    above: int | None = None

    def covers(self, other: Scope) -> bool:
        """Whether everything `other` asks for is in it."""
        return self == other or (self.is_whole and other.is_whole)


class Snapshots:
    """The lists read so far.

    Args:
        timer: gives seconds that only grow; replaced in tests.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._timer = timer
        self._kept: dict[tuple[str, Scope], IO[bytes]] = {}
        self._begun: dict[str, float] = {}
        self._bytes = 0

    def begin(self, feed: Feed) -> None:
        """From now on counts the age of what is read of a list."""
        self._begun[feed.name] = self._timer()

    def is_stale(self, feed: Feed) -> bool:
        """Whether what was read of a list is too old to be used again."""
        return self._timer() - self._begun.get(feed.name, float("-inf")) >= self._max_age

    def get(self, feed: Feed, scope: Scope) -> Iterator[Row] | None:
        """The rows of an earlier reading; None when there is none, or it is too old."""
        if not self.is_stale(feed):
            for (name, kept), file in self._kept.items():
                if name == feed.name and kept.covers(scope):
                    return _read(file)
        return None

    def has(self, feed: Feed, scope: Scope) -> bool:
        """Whether `get` would give rows."""
        return self.get(feed, scope) is not None

    def keep(self, feed: Feed, scope: Scope, rows: Iterator[Row]) -> Iterator[Row]:
        """Passes rows on and keeps them once the last one has passed."""
        file = tempfile.TemporaryFile(prefix="lettertrail-")  # noqa: SIM115  # outlives this call when all goes well
        written: int | None = 0
        is_complete = False
        try:
            for row in rows:
                if written is not None:
                    written += file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                    written = None if self._bytes + written > self._max_bytes else written
                yield row
            is_complete = written is not None
        finally:
            if not is_complete:
                file.close()
        if written is not None:
            self._bytes += written
            self._kept[feed.name, scope] = file

    def drop(self, feed: Feed) -> None:
        """Forgets what was read of a list."""
        for key in [key for key in self._kept if key[0] == feed.name]:
            file = self._kept.pop(key)
            self._bytes -= file.seek(0, 2)
            file.close()

    def close(self) -> None:
        """Forgets everything."""
        for file in self._kept.values():
            file.close()
        self._kept.clear()
        self._bytes = 0


def _read(file: IO[bytes]) -> Iterator[Row]:
    """All rows; several readers may be at it, so each remembers where it is."""
    at = 0
    while True:
        file.seek(at)
        lines = file.readlines(1 << 20)
        if not lines:
            return
        at = file.tell()
        for line in lines:
            yield json.loads(line)
