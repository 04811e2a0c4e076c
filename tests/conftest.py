"""Real servers for the tests: one embedded PostgreSQL, one MariaDB and one sample site per session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest

from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate

if TYPE_CHECKING:
    from lettertrail.sandbox.mariadb import MariaDb

TEMPLATE = "warehouse_template"
WORLD_SCALE = 0.02
WORLD_SEED = 7
WORLD_AS_OF = date(2026, 11, 1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running embedded server with a migrated template database."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", durable=False)
    server.start()
    try:
        migrate(server.ensure_database(TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture
def warehouse_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh, migrated database; gone after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        # file_copy: quicker than WAL-logging every block of the template, and nobody needs durability here.
        admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
    yield postgres.dsn(name)
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A running MariaDB server. Without mariadbd this fails with the name of the Debian package."""
    from lettertrail.sandbox.mariadb import MariaDb  # noqa: PLC0415  # most tests need no sample site

    server = MariaDb(tmp_path_factory.mktemp("mariadb") / "data")
    server.start()
    try:
        yield server
    finally:
        server.stop()
