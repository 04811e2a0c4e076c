"""The account of docs/source-account.md: made by the very statements there, it can copy, and do nothing else."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import MySQLdb
import psycopg
import pytest
from tests.source_site import NOW, ZONE, EntryMaker, PgSite, Site

from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import KeyRange
from lettertrail.bitrix.sessions import Patience
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import fixed_clock
from lettertrail.sandbox.mariadb import connect
from lettertrail.settings import PROJECT_ROOT
from lettertrail.warehouse.load import load_table

PAGE = PROJECT_ROOT / "docs" / "source-account.md"
WRITES = (
    "insert into letters values (9, 'x')",
    "update letters set title = 'x'",
    "delete from letters",
    "drop table letters",
    "alter table letters add column z int",
    "create table mine (id int)",
    "create index i on letters (title)",
)


def statements(section: str) -> list[str]:
    """The SQL of one section, statement by statement."""
    (text,) = [part for part in PAGE.read_text(encoding="utf-8").split("\n## ") if part.startswith(section)]
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]


@dataclass(frozen=True)
class Account:
    """An account made as the page says."""

    site: Site
    name: str
    password: str

    @property
    def dsn(self) -> str:
        """Its address."""
        parts = urlsplit(self.site.dsn)
        return f"{parts.scheme}://{self.name}:{quote(self.password)}@{parts.hostname}:{parts.port}{parts.path}"


def made(site: Site, section: str, *, owner: str) -> Account:
    """Runs the page's statements with names of the test's own."""
    account = Account(site, f"lt_{uuid.uuid4().hex[:10]}", uuid.uuid4().hex)
    written = statements(section)
    assert len(written) >= 3
    for statement in written:
        own = statement.replace("choose-a-password", account.password).replace("lettertrail", account.name)
        site.run(own.replace("sitemanager", site.source.database).replace("bitrix", owner))
    return account


@pytest.fixture
def mysql_account(site: Site) -> Iterator[Account]:
    """On MariaDB."""
    site.run(
        "create table letters (id int primary key, title varchar(50))", "insert into letters values (1, 'a'), (2, 'b')"
    )
    account = made(site, "MySQL and MariaDB", owner="root")
    yield account
    site.run(f"drop user '{account.name}'@'%'")


@pytest.fixture
def postgres_account(pg_site: PgSite) -> Iterator[Account]:
    """On PostgreSQL."""
    pg_site.run(
        "create table letters (id int primary key, title text)", "insert into letters values (1, 'a'), (2, 'b')"
    )
    account = made(pg_site, "PostgreSQL", owner="postgres")
    yield account
    pg_site.run(f"drop owned by {account.name}", f"drop role {account.name}")


@pytest.fixture(params=["mysql_account", "postgres_account"])
def account(request: pytest.FixtureRequest) -> Account:
    """On each server."""
    found: Account = request.getfixturevalue(request.param)
    return found


def test_a_table_is_copied_with_the_account(account: Account, entry: EntryMaker, warehouse_dsn: str) -> None:
    """Nothing that the copy asks is refused: whole, in changes, compared, and a table that came later."""
    source = SqlSource(account.dsn, ZONE)
    table = entry("letters", "append")
    for run_id in ("first", "second"):
        load_table(source, table, warehouse_dsn, run_id=run_id, clock=fixed_clock(NOW))
    with psycopg.connect(warehouse_dsn) as warehouse:
        assert warehouse.execute("select id, title from raw_bitrix.letters order by id").fetchall() == [
            (1, "a"),
            (2, "b"),
        ]
    account.site.run("create table later (id int primary key)", "insert into later values (1)")
    assert source.count(entry("later")) == 1
    assert source.lag_seconds() is None
    source.close()


@pytest.mark.parametrize("statement", WRITES)
def test_the_account_cannot_write_on_mysql(mysql_account: Account, statement: str) -> None:
    """Refused for want of the right, also in a session that is not read-only."""
    connection = connect(mysql_account.dsn)
    with pytest.raises(MySQLdb.OperationalError) as refused:
        connection.cursor().execute(statement)
    connection.close()
    assert refused.value.args[0] == 1142  # command denied to user for table


@pytest.mark.parametrize("statement", WRITES)
def test_the_account_cannot_write_on_postgres(postgres_account: Account, statement: str) -> None:
    """Its sessions are read-only, and without that the right is missing."""
    with psycopg.connect(postgres_account.dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(statement.encode())
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_session_is_read_only_whoever_logs_in(site: Site, pg_site: PgSite) -> None:
    """Also with an account that may do everything, and also on the connections that rows are streamed over."""
    asked = {
        site: "select @@session.tx_read_only as v",
        pg_site: "select case current_setting('transaction_read_only') when 'on' then 1 end::bigint as v",
    }
    for one, question in asked.items():
        connections = one.source._connections
        assert connections.rows(question) == [(1,)]
        assert connections.table(question, tables=["t"], stop=threading.Event()).to_pylist() == [{"v": 1}]


def test_the_account_gives_way_without_any_other_right(account: Account, entry: EntryMaker) -> None:
    """It finds and ends its own statement, and sees that somebody waits."""
    account.site.run(
        "create table t (id int not null, a varchar(9))",
        "insert into t select a.id, a.title from letters a, letters b, letters c, letters d, letters e, letters f",
    )
    source = SqlSource(account.dsn, ZONE, patience=Patience(look_seconds=0.1, pause_seconds=(0.5,)))
    sleep = "sleep(0.05)" if source.kind == "mysql" else "pg_sleep(0.05)::text"
    key, _ = source.columns(entry("t"))
    slow = Column("a", sleep, key.digest, "text", "text", raw="''", terms=("''",))
    waited: list[float] = []

    def alter() -> None:
        time.sleep(0.5)
        began = time.monotonic()
        account.site.run("alter table t add column z int")
        waited.append(time.monotonic() - began)

    thread = threading.Thread(target=alter)
    thread.start()
    rows = sum(batch.num_rows for batch in source.read_ranges(entry("t"), [key, slow], [KeyRange()]))
    thread.join()
    assert rows == 64
    assert waited[0] < 1.2
    source.close()
