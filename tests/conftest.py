"""Real servers for the tests: one embedded PostgreSQL, one MariaDB and one sample site per session."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from xdist.scheduler import LoadFileScheduling

from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate

if TYPE_CHECKING:
    from tests.source_site import EntryMaker, PgSite, Site

    from lettertrail.sandbox.bitrix_site import Site as BitrixSite
    from lettertrail.sandbox.mariadb import MariaDb

LONGEST = ("e2e", "dbt", "faults", "dags")
ON_ONE_WORKER = "tests/dbt/"
"""These share a built warehouse, which takes longer to make than most files take to run."""
TEMPLATE = "warehouse_template"
WORLD_SCALE = float(os.environ.get("LETTERTRAIL_TEST_SCALE", "0.02"))
WORLD_SEED = int(os.environ.get("LETTERTRAIL_TEST_SEED", "7"))
WORLD_AS_OF = date.fromisoformat(os.environ.get("LETTERTRAIL_TEST_AS_OF", "2026-11-01"))
"""The sample world of the tests; what they assert holds of any, so another one may be asked for."""


class ByFile(LoadFileScheduling):
    """A worker takes whole files, and all files that share what is costly to make."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return ON_ONE_WORKER if scope.startswith(ON_ONE_WORKER) else scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How the tests are shared out (`--dist loadfile`)."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins, so that it is not what everybody waits for when several workers share the files."""
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0]
        return (*LONGEST, folder).index(folder)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """Where the database servers of the session live.

    Not below pytest's own temporary directory: every pytest that starts sets that one back to 0700, which takes a
    running server, under root another user than we, away from its files.
    """
    with tempfile.TemporaryDirectory(prefix="lettertrail-tests-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture(scope="session")
def postgres(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A running embedded server with a migrated template database."""
    server = EmbeddedPostgres(server_dir / "postgres", durable=False)
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
def mariadb(server_dir: Path) -> Iterator[MariaDb]:
    """A running MariaDB server. Without mariadbd this fails with the name of the Debian package."""
    from lettertrail.sandbox.mariadb import MariaDb  # noqa: PLC0415  # most tests need no sample site

    server = MariaDb(server_dir / "mariadb")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bitrix_site_small(mariadb: MariaDb) -> BitrixSite:
    """The sample site of the small world; `owner_dsn` may write, `reader_dsn` may only read. Leave it as it is."""
    from lettertrail.sandbox.bitrix_site import load_site  # noqa: PLC0415  # as above
    from lettertrail.sandbox.world import generate  # noqa: PLC0415  # as above

    world = generate(seed=WORLD_SEED, scale=WORLD_SCALE, as_of=WORLD_AS_OF)
    return load_site(world, mariadb.dsn, owner_password=uuid.uuid4().hex, reader_password=uuid.uuid4().hex)


@pytest.fixture(scope="session")
def postgres_site_small(postgres: EmbeddedPostgres) -> BitrixSite:
    """The same site on PostgreSQL; `owner_dsn` may write, `reader_dsn` may only read. Leave it as it is."""
    from lettertrail.sandbox.postgres_site import load_postgres_site  # noqa: PLC0415  # as above
    from lettertrail.sandbox.world import generate  # noqa: PLC0415  # as above

    world = generate(seed=WORLD_SEED, scale=WORLD_SCALE, as_of=WORLD_AS_OF)
    return load_postgres_site(world, postgres.dsn(), owner_password=uuid.uuid4().hex, reader_password=uuid.uuid4().hex)


@pytest.fixture
def site(mariadb: MariaDb) -> Iterator[Site]:
    """An empty source database of the test's own."""
    from tests.source_site import fresh_site  # noqa: PLC0415  # it needs the sample site's MariaDB client

    with fresh_site(mariadb) as made:
        yield made


@pytest.fixture
def pg_site(postgres: EmbeddedPostgres) -> Iterator[PgSite]:
    """An empty PostgreSQL source database of the test's own."""
    from tests.source_site import fresh_pg_site  # noqa: PLC0415  # as above

    with fresh_pg_site(postgres) as made:
        yield made


@pytest.fixture
def entry() -> EntryMaker:
    """Makes catalogue entries with the least a test has to say."""
    from tests.source_site import make_entry  # noqa: PLC0415  # as above

    return make_entry
