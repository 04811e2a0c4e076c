"""Writes the sample world into PostgreSQL as a Bitrix site: the rows of the MariaDB site in PostgreSQL's form.

    site = load_postgres_site(generate(seed=7, scale=0.02, as_of=date(2026, 11, 1)), server.dsn(),
                              owner_password="…", reader_password="…")
    site.reader_dsn                      # postgresql://lettertrail:…@127.0.0.1:…/sitemanager, may only SELECT
    site.owner_dsn                       # postgresql://bitrix:…, owns the database

No MariaDB is needed. What differs from the MariaDB site is in bitrix.md 4, `postgres_site_schema` and `PostgresWriter`.
An existing database is replaced only when its comment says that it is a sample site; a complete sample of the same
world is left as it is.

As a program (the server may be on another host):

    SANDBOX_POSTGRES_DSN=postgresql://postgres:…@postgres:5432/postgres \\
        python -m lettertrail.sandbox.postgres_site --world-dir world

with the users' passwords in SANDBOX_BITRIX_DB_PASSWORD and SANDBOX_READER_DB_PASSWORD.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.bitrix_site import (
    DATABASE,
    MARK,
    OWNER,
    READER,
    Command,
    Site,
    check_passwords,
    check_replaceable,
    mark_of,
    run_command,
)
from lettertrail.sandbox.bitrix_site_content import write_site
from lettertrail.sandbox.postgres_site_rows import PostgresWriter
from lettertrail.sandbox.postgres_site_schema import create, keys, postgres_tables
from lettertrail.sandbox.world import SITE_ZONE, World

log = logging.getLogger(__name__)

DSN_VARIABLE = "SANDBOX_POSTGRES_DSN"

Connection = psycopg.Connection[tuple[Any, ...]]


def load_postgres_site(
    world: World,
    admin_dsn: str,
    *,
    owner_password: str,
    reader_password: str,
    database: str = DATABASE,
) -> Site:
    """Creates `database` on the server of `admin_dsn`, fills it with the world and creates the two roles.

    Raises:
        ConfigurationError: when a password is missing, the server cannot be reached, or a database of that name exists
            that is no sample site.
    """
    check_passwords(owner_password, reader_password)
    began = time.monotonic()
    rows = 0
    with _connect(admin_dsn) as admin:
        found = _comment_of(admin, database)
        check_replaceable(database, found)
        for role, password in ((OWNER, owner_password), (READER, reader_password)):
            _ensure_role(admin, role, password)
        if found != mark_of(world):
            _create_database(admin, database)
            rows = _fill(_dsn_like(admin_dsn, OWNER, owner_password, database), world)
            _comment(admin, database, mark_of(world))
    site = Site(
        owner_dsn=_dsn_like(admin_dsn, OWNER, owner_password, database),
        reader_dsn=_dsn_like(admin_dsn, READER, reader_password, database),
        rows=rows,
        seconds=time.monotonic() - began,
    )
    log.info("sample site on PostgreSQL: %d rows in %.1f s", site.rows, site.seconds)
    return site


def _create_database(admin: Connection, database: str) -> None:
    name, owner, reader = sql.Identifier(database), sql.Identifier(OWNER), sql.Identifier(READER)
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))
    admin.execute(sql.SQL("create database {} owner {} template template0 encoding 'UTF8'").format(name, owner))
    _comment(admin, database, f"{MARK}: loading")
    # Times in the database are the site's wall time, also those that a default fills in.
    admin.execute(
        sql.SQL("alter role {} in database {} set timezone to {}").format(owner, name, sql.Literal(str(SITE_ZONE)))
    )
    admin.execute(sql.SQL("revoke all on database {} from public").format(name))
    admin.execute(sql.SQL("grant connect on database {} to {}").format(name, reader))


def _fill(owner_dsn: str, world: World) -> int:
    with _connect(owner_dsn) as connection, connection.transaction():
        reader = sql.Identifier(READER)
        connection.execute(sql.SQL("grant usage on schema public to {}").format(reader))
        # A custom field or a module added later makes a new table, which the reader of a MariaDB site sees as well.
        connection.execute(
            sql.SQL("alter default privileges in schema public grant select on tables to {}").format(reader)
        )
        for table in postgres_tables().values():
            connection.execute(create(table))
        write_site(PostgresWriter(connection), world)
        for table in postgres_tables().values():
            for statement in keys(table):
                connection.execute(statement)
        total = sum(_finish(connection, name) for name in postgres_tables())
    with _connect(owner_dsn) as connection:
        connection.execute("analyze")
    return total


def _finish(connection: Connection, table: str) -> int:
    """Sets the table's identity behind its last id and gives the number of rows."""
    identity = [column.name for column in postgres_tables()[table].columns if column.is_auto_increment]
    for column in identity:
        connection.execute(
            sql.SQL("select setval(pg_get_serial_sequence({}, {}), coalesce(max({}), 0) + 1, false) from {}").format(
                sql.Literal(table), sql.Literal(column.lower()), sql.Identifier(column.lower()), sql.Identifier(table)
            )
        )
    return _single(connection, sql.SQL("select count(*) from {}").format(sql.Identifier(table)))


def _single(connection: Connection, query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return 0 if row is None else int(row[0])


def _comment_of(admin: Connection, database: str) -> str | None:
    """The comment of the database; None when there is no such database."""
    row = admin.execute(
        "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where datname = %s", [database]
    ).fetchone()
    return None if row is None else str(row[0])


def _comment(admin: Connection, database: str, text: str) -> None:
    admin.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(database), sql.Literal(text)))


def _ensure_role(admin: Connection, role: str, password: str) -> None:
    known = admin.execute("select from pg_roles where rolname = %s", [role]).fetchone() is not None
    hashed = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    admin.execute(
        sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole password {}").format(
            sql.SQL("alter" if known else "create"), sql.Identifier(role), sql.Literal(hashed)
        )
    )


def _connect(dsn: str) -> Connection:
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10, application_name="sample site")
    except psycopg.OperationalError as error:
        raise ConfigurationError(f"the PostgreSQL of the sample site cannot be reached: {error}") from None


def _dsn_like(admin_dsn: str, user: str, password: str, database: str) -> str:
    parts = urlsplit(admin_dsn)
    where = f"{parts.hostname or '127.0.0.1'}:{parts.port or 5432}"
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{where}/{database}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit status."""
    return run_command(
        Command(
            program="python -m lettertrail.sandbox.postgres_site",
            description="Load a sample site into PostgreSQL.",
            option="--postgres-dsn",
            variable=DSN_VARIABLE,
            example="postgresql://postgres:password@host:port/postgres",
            load=load_postgres_site,
        ),
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
