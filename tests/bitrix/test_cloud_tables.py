"""What the cloud gives, column by column, against the database of the same site as the SQL transport reads it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.bitrix.cloud_portal import ENTRIES, NOW, ZONE, Portal, cloned, read, running

from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.cloud_rows import php_array
from lettertrail.bitrix.cloud_tables import TABLES
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import KeyRange
from lettertrail.bitrix.reference import reference_columns
from lettertrail.bitrix.sql import SqlSource
from lettertrail.errors import TableMissing
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import MariaDb

Row = dict[str, Any]

ONLY_IN_THE_DATABASE = {
    # Rows REST does not list, and how many the sample site has at least.
    "b_crm_field_multi": "entity_id like 'SUS_%'",
    "b_crm_utm": "entity_type_id not in (1, 2, 3, 4)",
    "b_crm_product_row": "owner_type not in ('D', 'L')",
    "b_sale_basket": "order_id is null",
    "b_user": "external_auth_id is not null",
}
EMPTY_ARRAYS = {"a:0:{}", "b:0;"}


@pytest.fixture(scope="module")
def portal(bitrix_site_small: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """The sample site as a portal; nobody changes it here."""
    with running(bitrix_site_small.owner_dsn, tmp_path_factory.mktemp("portal"), application=None) as portal:
        yield portal


@pytest.fixture(scope="module")
def cloud(portal: Portal) -> CloudSource:
    """The portal as a source, for tests that do not mind what was read before."""
    return portal.source()


@pytest.fixture(scope="module")
def database(portal: Portal) -> SqlSource:
    """The same site's database as a source."""
    return SqlSource(portal.dsn, ZONE)


def test_every_table_is_in_the_catalogue() -> None:
    """What the cloud can fill is copied."""
    assert set(TABLES) - set(ENTRIES) == set()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_fields_name_columns_of_the_reference(name: str) -> None:
    """A misspelt column would be NULL for ever."""
    known = {column.name for column in reference_columns(name)}
    assert {column for column in TABLES[name].fields if not column.startswith("uf_")} <= known


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_the_cloud_fills_is_the_database_s(
    portal: Portal, cloud: CloudSource, database: SqlSource, name: str
) -> None:
    """Same columns, same rows, same values; what REST does not give is NULL in every row."""
    entry, table = ENTRIES[name], TABLES[name]
    columns = cloud.columns(entry)
    types = {column.name: column.pg_type for column in database.columns(entry)}
    assert {column.name for column in columns} == set(types)
    assert {column.name for column in columns if types[column.name] != column.pg_type} <= set(table.wide)
    mine = {_key(name, row): row for row in read(cloud, entry)}
    theirs = {_key(name, row): row for row in _database_rows(database, name)}
    hidden = portal.rows(f"select * from {name} where {ONLY_IN_THE_DATABASE.get(name, 'false')}")
    only_theirs = theirs.keys() - mine.keys()
    assert mine.keys() - theirs.keys() == set()
    assert only_theirs <= {_key(name, row) for row in hidden}
    assert len(mine) > 0
    for column in columns:
        is_given = column.name in table.fields or column.name.startswith("uf_")
        for key, row in mine.items():
            want = _as_the_cloud_can(column, theirs[key][column.name], table.empty_is_null) if is_given else None
            if name.startswith("b_utm_") and column.name == "id":
                continue
            assert _plain(row[column.name]) == want, f"{name} {key}: {column.name}"


def test_a_table_rest_cannot_give_is_missing_with_the_reason(cloud: CloudSource) -> None:
    """Mailings above all."""
    for name, entry in ENTRIES.items():
        if name not in TABLES:
            with pytest.raises(TableMissing, match=f"cannot give table {name}: "):
                cloud.columns(entry)
    with pytest.raises(TableMissing, match="REST has no mailings"):
        cloud.columns(ENTRIES["b_sender_posting_recipient"])


