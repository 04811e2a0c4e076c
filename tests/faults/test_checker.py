"""The checker finds each kind of damage, and counts it."""

from __future__ import annotations

import psycopg
import pytest
from tests.faults.checker import Counts
from tests.faults.conftest import MakeScene

from lettertrail.sandbox.mariadb import connect


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("delete from raw_bitrix.deals where id <= 3", Counts(lost=3)),
        ("update raw_bitrix.deals set _deleted_at = now() where id = 5", Counts(lost=1)),
        ("update raw_bitrix.deals set title = title || ' ' where id in (5, 6)", Counts(different=2)),
        ("update raw_bitrix.deals set opportunity = opportunity + 0.01 where id = 5", Counts(different=1)),
        ("update raw_bitrix.deals set begun = '1970-01-01' where id = 50", Counts(different=1)),
        (
            "alter table raw_bitrix.deals drop constraint deals_pkey;"
            " insert into raw_bitrix.deals select * from raw_bitrix.deals where id = 7",
            Counts(duplicated=1),
        ),
        ("insert into raw_bitrix.deals (id, title, _load_id) values (99999, 'x', 1)", Counts(undeleted=1)),
    ],
)
def test_damage_to_the_copy_is_counted(copied: MakeScene, statement: str, expected: Counts) -> None:
    """Lost, duplicated, different and undeleted rows are told apart."""
    scene = copied("deals")
    assert scene.check().is_clean
    with psycopg.connect(scene.warehouse_dsn) as warehouse:
        warehouse.execute(statement.encode())
    assert scene.check().tables["deals"] == expected


def test_changes_of_the_source_are_counted(copied: MakeScene) -> None:
    """The same, seen from the other side."""
    scene = copied("links")
    source = connect(scene.source_dsn)
    for statement in (
        "delete from links where deal_id = 3",
        "insert into links values (3, 1, 'Y')",
        "update links set is_primary = '?' where deal_id = 9",
    ):
        source.cursor().execute(statement)
    source.commit()
    source.close()
    assert scene.check().tables["links"] == Counts(lost=1, different=2, undeleted=2)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update ops.loads set inserted = inserted - 1, unchanged = unchanged + 1", "its loads inserted"),
        ("update raw_bitrix.deals set _load_id = 12345 where id = 1", "1 rows of raw_bitrix.deals name a load"),
        ("create unlogged table ops.landing_deals (id int)", "ops.landing_deals was left behind"),
    ],
)
def test_books_that_do_not_balance_are_told(copied: MakeScene, statement: str, said: str) -> None:
    """Rows nobody accounts for and tables that should have gone."""
    scene = copied("deals")
    with psycopg.connect(scene.warehouse_dsn) as warehouse:
        warehouse.execute(statement.encode())
    assert any(said in line for line in scene.check().books)
