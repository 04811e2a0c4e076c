"""Writes the sample world into MariaDB as a Bitrix site.

    server = MariaDb(state / "mariadb").start()
    site = load_site(generate(seed=7, scale=0.02, as_of=date(2026, 11, 1)), server.dsn,
                     owner_password="…", reader_password="…")
    site.reader_dsn                      # mysql://lettertrail:…@127.0.0.1:…/sitemanager, may only SELECT
    site.owner_dsn                       # mysql://bitrix:…, owns the database (the REST sandbox uses it)

The database gets all 152 tables; those that no module here fills stay empty. An existing database is replaced only when
its comment says that it is a sample site, so that a wrong address cannot destroy a real one; a complete sample of the
same world is left as it is.

As a program (the server may be on another host):

    SANDBOX_MARIADB_DSN=mysql://root:…@mariadb:3306/ python -m lettertrail.sandbox.bitrix_site --world-dir world

with the users' passwords in SANDBOX_BITRIX_DB_PASSWORD and SANDBOX_READER_DB_PASSWORD.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

from MySQLdb.cursors import Cursor

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox import bitrix_schema
from lettertrail.sandbox.bitrix_rows import MariaDbWriter
from lettertrail.sandbox.bitrix_site_content import write_site
from lettertrail.sandbox.mariadb import connect, make_dsn
from lettertrail.sandbox.world import World, generate

log = logging.getLogger(__name__)

DATABASE = "sitemanager"
OWNER, READER = "bitrix", "lettertrail"
DSN_VARIABLE = "SANDBOX_MARIADB_DSN"
OWNER_PASSWORD_VARIABLE = "SANDBOX_BITRIX_DB_PASSWORD"  # noqa: S105 — a variable's name
READER_PASSWORD_VARIABLE = "SANDBOX_READER_DB_PASSWORD"  # noqa: S105 — a variable's name
MARK = "LetterTrail sample site"
LARGE_TABLES = (
    "b_sender_posting_recipient",
    "b_sender_posting_read",
    "b_sender_posting_click",
    "b_crm_contact",
    "b_crm_field_multi",
    "b_crm_dp_comm_mcd",
)
"""Their indexes are built once, after the rows: half the time of keeping them up row by row."""


@dataclass(frozen=True, slots=True)
class Site:
    """A loaded sample site."""

    owner_dsn: str
    reader_dsn: str
    rows: int
    """Rows written; 0 when the same site was there already."""
    seconds: float


def mark_of(world: World) -> str:
    """The comment of a database that holds this world."""
    return f"{MARK}: seed {world.seed}, scale {world.scale}, as of {world.as_of}"


def check_passwords(owner_password: str, reader_password: str) -> None:
    """Nobody may log in without a password.

    Raises:
        ConfigurationError: when one is empty.
    """
    if not owner_password or not reader_password:
        raise ConfigurationError(f"the users {OWNER} and {READER} of the sample site need passwords")


def check_replaceable(database: str, comment: str | None) -> None:
    """A wrong address must not destroy a real site: only what says that it is a sample is replaced.

    Args:
        comment: of the database; None when there is no such database.

    Raises:
        ConfigurationError: when it is no sample site.
    """
    if comment is not None and not comment.startswith(MARK):
        raise ConfigurationError(f"the database {database} exists and is no sample site; it will not be replaced")


def load_site(
    world: World,
    root_dsn: str,
    *,
    owner_password: str,
    reader_password: str,
    database: str = DATABASE,
) -> Site:
    """Creates `database` on the server of `root_dsn`, fills it with the world and creates the two users.

    Raises:
        ConfigurationError: when a password is missing, or a database of that name exists that is no sample site.
    """
    check_passwords(owner_password, reader_password)
    began = time.monotonic()
    comment = mark_of(world)
    connection = connect(root_dsn, database="", local_infile=True)
    try:
        cursor = connection.cursor()
        found = _comment_of(cursor, database)
        check_replaceable(database, found)
        rows = 0
        if found != comment:
            cursor.execute(f"DROP DATABASE IF EXISTS `{database}`")
            cursor.execute(
                f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci COMMENT %s",
                (f"{MARK}: loading",),
            )
            cursor.execute(f"USE `{database}`")
            _fill(cursor, world)
            cursor.execute(f"ALTER DATABASE `{database}` COMMENT %s", (comment,))
            rows = _row_count(cursor, database)
        _create_users(cursor, database, owner_password=owner_password, reader_password=reader_password)
        connection.commit()
    finally:
        connection.close()
    site = Site(
        owner_dsn=_dsn_like(root_dsn, OWNER, owner_password, database),
        reader_dsn=_dsn_like(root_dsn, READER, reader_password, database),
        rows=rows,
        seconds=time.monotonic() - began,
    )
    log.info("sample site: %d rows in %.1f s", site.rows, site.seconds)
    return site


def _fill(cursor: Cursor, world: World) -> None:
    for table in bitrix_schema.tables().values():
        cursor.execute(table.ddl(with_keys=table.name not in LARGE_TABLES))
    cursor.execute("SET SESSION unique_checks = 0, foreign_key_checks = 0, time_zone = '+03:00'")
    write_site(MariaDbWriter(cursor), world)
    for name in LARGE_TABLES:
        cursor.execute(bitrix_schema.tables()[name].add_keys())


def _comment_of(cursor: Cursor, database: str) -> str | None:
    cursor.execute("SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (database,))
    row = cursor.fetchone()
    return None if row is None else str(row[0])


def _row_count(cursor: Cursor, database: str) -> int:
    total = 0
    for table in bitrix_schema.tables():
        cursor.execute(f"SELECT COUNT(*) FROM `{database}`.`{table}`")  # noqa: S608 — names from our own list
        total += int(cursor.fetchone()[0])
    return total


def _create_users(cursor: Cursor, database: str, *, owner_password: str, reader_password: str) -> None:
    for user, password, rights in ((OWNER, owner_password, "ALL"), (READER, reader_password, "SELECT")):
        cursor.execute("CREATE USER IF NOT EXISTS %s@'%%'", (user,))
        cursor.execute("ALTER USER %s@'%%' IDENTIFIED BY %s", (user, password))
        cursor.execute(f"GRANT {rights} ON `{database}`.* TO %s@'%%'", (user,))


def _dsn_like(root_dsn: str, user: str, password: str, database: str) -> str:
    parts = urlsplit(root_dsn)
    return make_dsn(user, password, host=parts.hostname or "127.0.0.1", port=parts.port or 3306, database=database)


def _former_end(world_dir: Path) -> date | None:
    """The day the world in that directory ends, so that a restart finds the same world."""
    try:
        return date.fromisoformat(json.loads((world_dir / "world.json").read_text(encoding="utf-8"))["as_of"])
    except FileNotFoundError:
        return None


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Command:
    """What differs between the programs that load a sample site."""

    program: str
    description: str
    option: str
    """The option for the server's address; `variable` is the environment variable that stands in for it."""
    variable: str
    example: str
    load: Callable[..., Site]
    """Takes world, address, `owner_password`, `reader_password` and `database`."""


