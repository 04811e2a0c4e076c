"""One small world, loaded and built once, as Airflow builds it: layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.conftest import WORLD_AS_OF, WORLD_SCALE, WORLD_SEED
from tests.dbt.dbt_runs import NO_UNIT_TESTS, DbtRun, RepeatedDbt, dbt, new_load
from tests.dbt.independent import Figures, figures
from tests.dbt.world_mailchimp import WorldMailchimp

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.world import World, generate
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.load_esp import load_account
from lettertrail.warehouse.migrate import migrate

LAYERS = ("staging", "intermediate", "marts", "segments")
DELETED = (
    ("b_crm_deal", 5),
    ("b_crm_lead", 5),
    ("b_crm_contact", 9),
    ("b_crm_field_multi", 11),
    ("b_sender_posting_recipient", 17),
    ("b_sender_posting_click", 13),
    ("b_sender_posting_read", 13),
    ("b_sender_posting_unsub", 2),
    ("b_sender_abuse", 2),
    ("b_main_mail_blacklist", 2),
    ("b_sender_mailing_chain", 23),
    ("b_sender_posting", 19),
)
"""Tables, and the number that divides the ids of the rows that go."""
CHANGED = (
    "update raw_bitrix.b_sender_contact set consent_status = 'A', date_update = '{last_evening}',"
    " _load_id = {load} where id % 3 = 0",
    "update raw_bitrix.b_sender_contact set consent_status = 'D', _load_id = {load} where id % 7 = 0",
    # taken back to work, and not paid yet
    "update raw_bitrix.b_crm_deal set stage_semantic_id = 'P', stage_id = 'EXECUTING', _load_id = {load}"
    " where id % 2 = 1",
    "update raw_bitrix.b_sale_order_payment set paid = 'N', _load_id = {load} where order_id % 3 = 1",
    "update raw_bitrix.b_sale_order set payed = 'N', sum_paid = 0, date_payed = null, _load_id = {load}"
    " where id % 3 = 1",
    # letters that count neither opens nor clicks
    "update raw_bitrix.b_sender_message_field set value = 'N', _load_id = {load}"
    " where code = 'TRACK_MAIL' and message_id % 6 = 1",
)
CLOCK = fixed_clock(datetime.combine(WORLD_AS_OF, time(1), UTC))


@dataclass(frozen=True)
class Built:
    """A warehouse with the small world in it and all models built."""

    dsn: str
    layers: dict[str, DbtRun]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """All rows of a query."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def world() -> World:
    """The world the sample site was made from."""
    return generate(seed=WORLD_SEED, scale=WORLD_SCALE, as_of=WORLD_AS_OF)


@pytest.fixture(scope="session")
def loaded_dsn(postgres: EmbeddedPostgres, bitrix_site_small: Site, world: World) -> str:
    """The small world in raw_bitrix and raw_esp, through the real loaders."""
    dsn = postgres.ensure_database("dbt_small_world")
    migrate(dsn)
    source = SqlSource(bitrix_site_small.reader_dsn, ZoneInfo("Europe/Moscow"))
    for entry in load_catalog():
        load_table(source, entry, dsn, run_id="tests", clock=CLOCK)
    load_account(WorldMailchimp(world), dsn, run_id="tests", clock=CLOCK)
    return dsn


@pytest.fixture(scope="session")
def built(loaded_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The marts of the small world."""
    runs = {}
    for layer in LAYERS:
        runs[layer] = dbt(
            "build",
            "--select",
            f"path:models/{layer}",
            *(["path:seeds"] if layer == LAYERS[0] else []),
            "--indirect-selection",
            "buildable",
            dsn=loaded_dsn,
            work_dir=tmp_path_factory.mktemp(layer),
        )
        assert runs[layer].returncode == 0, runs[layer].output[-4000:]
    return Built(loaded_dsn, runs)


@pytest.fixture(scope="session")
def from_raw(built: Built) -> Figures:
    """The same figures, worked out from the raw tables of the small world."""
    return figures(built.dsn)


@pytest.fixture(scope="session")
def changed_world(
    built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    """The small world after much of it was deleted and changed at the source, built anew."""
    with copy_of_the_built(postgres) as dsn:
        with psycopg.connect(dsn) as connection:
            _change_at_the_source(connection)
        RepeatedDbt(dsn, tmp_path_factory.mktemp("changed")).do("build", *NO_UNIT_TESTS)
        yield Built(dsn, built.layers)


@pytest.fixture(scope="session")
def changed_from_raw(changed_world: Built) -> Figures:
    """Its figures, worked out from the raw tables."""
    return figures(changed_world.dsn)


def _change_at_the_source(connection: psycopg.Connection[Any]) -> None:
    load = new_load(connection)
    last_evening = datetime.combine(WORLD_AS_OF, time()) - timedelta(hours=1)
    for table, share in DELETED:
        connection.execute(
            f"update raw_bitrix.{table} set _deleted_at = '2026-11-01 00:00:00+00', _load_id = {load} "
            f"where id % {share} = 0"
        )
    for change in CHANGED:
        connection.execute(change.format(load=load, last_evening=last_evening))


@contextmanager
def copy_of_the_built(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a copy of the built warehouse, gone afterwards.

    Copies take the names of those before them: dbt reads the whole project anew for a database it has not seen.
    """
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        taken = {name for (name,) in admin.execute("select datname from pg_database")}
        name = next(name for name in map("dbt_copy_{}".format, count(1)) if name not in taken)
        # a background worker that tidies the original up would have it refused
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'dbt_small_world'")
        admin.execute(f"create database {name} template dbt_small_world strategy file_copy")
        try:
            yield postgres.dsn(name)
        finally:
            admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def changed_dsn(built: Built, postgres: EmbeddedPostgres) -> Iterator[str]:
    """A copy of the built warehouse that a test may spoil."""
    with copy_of_the_built(postgres) as dsn:
        yield dsn
