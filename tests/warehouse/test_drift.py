"""A raw table follows its source's columns: nothing is lost, nothing is said twice, and views go on working."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from lettertrail.bitrix.catalog import CONTENT_KEY, TableEntry, load_catalog
from lettertrail.bitrix.columns import Column
from lettertrail.errors import ContractError
from lettertrail.warehouse.drift import aside_name, fit
from lettertrail.warehouse.target import OUR_COLUMNS, Target, ensure_missing, ensure_target

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
LONG = "uf_crm_a_custom_field_with_a_name_of_fifty_letters"
CATALOG = {entry.name: entry for entry in load_catalog()}


@dataclass
class Raw:
    """A raw table, and a source whose columns the test changes."""

    connection: psycopg.Connection[Any]
    entry: TableEntry = field(
        default_factory=lambda: TableEntry("things", "One row per thing.", "full", ("id",), "Small.", range_by="id")
    )

    def ensure(self, at: datetime = NOW, **types: str) -> list[str]:
        """One load's look at the columns; returns what it said."""
        return self.target(at, **types)[1]

    def target(self, at: datetime = NOW, **types: str) -> tuple[Target, list[str]]:
        """The same with the target."""
        columns = tuple(Column(name, "", "", "text", kind) for name, kind in types.items())
        with self.connection.transaction():
            target, notices = ensure_target(self.connection, self.entry, columns, at=at)
            # What a load does once it has told them.
            self.connection.execute("delete from ops.untold_notices")
            return target, notices

    def run(self, statement: str) -> None:
        self.connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def types(self) -> dict[str, str]:
        """Column -> type, without ours."""
        rows = self.rows(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            f" where attrelid = 'raw_bitrix.{self.entry.name}'::regclass and attnum > 0 and not attisdropped"
        )
        return {name: kind for name, kind in rows if name not in OUR_COLUMNS}


@pytest.fixture
def raw(warehouse_dsn: str) -> Iterator[Raw]:
    """A table of three rows: an id, an amount and a word."""
    with psycopg.connect(warehouse_dsn, autocommit=True) as connection:
        made = Raw(connection)
        made.ensure(id="integer", amount="numeric(18,2)", word="text")
        made.run("insert into raw_bitrix.things values (1, 1.25, 'a', 11), (2, null, 'b', 12), (3, 3.50, 'c', 13)")
        made.run("update raw_bitrix.things set _deleted_at = now() where id = 3")
        yield made


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ("integer", "integer", "same"),
        ("integer", "bigint", "widens"),
        ("bigint", "integer", "holds"),
        ("smallint", "numeric(20,0)", "widens"),
        ("bigint", "numeric(18,0)", "differs"),
        ("integer", "numeric(11,2)", "differs"),
        ("numeric(18,2)", "numeric(20,4)", "widens"),
        ("numeric(18,2)", "numeric(18,4)", "differs"),
        ("numeric(18,4)", "numeric(10,2)", "holds"),
        ("numeric(18,2)", "numeric", "widens"),
        ("numeric", "numeric(18,2)", "holds"),
        ("numeric", "bigint", "holds"),
        ("integer", "double precision", "widens"),
        ("bigint", "double precision", "differs"),
        ("double precision", "numeric(18,2)", "differs"),
        ("date", "timestamp", "widens"),
        ("timestamp", "date", "holds"),
        ("numeric(18,2)", "text", "widens"),
        ("text", "integer", "differs"),
        ("bytea", "text", "differs"),
        ("text", "bytea", "differs"),
    ],
)
def test_which_type_holds_which(held: str, wanted: str, expected: str) -> None:
    """Widening is lossless or it is none."""
    assert fit(held, wanted) == expected


def test_a_new_column_is_added_and_said_once(raw: Raw) -> None:
    """Custom fields appear by themselves, also with the longest name Bitrix allows."""
    columns = {"id": "integer", "amount": "numeric(18,2)", "word": "text", LONG: "text"}
    assert raw.ensure(**columns) == [f"column {LONG} text is new in the source; added"]
    assert raw.ensure(**columns) == []
    assert raw.types()[LONG] == "text"


def test_a_column_that_is_gone_stays_and_may_come_back(raw: Raw) -> None:
    """It is said once when it goes and once when it comes back; its values were never touched."""
    without = {"id": "integer", "word": "text"}
    assert raw.ensure(**without) == ["column amount is gone from the source; kept here"]
    assert raw.ensure(**without) == []
    assert raw.ensure(**without, amount="numeric(18,2)") == ["column amount is back in the source"]
    assert raw.ensure(**without, amount="numeric(18,2)") == []
    assert raw.rows("select amount from raw_bitrix.things where id = 1") == [(Decimal("1.25"),)]


