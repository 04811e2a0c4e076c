"""How the copy stands: what people and programs are told."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest
from tests.source_site import NOW, EntryMaker, Site

from lettertrail.__main__ import main, warehouse_dsn
from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError
from lettertrail.status import as_text, read_status
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.verify import verify_table


@pytest.fixture
def copied(warehouse_dsn: str, site: Site, entry: EntryMaker) -> str:
    """A warehouse with one proven table that has gained a column, and one that was never proven."""
    site.run(
        "create table letters (id int primary key, title text)", "insert into letters values (1, 'a'), (2, 'b')",
        "create table events (id int primary key)", "insert into events values (1)",
    )  # fmt: skip
    for name in ("letters", "events"):
        load_table(site.source, entry(name), warehouse_dsn, run_id="one", clock=fixed_clock(NOW))
    site.run("alter table letters add column subject text", "delete from letters where id = 2")
    later = fixed_clock(NOW + timedelta(hours=3))
    load_table(site.source, entry("letters"), warehouse_dsn, run_id="two", clock=later)
    verify_table(site.source, entry("letters"), warehouse_dsn, run_id="night", clock=later)
    return warehouse_dsn


def test_a_table_is_told_with_rows_lag_proof_and_drift(copied: str) -> None:
    """The deleted row is not counted, the new column is announced, what was not verified is not called proven."""
    at = NOW + timedelta(hours=5)
    events, letters = read_status(copied, at=at)
    assert (letters.table, letters.rows, letters.proven_at) == ("raw_bitrix.letters", 1, NOW + timedelta(hours=3))
    assert any("subject" in notice for notice in letters.notices)
    assert (events.rows, events.loaded_at, events.proven_at, events.notices) == (1, NOW, None, ())
    text = as_text([events, letters], at=at)
    assert "5 h" in text
    assert "2 h ago" in text
    assert "never" in text
    assert text.splitlines()[-1] == "2 tables, 2 rows, 1 proven"


def test_old_notices_are_not_repeated(copied: str) -> None:
    """A week later everybody knows."""
    assert [table.notices for table in read_status(copied, at=NOW + timedelta(days=8))] == [(), ()]


def test_an_unfinished_first_copy_says_how_far_it_is(copied: str) -> None:
    """Ranges done and ranges in all stand where the strategy would."""
    with psycopg.connect(copied) as connection:
        connection.execute(
            "insert into ops.copies (target, kind, run_id, columns, was_empty, planned_at)"
            " values ('raw_bitrix.letters', 'first_copy', 'x', '', true, %s)",
            [NOW],
        )
        connection.execute(
            "insert into ops.copy_ranges (copy_id, number, target, expected_rows)"
            " select copy_id, number, target, 5 from ops.copies, generate_series(1, 3) as number where outcome is null"
        )
    letters = read_status(copied, at=NOW)[1]
    assert (letters.ranges_done, letters.ranges) == (0, 3)
    assert "first copy, 0 of 3 ranges" in as_text([letters], at=NOW)


def test_programs_get_json(copied: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line prints the same rows; a wrong address is one sentence and a failure."""
    assert main(["status", "--json", "--dsn", copied]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["table"] for row in printed] == ["raw_bitrix.events", "raw_bitrix.letters"]
    assert [row["rows"] for row in printed] == [row.rows for row in read_status(copied, at=NOW)]
    assert main(["status", "--dsn", "postgresql://nobody@127.0.0.1:1/none"]) == 1
    assert "warehouse" in capsys.readouterr().err


def test_the_address_comes_from_where_it_is() -> None:
    """Our variable first, then the connections Airflow's own processes have; none is an error that names it."""
    assert warehouse_dsn({"AIRFLOW_CONN_WAREHOUSE_SYNC": "postgresql://a/b"}) == "postgresql://a/b"
    both = {"LETTERTRAIL_WAREHOUSE_DSN": "postgresql://c/d", "AIRFLOW_CONN_WAREHOUSE_SYNC": "postgresql://a/b"}
    assert warehouse_dsn(both) == "postgresql://c/d"
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_WAREHOUSE_DSN"):
        warehouse_dsn({"AIRFLOW_CONN_WAREHOUSE_SYNC": '{"conn_type": "postgres"}'})
