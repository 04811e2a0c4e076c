"""The migration runner."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import MIGRATIONS_DIR, migrate, read_migrations


@pytest.fixture
def empty_dsn(postgres: EmbeddedPostgres, tmp_path: Path) -> str:
    """A database nothing was ever done to."""
    return postgres.ensure_database(f"empty_{tmp_path.name}".lower())


def write(directory: Path, **files: str) -> Path:
    """Writes NAME.sql files into `directory`."""
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / f"{name.lstrip('n')}.sql").write_text(text)
    return directory


def test_all_migrations_run_once(empty_dsn: str) -> None:
    """The first run applies every file, the second none."""
    assert migrate(empty_dsn) == [migration.name for migration in read_migrations(MIGRATIONS_DIR)]
    assert migrate(empty_dsn) == []


def test_an_edited_file_is_refused(empty_dsn: str, tmp_path: Path) -> None:
    """A file that ran may not change afterwards."""
    directory = write(tmp_path / "m", n0001_one="create table public.one ()")
    migrate(empty_dsn, directory=directory)
    write(directory, n0001_one="create table public.one (id int)")
    with pytest.raises(ConfigurationError, match=r"0001_one\.sql was edited"):
        migrate(empty_dsn, directory=directory)


def test_a_removed_file_is_refused(empty_dsn: str, tmp_path: Path) -> None:
    """A file that ran may not vanish."""
    directory = write(tmp_path / "m", n0001_one="select 1", n0002_two="select 2")
    migrate(empty_dsn, directory=directory)
    (directory / "0002_two.sql").unlink()
    with pytest.raises(ConfigurationError, match=r"0002_two\.sql ran .* its file is gone"):
        migrate(empty_dsn, directory=directory)


def test_a_failing_file_leaves_no_trace(empty_dsn: str, tmp_path: Path) -> None:
    """One file is one transaction; the good ones before it stay."""
    directory = write(
        tmp_path / "m",
        n0001_good="create table public.good ()",
        n0002_bad="create table public.bad (); select 1/0",
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_dsn, directory=directory)
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("select name from ops.migrations").fetchall() == [("0001_good.sql",)]
        assert connection.execute("select to_regclass('public.good'), to_regclass('public.bad')").fetchone() == (
            "good",
            None,
        )


@pytest.mark.parametrize("names", [["one"], ["0002_two"], ["0001_a", "0001_b"], ["0001_a", "0003_c"]])
def test_misnumbered_files_are_refused(names: list[str], tmp_path: Path) -> None:
    """Numbers go 1, 2, 3 without gaps or twins."""
    directory = write(tmp_path / "m", **{f"n{name}": "select 1" for name in names})
    with pytest.raises(ConfigurationError):
        read_migrations(directory)


def test_the_ledger_cannot_hold_an_unbalanced_load(warehouse_dsn: str) -> None:
    """read = inserted + updated + unchanged + quarantined is a constraint."""
    with (
        psycopg.connect(warehouse_dsn) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="loads_balance"),
    ):
        connection.execute(
            "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged,"
            " quarantined, deleted, started_at, finished_at)"
            " values ('r', 't', 'full', 3, 1, 1, 0, 0, 0, now(), now())"
        )


def test_every_ops_and_raw_esp_table_says_what_it_is(warehouse_dsn: str) -> None:
    """A table without a comment is a riddle."""
    with psycopg.connect(warehouse_dsn) as connection:
        riddles = connection.execute(
            "select oid::regclass::text from pg_class"
            " where relkind = 'r' and obj_description(oid, 'pg_class') is null"
            " and relnamespace in ('ops'::regnamespace, 'raw_esp'::regnamespace)"
        ).fetchall()
    assert riddles == []
