"""REST's values as a database would hold them, where the sample portal cannot show the difference."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from tests.bitrix.cloud_portal import ENTRIES, ZONE

from lettertrail.bitrix.cloud_feeds import FEEDS
from lettertrail.bitrix.cloud_rows import RowMaker, cloud_columns, row_hash
from lettertrail.bitrix.cloud_tables import TABLES
from lettertrail.bitrix.port import Unreadable
from lettertrail.bitrix.reference import reference_columns


def made(name: str, *rows: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Unreadable]]:
    """The table's rows out of rows of its first list."""
    table, unreadable = TABLES[name], list[Unreadable]()
    columns = [column for column in cloud_columns(reference_columns(name)) if ENTRIES[name].extracts(column.name)]
    maker = RowMaker(table, columns, ZONE, rows_of=table.rows, unreadable=unreadable)
    feed = FEEDS[table.feeds[0]]
    return [row for batch in maker.batches((feed, row) for row in rows) for row in batch.to_pylist()], unreadable


def deal(**fields: Any) -> dict[str, Any]:
    """The only row of a deal with these fields."""
    (row,), unreadable = made("b_crm_deal", {"id": 1, **fields})
    assert unreadable == []
    return row


@pytest.mark.parametrize(
    ("printed", "stored"),
    [
        ("2026-05-17T10:00:00+03:00", datetime(2026, 5, 17, 10)),
        ("2026-05-17T12:00:00+05:00", datetime(2026, 5, 17, 10)),  # the user lives elsewhere
        ("2026-05-17T03:00:00+03:00", datetime(2026, 5, 17, 3)),  # three in the morning, and no date
        ("2026-05-17T00:00:00+00:00", datetime(2026, 5, 17, 3)),
        ("", None),
        (None, None),
    ],
)
def test_times_are_naive_in_the_site_s_zone(printed: str | None, stored: datetime | None) -> None:
    """Whatever the zone of the user who asks."""
    assert deal(createdTime=printed)["date_create"] == stored


@pytest.mark.parametrize(
    ("printed", "stored"),
    [
        ("2024-08-30T02:00:00+02:00", datetime(2024, 8, 30)),
        ("2024-08-29T20:00:00-04:00", datetime(2024, 8, 30)),
        ("2024-08-30T00:00:00+03:00", datetime(2024, 8, 30)),
        ("2024-08-30T14:30:00+03:00", datetime(2024, 8, 30, 14, 30)),
    ],
)
def test_days_are_printed_as_midnight_utc(printed: str, stored: datetime) -> None:
    """Columns of type datetime that REST treats as dates, and may print as times all the same."""
    assert deal(closedate=printed)["closedate"] == stored


@pytest.mark.parametrize("printed", ["1990-05-17", "1990-05-17T03:00:00+03:00", "1990-05-16T20:00:00-04:00"])
def test_dates(printed: str) -> None:
    """The same day in every zone."""
    (row,), _ = made("b_crm_contact", {"id": 1, "birthdate": printed})
    assert row["birthdate"] == date(1990, 5, 17)


@pytest.mark.parametrize("printed", ["-0001-11-30T00:00:00+02:30", "0000-00-00 00:00:00"])
def test_zero_dates_are_null_and_counted(printed: str) -> None:
    """As PHP prints them."""
    row = deal(createdTime=printed, begindate=printed)
    assert (row["date_create"], row["begindate"], row["_zeroed"]) == (None, None, 2)


@pytest.mark.parametrize(
    ("given", "stored"),
    [(1234.5, "1234.50"), (10, "10.00"), ("0.1", "0.10"), (0.1 + 0.2, "0.30"), (None, None), ("", None)],
)
def test_amounts_have_the_column_s_digits(given: Any, stored: str | None) -> None:
    """Exact as long as JSON is."""
    assert deal(opportunity=given)["opportunity"] == stored


def test_null_empty_and_zero_stay_apart() -> None:
    """Texts keep '', numbers have no '', and what is not there is NULL."""
    row = deal(title="", originatorId=None, companyId=0, contactId="", opened=True, closed="N")
    assert (row["title"], row["originator_id"], row["company_id"], row["contact_id"]) == ("", None, 0, None)
    assert (row["opened"], row["closed"], row["opportunity_account"], row["exch_rate"]) == ("Y", "N", None, None)


def test_what_cannot_be_converted_is_handed_over_with_its_bytes() -> None:
    """The other rows come."""
    rows, (unreadable,) = made("b_crm_deal", {"id": 7, "createdTime": "gestern"}, {"id": 8})
    assert [row["id"] for row in rows] == [8]
    assert (unreadable.key, unreadable.reason) == ("7", "column date_create is no timestamp")
    assert bytes.fromhex(unreadable.raw["date_create"]).decode() == '"gestern"'


def test_hashes_tell_null_from_empty_and_columns_apart() -> None:
    """And fit a signed number of 64 bits."""
    rows: list[list[Any]] = [[None, "a"], ["", "a"], ["a", None], ["a", ""], ["ab", "c"], ["a", "bc"], [1], ["1", ""]]
    hashes = [row_hash(row) for row in rows]
    assert len(set(hashes)) == len(rows)
    assert all(-(2**63) <= value < 2**63 for value in hashes)
    assert row_hash([None, "a"]) == hashes[0]
