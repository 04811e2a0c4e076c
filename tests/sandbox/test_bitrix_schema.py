"""The DDL says what `bitrix_columns.csv` says, for every table."""

from __future__ import annotations

from lettertrail.sandbox.bitrix_schema import ALIKE, tables
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import connect


def test_every_table_of_the_reference_exists_with_its_columns(bitrix_site_small: Site) -> None:
    """The database has the 152 tables and two that look like one of them, with exactly the CSV's columns, in order."""
    with connect(bitrix_site_small.reader_dsn) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
            "ORDER BY table_name, ordinal_position"
        )
        found: dict[str, list[str]] = {}
        for table, column in cursor.fetchall():
            found.setdefault(table, []).append(column)
    assert len(found) == 152 + len(ALIKE)
    assert found["b_utm_crm_lead"] == found["b_utm_crm_company"] == found["b_utm_crm_contact"]
    assert found == {name: list(table.column_names) for name, table in tables().items()}


def test_types_defaults_and_keys_are_kept(bitrix_site_small: Site) -> None:
    """Unsigned, decimals, defaults, ON UPDATE, prefix lengths and unique keys come through."""
    with connect(bitrix_site_small.reader_dsn) as connection:
        cursor = connection.cursor()
        ddl = {}
        for table in ("b_sender_posting_recipient", "b_crm_deal", "b_crm_status", "b_sale_basket", "b_user"):
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            ddl[table] = cursor.fetchone()[1]
    recipient = ddl["b_sender_posting_recipient"]
    assert "`DATE_UPDATE` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp()" in recipient
    assert "(`POSTING_ID`,`CONTACT_ID`)" in recipient.split("UNIQUE KEY")[1].splitlines()[0]
    assert "`IS_READ` char(1) NOT NULL DEFAULT 'N'" in recipient
    assert "`ID` int(10) unsigned NOT NULL AUTO_INCREMENT" in ddl["b_crm_deal"]
    assert "(`ORIGIN_ID`(155),`ORIGINATOR_ID`(155))" in ddl["b_crm_deal"]
    assert "`OPPORTUNITY` decimal(18,2)" in ddl["b_crm_deal"]
    assert "`SYSTEM` char(1) NOT NULL" in ddl["b_crm_status"]
    assert "`QUANTITY` double(18,4) NOT NULL" in ddl["b_sale_basket"]
    assert "`TIMESTAMP_X` timestamp NULL DEFAULT NULL" in ddl["b_user"]


def test_late_keys_are_the_keys_left_out() -> None:
    """A table made without keys and given them later has every key once."""
    for table in tables().values():
        secondary = [key for key in table.keys if key.kind != "PRI"]
        assert table.ddl(with_keys=False).count("KEY `") == 0
        if secondary:
            assert table.add_keys().count("KEY `") == table.ddl().count("KEY `") == len(secondary)
