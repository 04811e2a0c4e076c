"""Both ways into the warehouse behave alike, and say nothing they should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from tests.warehouse.conftest import Warehouse

from lettertrail.errors import ContractError, WarehouseError
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.session import BulkSession, Session, Writer, safe_reason, translated_errors, without_values

ADDRESS = "anna@example.com"
BATCH = pa.record_batch({"id": pa.array([1, 2], pa.int32()), "word": ["a", ADDRESS]})


@pytest.fixture
def writer(warehouse: Warehouse) -> Iterator[Writer]:
    """A writer, and a table to write to."""
    warehouse.run("create table public.words (id int primary key, word varchar(20))")
    with (
        connect(warehouse.dsn, purpose="test", autocommit=True) as connection,
        Writer(connection, warehouse.dsn, purpose="test") as made,
    ):
        yield made


def insert(session: Session, values: str) -> int:
    """Inserts rows; returns how many."""
    return session.run(sql.SQL(f"insert into public.words values {values}"))


def tried(writer: Writer, *steps: Callable[[Session], object], bulk: bool) -> None:
    """Takes steps in one transaction, with the errors that a load gives."""
    with translated_errors("words"), writer.transaction(bulk=bulk) as session:
        for step in steps:
            step(session)


def interrupt(_: Session) -> None:
    """What a killed process feels like from inside."""
    raise KeyboardInterrupt


def copy(session: Session) -> int:
    """Copies the batch in binary."""
    assert isinstance(session, BulkSession)
    reader = pa.RecordBatchReader.from_batches(BATCH.schema, iter([BATCH]))
    return session.ingest(reader, table="words", schema="public")


@pytest.mark.parametrize("bulk", [False, True])
def test_a_transaction_is_all_or_nothing(writer: Writer, warehouse: Warehouse, bulk: bool) -> None:
    """Statements count their rows, see each other, and are gone together."""
    with pytest.raises(KeyboardInterrupt):
        tried(writer, lambda session: insert(session, "(6, 'x')"), interrupt, bulk=bulk)
    with writer.transaction(bulk=bulk) as session:
        assert insert(session, "(7, 'x'), (8, 'y')") == 2
        assert session.rows(sql.SQL("select id from public.words order by id")) == [(7,), (8,)]
    assert warehouse.rows("select id from public.words order by id") == [(7,), (8,)]


def test_rows_and_statements_of_the_bulk_way_share_a_transaction(writer: Writer, warehouse: Warehouse) -> None:
    """The ledger row is committed with the rows, or neither."""
    with pytest.raises(KeyboardInterrupt):
        tried(writer, copy, lambda session: insert(session, "(9, 'y')"), interrupt, bulk=True)
    assert warehouse.rows("select count(*) from public.words") == [(0,)]
    with writer.transaction(bulk=True) as session:
        assert (copy(session), insert(session, "(9, 'y')")) == (2, 1)
        assert warehouse.rows("select count(*) from public.words") == [(0,)]
    assert warehouse.rows("select count(*) from public.words") == [(3,)]


def test_the_same_query_may_be_asked_again(writer: Writer) -> None:
    """ADBC's cursor takes a query it is told twice for the statement it holds, whatever came between."""
    query = sql.SQL("select count(*) from public.words")
    with writer.transaction(bulk=True) as session:
        assert session.rows(query) == [(0,)]
        insert(session, "(1, 'a')")
        assert session.rows(query) == [(1,)]


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
@pytest.mark.parametrize("bulk", [False, True])
def test_errors_quote_no_values(writer: Writer, statement: str, bulk: bool) -> None:
    """PostgreSQL repeats what does not fit; a log must not."""
    with pytest.raises(ContractError, match="do not fit") as caught:
        tried(writer, lambda session: session.run(sql.SQL(statement)), bulk=bulk)
    assert "anna" not in str(caught.value)
    assert caught.value.__cause__ is None
    with writer.transaction(bulk=bulk) as session:
        assert session.rows(sql.SQL("select 1")) == [(1,)]


def test_a_refused_copy_quotes_no_values(writer: Writer) -> None:
    """Its DETAIL holds the whole row."""
    with pytest.raises(ContractError, match='unique constraint "words_pkey"') as caught:
        tried(writer, copy, copy, bulk=True)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_server_that_goes_away_is_no_fault_of_the_rows(writer: Writer, warehouse: Warehouse, bulk: bool) -> None:
    """Trying again may help, and a bulk connection is opened anew."""

    def terminate(session: Session) -> None:
        ((pid,),) = session.rows(sql.SQL("select pg_backend_pid()"))
        warehouse.run(f"select pg_terminate_backend({pid}, 5000)")

    with pytest.raises(WarehouseError):
        tried(writer, terminate, lambda session: insert(session, "(1, 'a')"), bulk=bulk)
    if bulk:
        with writer.transaction(bulk=True) as session:
            assert insert(session, "(1, 'a')") == 1


def test_messages_keep_names_and_lose_values() -> None:
    """What a person needs to find the column stays."""
    assert without_values('null value in column "id" of relation "t"') == 'null value in column "id" of relation "t"'
    assert without_values('invalid input syntax for type integer: "x y"') == "invalid input syntax for type integer"
    assert (
        without_values('value "99 anna" is out of range for type integer') == "value … is out of range for type integer"
    )
    assert "@" not in safe_reason(psycopg.Error(f"no such thing {ADDRESS}\nDETAIL: more"))