def run_command(command: Command, arguments: list[str] | None) -> int:
    """Parses the arguments, loads the site and writes the world's files; gives the exit status."""
    parser = argparse.ArgumentParser(prog=command.program, description=command.description)
    parser.add_argument(
        command.option,
        dest="dsn",
        default=os.environ.get(command.variable),
        help=f"{command.example} (or {command.variable})",
    )
    parser.add_argument("--world-dir", required=True, type=Path, help="where world.json and truth.json go")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument(
        "--as-of", type=date.fromisoformat, help="the day the world ends, YYYY-MM-DD (default: as before, else today)"
    )
    parser.add_argument("--database", default=DATABASE)
    options = parser.parse_args(arguments)
    if not options.dsn:
        parser.error(f"no server: give {command.option} or set {command.variable}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        world = generate(options.seed, options.scale, options.as_of or _former_end(options.world_dir) or _today())
        command.load(
            world,
            options.dsn,
            owner_password=_from_environment(OWNER_PASSWORD_VARIABLE),
            reader_password=_from_environment(READER_PASSWORD_VARIABLE),
            database=options.database,
        )
    except ConfigurationError as error:
        log.error("%s", error)
        return 2
    world.write(options.world_dir)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit status."""
    return run_command(
        Command(
            program="python -m lettertrail.sandbox.bitrix_site",
            description="Load a sample site.",
            option="--mariadb-dsn",
            variable=DSN_VARIABLE,
            example="mysql://root:password@host:port/",
            load=load_site,
        ),
        arguments,
    )


def _from_environment(variable: str) -> str:
    if not os.environ.get(variable):
        raise ConfigurationError(f"{variable} is not set; it is the password of a user of the sample site")
    return os.environ[variable]


if __name__ == "__main__":
    sys.exit(main())