def test_a_column_that_grew_is_widened_in_place(raw: Raw) -> None:
    """Also the key, while no view stands on the table."""
    notices = raw.ensure(id="bigint", amount="numeric(20,4)", word="text")
    assert notices == [
        "column id changed from integer to bigint",
        "column amount changed from numeric(18,2) to numeric(20,4)",
    ]
    assert raw.types() == {"id": "bigint", "amount": "numeric(20,4)", "word": "text"}
    assert raw.ensure(id="bigint", amount="numeric(20,4)", word="text") == []


def test_a_type_that_got_smaller_is_still_held(raw: Raw) -> None:
    """Nothing has to change, so nothing does."""
    assert raw.ensure(id="smallint", amount="numeric(10,2)", word="text") == []
    assert raw.types() == {"id": "integer", "amount": "numeric(18,2)", "word": "text"}


def test_a_view_does_not_stop_a_column_from_widening(raw: Raw) -> None:
    """The view goes on with the old column until dbt builds it anew; the new one holds every value already."""
    view = "create view staged as with source as (select * from raw_bitrix.things) select id, amount from source"
    raw.run(view)
    notices = raw.ensure(id="bigint", amount="numeric(20,4)", word="text")
    assert notices == [
        "column id widened from integer to bigint; views read id__until_20261101 until they are built anew",
        "column amount widened from numeric(18,2) to numeric(20,4); views read amount__until_20261101 until they are"
        " built anew",
    ]
    assert raw.rows("select id, amount, _row_hash from raw_bitrix.things order by id") == [
        (1, Decimal("1.2500"), 11), (2, None, 12), (3, Decimal("3.5000"), 13),
    ]  # fmt: skip
    assert raw.rows("select id, amount from staged order by id") == [
        (1, Decimal("1.25")), (2, None), (3, Decimal("3.50")),
    ]  # fmt: skip
    raw.run("insert into raw_bitrix.things (id, amount) values (3000000000, 12345.6789)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        raw.run("insert into raw_bitrix.things (id) values (1)")
    assert raw.ensure(id="bigint", amount="numeric(20,4)", word="text") == []
    # What dbt does: a new view beside the old one, then the names change hands.
    raw.run("alter view staged rename to staged__backup")
    raw.run(view)
    raw.run("drop view staged__backup")
    assert raw.rows("select amount from staged where id = 3000000000") == [(Decimal("12345.6789"),)]


@pytest.mark.parametrize("with_view", [False, True])
def test_values_that_do_not_fit_the_new_type_move_aside(raw: Raw, with_view: bool) -> None:
    """The old ones keep their column, the new one is empty, and every row will look changed to the next load."""
    if with_view:
        raw.run("create view staged as select id, word from raw_bitrix.things")
    target, notices = raw.target(id="integer", amount="numeric(18,2)", word="integer")
    assert notices == ["column word changed from text to integer; old values are in word__until_20261101, copied anew"]
    assert target.types["word"] == "integer"
    assert raw.rows("select id, word, word__until_20261101, _row_hash from raw_bitrix.things order by id") == [
        (1, None, "a", None), (2, None, "b", None), (3, None, "c", None),
    ]  # fmt: skip
    assert raw.ensure(id="integer", amount="numeric(18,2)", word="integer") == []
    if with_view:
        assert raw.rows("select word from staged where id = 1") == [("a",)]
    # Back again within the day: another name, nothing overwritten.
    raw.ensure(id="integer", amount="numeric(18,2)", word="bytea")
    assert {"word", "word__until_20261101", "word__until_20261101_2"} <= raw.types().keys()


def test_rows_known_by_their_content_are_copied_anew_too(raw: Raw) -> None:
    """Their hash is their key and cannot be null; no row of the source has the one they get."""
    raw.entry = TableEntry("loose", "One row per row.", "full", CONTENT_KEY, "Small.")
    raw.ensure(word="text")
    raw.run("insert into raw_bitrix.loose values ('a', 11), ('b', -99)")
    raw.ensure(word="bytea")
    assert raw.rows("select word, word__until_20261101, _row_hash from raw_bitrix.loose order by 2") == [
        (None, "a", ~11), (None, "b", ~-99),
    ]  # fmt: skip


def test_a_key_that_changed_is_named(raw: Raw) -> None:
    """There is no way to tell which row is which any more, so a person decides."""
    with pytest.raises(ContractError, match="things: the key id changed from integer to bytea") as caught:
        raw.ensure(id="bytea", amount="numeric(18,2)", word="text")
    assert "drop the raw table to copy it anew" in str(caught.value)
    raw.entry = TableEntry("things", "One row per thing.", "full", ("id", "word"), "Small.", range_by="id")
    with pytest.raises(ContractError, match="is keyed by id, the catalogue says id, word; drop the raw table"):
        raw.ensure(id="integer", amount="numeric(18,2)", word="text")


def test_a_column_that_may_not_be_copied_any_more_is_erased(raw: Raw) -> None:
    """A name put on the deny list takes the values that were copied before with it."""
    raw.entry = TableEntry(
        "things", "One row per thing.", "full", ("id",), "Small.", range_by="id", deny=frozenset({"word"})
    )
    columns = {"id": "integer", "amount": "numeric(18,2)"}
    assert raw.ensure(**columns) == ["column word must not be copied; its values were erased"]
    assert raw.rows("select count(word) from raw_bitrix.things") == [(0,)]
    assert raw.ensure(**columns) == []


def test_a_new_column_never_breaks_a_view(raw: Raw) -> None:
    """Staging names its columns, so a view that is made again after one more column came is the same view."""
    view = "with source as (select * from raw_bitrix.things) select id, word as name from source"
    raw.run(f"create view staged as {view}")
    raw.ensure(id="integer", amount="numeric(18,2)", word="text", first="text")
    raw.run(f"create or replace view staged as {view}")
    assert raw.rows("select name from staged where id = 2") == [("b",)]


def test_a_missing_table_is_made_empty_and_said_once(raw: Raw) -> None:
    """A module that is not installed: models build on an empty table with its types, and without secrets."""
    raw.entry = CATALOG["b_user"]
    assert ensure_missing(raw.connection, raw.entry, at=NOW) == [
        "table is not in the source (module not installed, or not shown by the cloud); made empty"
    ]
    types = raw.types()
    assert (types["id"], types["timestamp_x"], types["login"]) == ("integer", "timestamp without time zone", "text")
    assert not {"password", "checkword", "stored_hash", "confirm_code"} & types.keys()
    assert raw.rows("select count(*) from raw_bitrix.b_user") == [(0,)]
    assert ensure_missing(raw.connection, raw.entry, at=NOW + timedelta(days=1)) == []


def test_a_table_that_comes_back_is_followed_again(raw: Raw) -> None:
    """Its rows are never marked as deleted for want of a table; when it is there again, it is said."""
    columns = {"id": "integer", "amount": "numeric(18,2)", "word": "text"}
    assert ensure_missing(raw.connection, raw.entry, at=NOW) == [
        "table is gone from the source; its rows are kept as they are"
    ]
    assert ensure_missing(raw.connection, raw.entry, at=NOW) == []
    assert raw.rows("select count(*) from raw_bitrix.things where _deleted_at is null") == [(2,)]
    assert raw.ensure(**columns, more="text") == [
        "table is in the source now",
        "column more text is new in the source; added",
    ]
    assert raw.ensure(**columns, more="text") == []


def test_every_table_of_the_catalogue_can_be_missing(raw: Raw) -> None:
    """Made from the reference it has its key and its parsed columns, so nothing surprises the day it appears."""
    for entry in CATALOG.values():
        assert ensure_missing(raw.connection, entry, at=NOW)
        raw.entry = entry
        held = raw.types()
        assert {*entry.key} - {*CONTENT_KEY} <= held.keys()
        assert {f"{name}__json" for name in entry.php} <= held.keys()


def test_a_table_nobody_knows_is_said_to_be_missing(raw: Raw) -> None:
    """An entry for a table of the site's own: without it there is nothing to make."""
    raw.entry = TableEntry("b_own", "One row per own.", "full", ("id",), "Small.")
    assert ensure_missing(raw.connection, raw.entry, at=NOW) == [
        "table is neither in the source nor in the reference; nothing to copy"
    ]


def test_an_aside_name_fits_and_is_free() -> None:
    """PostgreSQL cuts names at 63 bytes; a cut name must not hit another column."""
    name = aside_name(LONG, NOW, taken=())
    assert len(name) <= 63
    assert name.endswith("__until_20261101")
    assert aside_name(LONG, NOW, taken={name}) == f"{LONG[:45]}__until_20261101_2"
