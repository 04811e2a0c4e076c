"""Brings the warehouse's own schemas up to date: numbered SQL files, each once, each in one transaction."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.indexes import index_raw_tables

log = logging.getLogger(__name__)

MIGRATIONS_DIR = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6C657474_6D696772  # "lett" "migr": two runners at once wait for each other

_JOURNAL = """
    create schema if not exists ops;
    create table if not exists ops.migrations (
        number      integer primary key,
        name        text not null,
        checksum    text not null,
        applied_at  timestamptz not null default clock_timestamp()
    );
    comment on table ops.migrations is 'Which files of warehouse/migrations ran here, with their checksums.';
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; `checksum` is the SHA-256 of its text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(dsn: str, *, directory: Path = MIGRATIONS_DIR) -> list[str]:
    """Applies the files that have not run yet, in order, and returns their names.

    A file that fails leaves no trace of itself; those before it stay applied. Then raw tables get the indexes they
    lack, which takes a while for large ones.

    Raises:
        ConfigurationError: when an applied file was edited or removed, or a file name or number is wrong.
    """
    files = read_migrations(directory)
    applied_now: list[str] = []
    with connect(dsn, purpose="migrate", autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [_LOCK])
        connection.execute(_JOURNAL)
        applied = _applied(connection)
        _check_history(files, applied)
        for migration in files:
            if migration.number in applied:
                continue
            with connection.transaction():
                connection.execute(sql.SQL(migration.text))
                connection.execute(
                    "insert into ops.migrations (number, name, checksum) values (%s, %s, %s)",
                    [migration.number, migration.name, migration.checksum],
                )
            applied_now.append(migration.name)
        indexes = index_raw_tables(connection)
    log.info("migrations: %s applied, %s known; indexes made: %s", len(applied_now), len(files), len(indexes))
    return applied_now


def read_migrations(directory: Path) -> list[Migration]:
    """The files of `directory` in order.

    Raises:
        ConfigurationError: on a stray name, or numbers that are not 1, 2, 3, ...
    """
    found: list[Migration] = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise ConfigurationError(f"migration {path.name}: name it NNNN_lower_case_words.sql")
        found.append(Migration(int(match["number"]), path.name, path.read_text(encoding="utf-8")))
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ConfigurationError(f"migrations must be numbered 1, 2, 3, ... without gaps; found {numbers}")
    return found


def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute("select number, name, checksum from ops.migrations").fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def _check_history(files: list[Migration], applied: dict[int, tuple[str, str]]) -> None:
    by_number = {migration.number: migration for migration in files}
    for number, (name, checksum) in sorted(applied.items()):
        migration = by_number.get(number)
        if migration is None:
            raise ConfigurationError(f"migration {name} ran on this warehouse, but its file is gone")
        if migration.checksum != checksum:
            raise ConfigurationError(
                f"migration {name} was edited after it ran here; restore it and add a new file instead"
            )
