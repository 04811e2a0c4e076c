"""The connection of a load: all or nothing, and nothing said that should not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from tests.warehouse.conftest import Warehouse

from lettertrail.errors import ContractError, WarehouseError
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.session import Session, safe_reason, transaction, translated_errors, without_values

ADDRESS = "anna@example.com"
BATCH = pa.record_batch({"id": pa.array([1, 2], pa.int64()), "word": ["a", ADDRESS]})
WORDS = sql.Identifier("public", "words")


@pytest.fixture
def connection(warehouse: Warehouse) -> Iterator[Connection]:
    """A connection, and a table to write to."""
    warehouse.run("create table public.words (id int primary key, word varchar(20))")
    with connect(warehouse.dsn, purpose="test", autocommit=True) as made:
        yield made


def tried(connection: Connection, *steps: Callable[[Session], object]) -> None:
    """Takes steps in one transaction, with the errors that a load gives."""
    with translated_errors("words"), transaction(connection) as session:
        for step in steps:
            step(session)


def interrupt(_: Session) -> None:
    """What a killed process feels like from inside."""
    raise KeyboardInterrupt


def insert(session: Session) -> int:
    """Inserts a row; returns how many."""
    return session.run(sql.SQL("insert into public.words values (9, 'y')"))


def copy(session: Session) -> int:
    """Copies the batch in binary."""
    return session.copy(WORDS, [("id", "integer"), ("word", "text")], iter([BATCH]))


def test_rows_and_statements_are_all_or_nothing(connection: Connection, warehouse: Warehouse) -> None:
    """They count their rows, are seen together, and are gone together."""
    with pytest.raises(KeyboardInterrupt):
        tried(connection, copy, insert, interrupt)
    assert warehouse.rows("select count(*) from public.words") == [(0,)]
    with transaction(connection) as session:
        assert (copy(session), insert(session)) == (2, 1)
        assert session.rows(sql.SQL("select count(*) from public.words")) == [(3,)]
        assert session.rows(sql.SQL("show synchronous_commit")) == [("on",)]
        assert warehouse.rows("select count(*) from public.words") == [(0,)]
    assert warehouse.rows("select count(*) from public.words") == [(3,)]


def test_a_stream_that_breaks_off_says_why(connection: Connection, warehouse: Warehouse) -> None:
    """The copy ends with the error of its source, and the connection can go on."""

    def broken() -> Iterator[pa.RecordBatch]:
        yield BATCH
        raise ContractError("the source met something")

    with pytest.raises(ContractError, match="met something"):
        tried(connection, lambda session: session.copy(WORDS, [("id", "integer"), ("word", "text")], broken()))
    tried(connection, insert)
    assert warehouse.rows("select id from public.words") == [(9,)]


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into public.words values (1, '{ADDRESS}'), (1, 'x')",
        f"insert into public.words values (null, '{ADDRESS}')",
        f"insert into public.words select '{ADDRESS}'::int, ''",
        f"insert into public.words values (1, '{ADDRESS} is much too long')",
        f"select '{ADDRESS}'::timestamp",
    ],
)
def test_errors_quote_no_values(connection: Connection, statement: str) -> None:
    """PostgreSQL repeats what does not fit; a log must not."""
    with pytest.raises(ContractError, match="do not fit") as caught:
        tried(connection, lambda session: session.run(sql.SQL(statement)))
    assert "anna" not in str(caught.value)
    assert caught.value.__cause__ is None
    tried(connection, insert)


def test_a_refused_copy_quotes_no_values(connection: Connection) -> None:
    """Its DETAIL holds the whole row."""
    with pytest.raises(ContractError, match='unique constraint "words_pkey"') as caught:
        tried(connection, copy, copy)
    assert "anna" not in str(caught.value)


def test_a_server_that_goes_away_is_no_fault_of_the_rows(connection: Connection, warehouse: Warehouse) -> None:
    """Trying again may help."""

    def terminate(session: Session) -> None:
        ((pid,),) = session.rows(sql.SQL("select pg_backend_pid()"))
        warehouse.run(f"select pg_terminate_backend({pid}, 5000)")

    with pytest.raises(WarehouseError):
        tried(connection, terminate, insert)


def test_messages_keep_names_and_lose_values() -> None:
    """What a person needs to find the column stays."""
    said = 'null value in column "id" of relation "t"'
    assert without_values(said) == said
    assert without_values('invalid input syntax for type integer: "x y"') == "invalid input syntax for type integer"
    out_of_range = 'value "99 anna" is out of range for type integer'
    assert without_values(out_of_range) == "value … is out of range for type integer"
    assert "@" not in safe_reason(psycopg.Error(f"no such thing {ADDRESS}\nDETAIL: more"))
