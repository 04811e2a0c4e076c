"""What Arrow writes for PostgreSQL is what it was."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from lettertrail.warehouse.binary import TYPES, encode
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.session import Session

UTC = dt.UTC
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999))
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "smallint": (pa.int64(), st.integers(-(2**15), 2**15 - 1)),
    "integer": (pa.int64(), st.integers(-(2**31), 2**31 - 1)),
    "bigint": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.floats(width=32, allow_nan=False)),
    "double precision": (pa.float64(), st.floats(allow_nan=False)),
    "boolean": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us"), moments),
    "timestamptz": (pa.timestamp("us", "UTC"), moments.map(lambda moment: moment.replace(tzinfo=UTC))),
    "text": (pa.string(), texts),
    "bytea": (pa.large_binary(), st.binary(max_size=40)),
    "jsonb": (pa.string(), st.sampled_from(['{"a": 1}', "[]", '"ы"', "null"])),
}
rows = st.lists(
    st.fixed_dictionaries({kind: st.none() | values for kind, (_, values) in KINDS.items()}), min_size=1, max_size=8
)


def names() -> list[tuple[str, str]]:
    """Columns named after their types, in an order in which fixed and variable ones alternate."""
    return [(kind.replace(" ", "_"), kind) for kind in KINDS]


def test_all_types_are_tried() -> None:
    """Nothing that can be written is left out below."""
    assert set(KINDS) == TYPES


@given(values=rows, skipped=st.integers(0, 3), is_reversed=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_postgres_reads_what_arrow_held(
    postgres: EmbeddedPostgres, values: list[dict[str, Any]], skipped: int, is_reversed: bool
) -> None:
    """Every type, with NULLs anywhere, in slices of larger batches, in another order of columns."""
    batch = pa.record_batch(
        {kind.replace(" ", "_"): pa.array([row[kind] for row in values], arrow) for kind, (arrow, _) in KINDS.items()}
    )
    skipped = min(skipped, len(values) - 1)
    part = batch.slice(skipped)
    columns = names()[::-1] if is_reversed else names()
    with psycopg.connect(postgres.dsn()) as connection:
        lines = ", ".join(f"{name} {kind}" for name, kind in columns)
        connection.execute(f"create temporary table held ({lines}, number int generated always as identity)")
        copied = Session(connection).copy(
            sql.Identifier("pg_temp", "held"), columns, iter([part.select([name for name, _ in columns])])
        )
        # A real is told in as few digits as tell it from its neighbours.
        told = {"jsonb": "jsonb::text", "real": "real::double precision"}
        listed = ", ".join(told.get(name, name) for name, _ in names())
        held = connection.execute(f"select {listed} from held order by number").fetchall()
    assert copied == len(values) - skipped
    assert held == [tuple(row[kind] for kind in KINDS) for row in values[skipped:]]


@pytest.mark.parametrize("kind", ["smallint", "integer"])
def test_a_number_that_is_too_large_is_refused(kind: str) -> None:
    """It would be cut to other digits."""
    with pytest.raises(pa.ArrowInvalid):
        encode(pa.record_batch({"a": pa.array([2**31])}), [kind])


def test_nothing_is_nothing() -> None:
    """An empty batch adds no row."""
    assert bytes(encode(pa.record_batch({"a": pa.array([], pa.int64())}), ["bigint"])) == b""
