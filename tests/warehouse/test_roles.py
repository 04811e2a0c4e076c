"""Least privilege: what each role may and may not do."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from tests.source_site import NOW, EntryMaker, Site

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.roles import ROLES, apply_roles

PASSWORD = "it's a \\ \"pass'word%"

Login = Callable[[str], "psycopg.Connection[tuple[object, ...]]"]


@pytest.fixture
def login(warehouse_dsn: str) -> Login:
    """Opens an autocommit connection as a role."""
    apply_roles(warehouse_dsn, dict.fromkeys(ROLES, PASSWORD))
    parts = urlsplit(warehouse_dsn)

    def connect_as(role: str) -> psycopg.Connection[tuple[object, ...]]:
        where = f"{role}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}{parts.path}"
        return psycopg.connect(f"postgresql://{where}", autocommit=True)

    return connect_as


def test_the_password_given_is_the_password(login: Login) -> None:
    """Quotes and backslashes in a password survive."""
    for role in ROLES:
        with login(role) as connection:
            assert connection.execute("select current_user").fetchone() == (role,)


def test_roles_can_be_applied_again(login: Login, warehouse_dsn: str) -> None:
    """A second run changes nothing, and a role without a new password keeps the old one."""
    apply_roles(warehouse_dsn, {})
    login("lettertrail_reader").close()


def test_a_later_raw_table_is_readable_by_dbt_and_nobody_else(login: Login) -> None:
    """Default privileges reach tables the loader makes after the roles were applied."""
    with login("lettertrail_loader") as loader:
        loader.execute("create table raw_bitrix.b_new as select 1 as id")
    with login("lettertrail_dbt") as dbt:
        assert dbt.execute("select id from raw_bitrix.b_new").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            dbt.execute("delete from raw_bitrix.b_new")
    for role in ("lettertrail_sync", "lettertrail_reader"):
        with login(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select id from raw_bitrix.b_new")


def test_a_later_mart_is_readable_by_sync_and_reader(login: Login) -> None:
    """dbt rebuilds its tables at every run; readers must not lose them."""
    with login("lettertrail_dbt") as dbt:
        dbt.execute("create table marts.m as select 1 as id")
        dbt.execute("create schema dbt_test__audit")
    for role in ("lettertrail_sync", "lettertrail_reader"):
        with login(role) as connection:
            assert connection.execute("select id from marts.m").fetchone() == (1,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("insert into marts.m values (2)")


def test_dbt_reads_the_loads_and_writes_none(login: Login) -> None:
    """What is new is told by the ledger of loads."""
    with login("lettertrail_dbt") as dbt:
        dbt.execute("select load_id, target from ops.loads")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            dbt.execute("delete from ops.loads")


def test_the_ledger_is_append_only_for_those_who_write_it(login: Login) -> None:
    """A role that writes loads or sync calls cannot remove them, and the reader cannot see them."""
    with login("lettertrail_loader") as loader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        loader.execute("delete from ops.loads")
    with login("lettertrail_sync") as sync:
        sync.execute(
            "insert into ops.sync_runs (run_id, destination, account, audience, dry_run, started_at)"
            " values ('r', 'd', 'a', 'x', false, now())"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sync.execute("delete from ops.sync_runs")
    with login("lettertrail_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("select * from ops.sync_records")


@pytest.mark.parametrize("passwords", [{"postgres": "x"}, {"lettertrail_reader": ""}])
def test_a_wrong_role_or_empty_password_is_refused(warehouse_dsn: str, passwords: dict[str, str]) -> None:
    """No role but ours is touched, and none is left open."""
    with pytest.raises(ConfigurationError):
        apply_roles(warehouse_dsn, passwords)


def test_the_loader_can_load(warehouse_dsn: str, site: Site, entry: EntryMaker) -> None:
    """Everything a load does, with no more rights than the loader has."""
    apply_roles(warehouse_dsn, {"lettertrail_loader": "a-loader's"})
    parts = urlsplit(warehouse_dsn)
    dsn = f"postgresql://lettertrail_loader:a-loader%27s@{parts.hostname}:{parts.port}{parts.path}"
    site.run("create table t (id int primary key, a varchar(9))", "insert into t values (1, 'x'), (2, 'y')")
    table = entry("t", "append")
    for inserted in (2, 0):
        result = load_table(site.source, table, dsn, run_id="run", clock=fixed_clock(NOW))
        assert result.inserted == inserted
    site.run("delete from t where id = 1", "alter table t add b int")
    assert load_table(site.source, table, dsn, run_id="run", clock=fixed_clock(NOW)).deleted == 1
    assert check_balance(dsn, run_id="run") == 3


def test_failing_rows_are_for_the_doors_only(login: Login) -> None:
    """They hold personal data: those who run a door keep and forget them, dashboards and dbt never see them."""
    for role in ("lettertrail_loader", "lettertrail_sync"):
        with login(role) as connection:
            check = "insert into ops.quality_checks (run_id, suite, success, evaluated, failed, at)"
            connection.execute(f"{check} values ('r', 's', false, 1, 1, now())")
            connection.execute(
                "insert into ops.failed_rows values ('s', 'e', 'h', '{}', now(), now(), 1)"
                " on conflict (suite, expectation, record_hash) do update set last_seen_at = excluded.last_seen_at"
            )
    for role in ("lettertrail_dbt", "lettertrail_reader", "lettertrail_inbox", "lettertrail_relay"):
        with login(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select record from ops.failed_rows")
    with login("lettertrail_sync") as connection:
        assert connection.execute("delete from ops.failed_rows").rowcount == 1


def test_what_letters_say_is_for_the_relay_alone(login: Login) -> None:
    """The models see what became of them, nobody else sees anything."""
    with login("lettertrail_dbt") as dbt:
        dbt.execute("select outbox_id, event_name, state, message_ref from ops.outbox")
        for column in ("recipient", "subject", "body", "sender"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                dbt.execute(f"select {column} from ops.outbox".encode())
    for role in ("lettertrail_sync", "lettertrail_loader", "lettertrail_reader", "lettertrail_inbox"):
        with login(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select outbox_id from ops.outbox")
    with login("lettertrail_relay") as relay:
        relay.execute("select body from ops.outbox")


def test_who_erases_reaches_every_table_and_no_proof(login: Login, warehouse_dsn: str) -> None:
    """Tables that come later too; the hashes are for nobody else, what stands for an address is for the models."""
    with login("lettertrail_loader") as loader:
        loader.execute("create table raw_bitrix.b_new as select 'anna@example.com' as email")
        loader.execute("select erasure_id from ops.erasures")
    with login("lettertrail_dbt") as dbt:
        dbt.execute("create table marts.dim_new as select 'anna@example.com' as email")
        dbt.execute("select erasure_id, kind, pseudonym, erased_at from ops.erased_identifiers")
    with login("lettertrail_eraser") as eraser:
        for table in ("raw_bitrix.b_new", "marts.dim_new"):
            assert eraser.execute(f"update {table} set email = 'x'".encode()).rowcount == 1
        for statement in (
            "update ops.erasures set reference = 'x'",
            "delete from ops.erased_identifiers",
            "update ops.erasure_checks set checked_at = now()",
            "update ops.migrations set name = 'x'",
            "drop table raw_bitrix.b_new",
            "insert into raw_bitrix.b_new values ('x')",
            "create table ops.mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                eraser.execute(statement.encode())
    with login("lettertrail_sync") as sync:
        sync.execute("select ops.erased_cards('contact')")
    for role in set(ROLES) - {"lettertrail_eraser"}:
        for secret in ("digest from ops.erased_identifiers", "person_hash from ops.erasures"):
            with login(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {secret}".encode())