def test_hashes_are_the_same_in_every_run(portal: Portal) -> None:
    """And differ between rows."""
    first = {row["id"]: row["_row_hash"] for row in read(portal.source(), ENTRIES["b_crm_contact"])}
    second = {row["id"]: row["_row_hash"] for row in read(portal.source(), ENTRIES["b_crm_contact"])}
    assert first == second
    assert len(set(first.values())) == len(first)
    assert all(-(2**63) <= value < 2**63 for value in first.values())


def test_one_list_serves_all_its_tables(portal: Portal) -> None:
    """Six tables of contacts cost one reading of the contacts."""
    source = portal.source()
    portal.hits()
    for name in ("b_crm_contact", "b_uts_crm_contact", "b_utm_crm_contact", "b_crm_contact_company"):
        read(source, ENTRIES[name])
    once = portal.hits()["crm.item.list"]
    cards = portal.one("select count(*) from b_crm_contact")
    assert once <= cards // 50 + 1 + 4  # pages, and what is asked to know that and where the list is
    read(source, ENTRIES["b_crm_contact"])
    assert portal.hits()["crm.item.list"] == 0


def test_a_custom_field_appears_by_itself(mariadb: MariaDb, bitrix_site_small: Site, tmp_path: Path) -> None:
    """Made the day before, with a value on one deal; one that is called like a secret does not."""
    with running(cloned(mariadb.dsn, bitrix_site_small.owner_dsn), tmp_path) as changed:
        deal = changed.one("select min(ID) from b_crm_deal")
        changed.call("crm.deal.userfield.add", fields={"FIELD_NAME": "NPS", "USER_TYPE_ID": "integer"})
        changed.call("crm.deal.userfield.add", fields={"FIELD_NAME": "API_TOKEN", "USER_TYPE_ID": "string"})
        changed.call("crm.deal.update", id=deal, fields={"UF_CRM_NPS": 9, "UF_CRM_API_TOKEN": "t0ken"})
        source = changed.source()
        assert {"uf_crm_nps": "integer"}.items() <= {
            column.name: column.pg_type for column in source.columns(ENTRIES["b_uts_crm_deal"])
        }.items()
        rows = read(source, ENTRIES["b_uts_crm_deal"])
        assert "t0ken" not in str(rows)
        found = {row["value_id"]: row["uf_crm_nps"] for row in rows}
        assert {card: value for card, value in found.items() if value is not None} == {deal: 9}


def test_php_arrays_count_bytes() -> None:
    """As the database holds multiple fields."""
    assert php_array(["Бег", 5, None, 1.5]) == 'a:4:{i:0;s:6:"Бег";i:1;i:5;i:2;N;i:3;d:1.5;}'


def _database_rows(source: SqlSource, name: str) -> list[Row]:
    columns = source.columns(ENTRIES[name])
    rows = source.read_ranges(ENTRIES[name], columns, [KeyRange()])
    kinds = {column.name: column for column in columns}
    found = [row for batch in rows for row in batch.to_pylist()]
    for row in found:
        for column, value in row.items():
            if column in kinds and kinds[column].is_session_time and value is not None:
                row[column] = value.replace(tzinfo=NOW.tzinfo).astimezone(ZONE).replace(tzinfo=None)
    return found


def _key(name: str, row: Row) -> tuple[str, ...]:
    if name.startswith("b_utm_"):
        # Their id is ours: a row is its value.
        columns: tuple[str, ...] = ("value_id", "field_id", "value", "value_int", "value_double", "value_date")
    else:
        columns = ENTRIES[name].key
    return tuple(str(row[column]) for column in columns)


def _as_the_cloud_can(column: Column, value: Any, empty_is_null: bool) -> Any:
    """A value of the database, less what REST cannot tell apart."""
    if (value == "" and empty_is_null) or (column.name.startswith("uf_") and value in EMPTY_ARRAYS):
        return None
    return _plain(value)


def _plain(value: Any) -> Any:
    """Decimals are compared as numbers; on the wire they are texts."""
    if isinstance(value, str):
        try:
            return Decimal(value) if value.replace(".", "", 1).lstrip("-").isdigit() and "." in value else value
        except ArithmeticError:
            return value
    return value
