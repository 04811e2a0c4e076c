"""How relations come to be: what is left alone, what is made anew, and what goes on standing meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RepeatedDbt, new_load

from lettertrail.warehouse.embedded import EmbeddedPostgres

DEALS, LEADS = "staging.stg_bitrix__deals", "staging.stg_bitrix__leads"
LETTERS, CAMPAIGNS = "intermediate.int_letters", "intermediate.int_letter_campaigns"
INDEXES = (
    "select regexp_replace(indexdef, 'INDEX \\S+ ON', 'INDEX ON') from pg_indexes"
    " where schemaname = 'intermediate' and tablename = 'int_letters' order by 1"
)


@pytest.fixture(scope="module")
def repeated(
    built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RepeatedDbt]:
    """A copy of the built warehouse that the tests of this file share; each looks at relations of its own."""
    with copy_of_the_built(postgres) as dsn:
        yield RepeatedDbt(dsn, tmp_path_factory.mktemp("materializations"))


def values(repeated: RepeatedDbt, query: str) -> list[object]:
    """The first column of what a query gives."""
    with psycopg.connect(repeated.dsn) as connection:
        return [row[0] for row in connection.execute(query.encode()).fetchall()]


def change(repeated: RepeatedDbt, statement: str) -> None:
    """Somebody else's statement."""
    with psycopg.connect(repeated.dsn) as connection:
        connection.execute(statement.encode())


def number(repeated: RepeatedDbt, relation: str) -> object:
    """The relation's number in the catalogue, another one each time that it is made; None when it is not there."""
    return values(repeated, f"select cast(to_regclass('{relation}') as oid)")[0]


def test_a_view_is_made_anew_when_it_would_be_another(repeated: RepeatedDbt) -> None:
    """Another text, more columns below it, or not there: that makes a view, and nothing else does."""
    views = [DEALS.partition(".")[2], LEADS.partition(".")[2]]
    # in this copy they are views on tables of another database, so they are made anew once
    repeated.run(*views)
    first = [number(repeated, view) for view in (DEALS, LEADS)]
    repeated.run(*views)
    assert [number(repeated, view) for view in (DEALS, LEADS)] == first

    change(repeated, "alter table raw_bitrix.b_crm_deal add column uf_crm_new text")
    repeated.run(*views)
    more_columns = number(repeated, DEALS)
    assert more_columns != first[0]
    assert number(repeated, LEADS) == first[1]

    repeated.run(*views, variables={"source_timezone": "Asia/Tokyo"})
    another_text = number(repeated, DEALS)
    assert another_text != more_columns
    assert "Asia/Tokyo" in str(values(repeated, f"select pg_get_viewdef('{DEALS}'::regclass)")[0])

    change(repeated, f"drop view {DEALS} cascade")
    repeated.run(*views)
    assert number(repeated, DEALS) not in (None, another_text)


def test_a_table_is_put_in_the_place_of_the_one_that_stood(repeated: RepeatedDbt) -> None:
    """With its indexes, and with the view on it, which goes with the old one; nothing else is left behind."""
    before = [number(repeated, relation) for relation in (LETTERS, CAMPAIGNS)]
    rows = f"select md5(string_agg(letters::text, '|' order by letters::text)) from {LETTERS} as letters"
    content, indexes = values(repeated, rows), values(repeated, INDEXES)
    assert len(indexes) == 1

    repeated.run("int_letters")
    assert number(repeated, LETTERS) not in (None, before[0])
    assert number(repeated, CAMPAIGNS) is None
    assert (values(repeated, rows), values(repeated, INDEXES)) == (content, indexes)
    assert values(repeated, r"select relname from pg_class where relname like '%\_\_dbt\_%'") == []

    repeated.run("int_letters", "int_letter_campaigns")
    assert number(repeated, CAMPAIGNS) not in (None, before[1])


def test_a_table_stands_when_the_new_one_cannot_be_made(repeated: RepeatedDbt) -> None:
    """All of it or nothing, and the next run finds nothing in its way."""
    before = number(repeated, "marts.mart_letter_performance")
    change(repeated, "alter table marts.mart_letter_credits rename column credit to credit_gone")
    with pytest.raises(AssertionError, match="credit"):
        repeated.run("mart_letter_performance")
    change(repeated, "alter table marts.mart_letter_credits rename column credit_gone to credit")
    assert number(repeated, "marts.mart_letter_performance") == before
    repeated.run("mart_letter_performance")
    assert number(repeated, "marts.mart_letter_performance") != before


def test_a_column_that_a_table_does_not_have_is_added(repeated: RepeatedDbt) -> None:
    """As `on_schema_change` asks; the rows that are there say nothing of it, new ones do."""
    change(repeated, "alter table intermediate.int_loads drop column target")
    with psycopg.connect(repeated.dsn) as connection:
        load = new_load(connection, "raw_bitrix.b_lang")
    repeated.run("int_loads")
    told = "select load_id from intermediate.int_loads where target is not null"
    assert values(repeated, told) == [load]
    repeated.run("int_loads")
    assert values(repeated, told) == [load]
