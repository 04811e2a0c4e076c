"""The contenders: each copies the recipients once, into a target of its own, and says how long it took.

All write a logged table; all but dlt, which makes its own table, one with a primary key.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg

from bench.extract.site import TABLE
from bench.machine import peer_environment
from lettertrail.bitrix.sql import SqlSource

HERE = Path(__file__).parent
COLUMNS = (
    "id integer, posting_id integer, contact_id integer, status text, date_sent timestamp, user_id integer,"
    " date_deny timestamp, date_update timestamp, fields text, root_id integer, is_read text, is_click text,"
    " is_unsub text"
)


class Missing(Exception):
    """A peer cannot be measured here; the message says what to do."""


@dataclass(frozen=True)
class Figure:
    """One measurement."""

    seconds: float
    peak_mb: float | None = None
    done: str = ""


@dataclass(frozen=True)
class Places:
    """Where to copy from and to, and where to keep files."""

    source_dsn: str
    target_dsn: str
    work: Path

    def execute(self, *statements: str) -> None:
        """Runs statements on the target, each by itself."""
        with psycopg.connect(self.target_dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def fresh_table(self, schema: str, columns: str = COLUMNS) -> None:
        """An empty table of that contender."""
        self.execute(
            f"drop schema if exists {schema} cascade", f"create schema {schema}",
            f"create table {schema}.{TABLE} ({columns}, primary key (id))", "checkpoint",
        )  # fmt: skip

    def check(self, schema: str, rows: int) -> None:
        """Every contender must have copied all rows."""
        with psycopg.connect(self.target_dsn) as connection:
            ((held,),) = connection.execute(f"select count(*) from {schema}.{TABLE}").fetchall()
        if held != rows:
            raise RuntimeError(f"{schema} holds {held} of {rows} rows")


def ours(places: Places, what: str) -> Figure:
    """LetterTrail, in a fresh process."""
    command = [sys.executable, "-m", "bench.extract.ours", what]
    said = _run([*command, "--source", places.source_dsn, "--target", places.target_dsn])
    done = ", ".join(f"{name} {value}" for name, value in said.items() if name not in ("seconds", "peak_mb"))
    return Figure(said["seconds"], said["peak_mb"], done)


def forget_ours(places: Places) -> None:
    """So that the next load is a first copy."""
    places.execute(
        f"drop table if exists raw_bitrix.{TABLE} cascade",
        f"delete from ops.cursors where target = 'raw_bitrix.{TABLE}'",
        "update ops.copies set outcome = 'abandoned', finished_at = now() where outcome is null", "checkpoint",
    )  # fmt: skip


def dlt(places: Places) -> Figure:
    """dlt, ConnectorX to Parquet to ADBC."""
    python = peer_environment(places.work / "dlt-env", HERE / "peers-requirements.txt")
    home = places.work / "dlt-home"
    shutil.rmtree(home, ignore_errors=True)
    places.execute(
        "drop schema if exists bench_dlt cascade", "drop schema if exists bench_dlt_staging cascade", "checkpoint"
    )
    source = places.source_dsn.replace("mysql://", "mysql+pymysql://")
    command = [str(python), str(HERE / "dlt_copy.py"), "--source", source, "--target", places.target_dsn]
    said = _run([*command, "--table", TABLE, "--home", str(home)])
    shutil.rmtree(home, ignore_errors=True)
    return Figure(said["seconds"], said["peak_mb"])


def pgloader(places: Places) -> Figure:
    """pgloader into a table that is there, data only: its own way makes four more indexes."""
    if shutil.which("pgloader") is None:
        raise Missing("pgloader is not installed: apt-get install pgloader")
    places.fresh_table("bench_pgloader")
    command = places.work / "bench.load"
    database = urlsplit(places.source_dsn).path.strip("/")
    command.touch(mode=0o600)
    command.write_text(
        f"LOAD DATABASE FROM {places.source_dsn} INTO {places.target_dsn}\n"
        "WITH data only, no foreign keys, create no indexes, reset no sequences, workers = 2, concurrency = 1,"
        " batch rows = 25000, prefetch rows = 50000\n"
        f"INCLUDING ONLY TABLE NAMES MATCHING '{TABLE}'\n"
        f"ALTER SCHEMA '{database}' RENAME TO 'bench_pgloader';\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        ["pgloader", "--root-dir", str(places.work / "pgloader"), str(command)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    command.unlink()
    if done.returncode or "ERROR" in done.stdout + done.stderr:
        raise Missing(f"pgloader failed: {(done.stdout + done.stderr)[-500:]}")
    return Figure(seconds)


def pipe(places: Places, *, with_hash: bool) -> Figure:
    """`mariadb --quick -N -B | psql COPY`, without and with the row hash that ours stores."""
    columns = COLUMNS + (", _row_hash bigint" if with_hash else "")
    places.fresh_table("bench_pipe", columns)
    names = ", ".join(f"t.{column.split()[0]}" for column in COLUMNS.split(", "))
    hashed = f", {row_hash(places.source_dsn)}" if with_hash else ""
    login = urlsplit(places.source_dsn)
    reader = [
        "mariadb", "--quick", "-N", "-B", "-h", str(login.hostname), "-P", str(login.port), "-u", str(login.username),
        login.path.strip("/"), "-e", f"select {names}{hashed} from {TABLE} as t",
    ]  # fmt: skip
    copy = f"copy bench_pipe.{TABLE} from stdin with (null 'NULL')"
    writer = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", places.target_dsn, "-c", copy]
    began = time.monotonic()
    environment = {**os.environ, "MYSQL_PWD": unquote(login.password or "")}
    with subprocess.Popen(reader, stdout=subprocess.PIPE, env=environment) as source:
        subprocess.run(writer, stdin=source.stdout, check=True)
    return Figure(time.monotonic() - began)


def row_hash(source_dsn: str) -> str:
    """The very expression by which ours hashes a row of the table."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from bench.extract.ours import entry_of  # noqa: PLC0415

    source = SqlSource(source_dsn, ZoneInfo("UTC"))
    try:
        return source._dialect.row_hash(source.columns(entry_of(TABLE)))
    finally:
        source.close()


def _run(command: list[str]) -> dict[str, Any]:
    """The JSON that a step prints last."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[1:4]} failed: {done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said
