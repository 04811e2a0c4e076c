"""Doors open on good data, stay shut on broken data, and name the expectation that failed but nobody's row."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.expectations.raw_data import LOADS, NOON, RawData

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError, ContractError, QualityGateFailed
from lettertrail.expectations.door import DoorResult, check_door


@pytest.fixture
def data(warehouse_dsn: str) -> RawData:
    """A warehouse that is right."""
    return RawData(warehouse_dsn)


def open_door(data: RawData, door: str, gx_root: Path) -> DoorResult:
    return check_door(door, warehouse_dsn=data.dsn, gx_root=gx_root, run_id="run", clock=fixed_clock(NOON))


def test_doors_open_on_good_data(data: RawData, tmp_path: Path) -> None:
    """Every suite is recorded, and each door has its Data Docs."""
    results = [open_door(data, door, tmp_path) for door in ("raw_bitrix", "raw_esp", "segments")]

    checks = data.checks()
    assert len(checks) == sum(result.suites for result in results)
    assert all(check["success"] and check["failed"] == 0 for check in checks)
    assert sum(check["evaluated"] for check in checks) == sum(result.evaluated for result in results)
    assert [result.warnings for result in results] == [(), (), ()]
    for result in results:
        assert result.data_docs == tmp_path / result.door / "index.html"
        assert "html" in result.data_docs.read_text(encoding="utf-8")
        assert list(result.data_docs.parent.glob("validations/**/*.html"))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        ("drop table raw_bitrix.b_crm_contact cascade", r"raw_bitrix.tables: \w+contain_set\(table_name\)"),
        ("truncate raw_bitrix.b_crm_field_multi", r"b_crm_field_multi: \w+row_count\w+"),
        ("update raw_bitrix.b_crm_contact set id = null where id = 3", r"b_crm_contact: \w+not_be_null\(id\)"),
        ("update raw_bitrix.b_crm_contact set id = 1 where id = 2", r"b_crm_contact: \w+be_unique\(id\)"),
        (
            "update raw_bitrix.b_sender_posting_recipient set status = 'Q' where id = 5",
            r"b_sender_posting_recipient: \w+in_set\(status\)",
        ),
        (
            "update raw_bitrix.b_sender_posting set date_sent = date_send - interval '1 s' where id = 2",
            r"b_sender_posting: \w+greater_than_b\(date_sent, date_send\)",
        ),
        (
            "update raw_bitrix.b_sender_posting_recipient set posting_id = 99 where id <= 6",
            r"raw_bitrix.relations: \w+between\(recipients_without_posting\)",
        ),
        (
            "alter table raw_bitrix.b_sender_posting_read drop column posting_id",
            r"b_sender_posting_read: \w+not_be_null\(posting_id\) could not be evaluated",
        ),
        (
            "truncate ops.loads cascade;" + LOADS % {"deleted": 31},
            r"raw_bitrix.volumes: \w+between\(b_crm_contact\)",
        ),
        (
            "update ops.loads set read = read + 2, quarantined = 2",
            r"raw_bitrix.volumes: \w+between\(quarantined_share\)",
        ),
    ],
)
def test_raw_bitrix_stays_shut(data: RawData, tmp_path: Path, break_it: str, said: str) -> None:
    """Each kind of damage is named by suite, expectation and column, and by nothing else."""
    data.execute(break_it)

    with pytest.raises(QualityGateFailed, match=f"door raw_bitrix stays shut: [^;]*{said}[^;]*$"):
        open_door(data, "raw_bitrix", tmp_path)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        ("truncate raw_esp.contacts", r"raw_esp.contacts: \w+row_count\w+"),
        ("update raw_esp.contacts set status = 'unknown' where external_id like 'l:1%'", r"\(unknown_share\)"),
        ("update raw_esp.contacts set email = 'Person1@Example.com' where external_id = 'l:1'", "odd_addresses"),
        ("update raw_esp.events set event_type = 'unknown' where external_id like 'e1%'", r"\(unknown_share\)"),
        (
            "update raw_esp.events set occurred_at = '2026-11-01 12:11+00' where external_id = 'e1'",
            r"raw_esp.events: \w+between\(in_future\)",
        ),
        ("update raw_esp.events set campaign_id = 'gone' where external_id like 'e1%'", r"\(orphan_share\)"),
        (
            "update raw_esp.events set email = null, contact_id = null where external_id = 'e1'",
            r"raw_esp.events: \w+between\(nobodys\)",
        ),
    ],
)
def test_raw_esp_stays_shut(data: RawData, tmp_path: Path, break_it: str, said: str) -> None:
    """What an adapter did not understand, or dated wrongly, keeps the door shut."""
    data.execute(break_it)

    with pytest.raises(QualityGateFailed, match=f"door raw_esp stays shut: [^;]*{said}[^;]*$"):
        open_door(data, "raw_esp", tmp_path)


@pytest.mark.parametrize("change", ["campaign_id = 'new'", "event_type = 'unknown'"])
def test_a_webhook_does_not_shut_the_door(data: RawData, tmp_path: Path, change: str) -> None:
    """It may come before the poll that knows its letter, and a single one may be all that an account has."""
    data.execute(f"update raw_esp.events set source = 'webhook', {change} where external_id like 'e1%'")

    open_door(data, "raw_esp", tmp_path)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        ("update segments.seg_lapsed set email = null where person_id = '3'", r"not_be_null\(email\)"),
        ("update segments.seg_lapsed set email = 'person4@example.com' where person_id = '3'", r"unique\(email\)"),
        ("update segments.seg_lapsed set email = 'Ann <ann@example.com>' where person_id = '3'", r"regex\(email\)"),
        ("alter table segments.seg_lapsed drop column person_id", r"\(person_id\) could not be evaluated"),
    ],
)
def test_segments_stay_shut(data: RawData, tmp_path: Path, break_it: str, said: str) -> None:
    """One suite holds for every published segment."""
    data.execute(break_it)

    with pytest.raises(QualityGateFailed, match=f"door segments stays shut: segments.seg_lapsed: [^;]*{said}[^;]*$"):
        open_door(data, "segments", tmp_path)


def test_a_suspicious_segment_is_pointed_out_but_let_through(data: RawData, tmp_path: Path) -> None:
    """A jump in size, and mostly suppressed people, are warnings: the plan and the brake deal with both."""
    open_door(data, "segments", tmp_path)
    data.execute("delete from segments.seg_lapsed where person_id::int > 15")

    result = open_door(data, "segments", tmp_path)

    assert {warning.rpartition("(")[2] for warning in result.warnings} == {"size)", "suppressed_share)"}
    figures = data.checks()[-1]
    assert (figures["success"], figures["failed"], len(figures["details"]["warnings"])) == (True, 0, 2)


def test_an_empty_segment_is_no_fault_of_the_data(data: RawData, tmp_path: Path) -> None:
    """The brake decides about empty segments; the suite has nothing to divide by zero."""
    data.execute("truncate segments.seg_lapsed")

    assert open_door(data, "segments", tmp_path).suites == 2


def test_a_shut_door_is_recorded_and_rewrites_data_docs(data: RawData, tmp_path: Path) -> None:
    """The ledger has the failed suite beside the good ones, and the page shows the last run only."""
    open_door(data, "raw_esp", tmp_path)
    data.execute("truncate raw_esp.contacts")

    with pytest.raises(QualityGateFailed, match="Data Docs: "):
        open_door(data, "raw_esp", tmp_path)

    latest = {check["suite"]: check for check in data.checks()[3:]}
    assert {suite: check["success"] for suite, check in latest.items()} == {
        "raw_esp.campaigns": True,
        "raw_esp.contacts": False,
        "raw_esp.events": True,
    }
    assert latest["raw_esp.contacts"]["details"]["failed"] == ["expect_table_row_count_to_be_between"]
    assert len(list((tmp_path / "raw_esp").glob("validations/raw_esp/contacts/**/*.html"))) == 1


def test_neither_password_nor_addresses_get_out(
    data: RawData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages, log lines, the error and the ledger hold names and counts only."""
    caplog.set_level("DEBUG")
    data.execute("update segments.seg_lapsed set email = 'not an address' where person_id = '3'")
    data.execute("update segments.seg_lapsed set email = 'person4@example.com' where person_id = '5'")

    with pytest.raises(QualityGateFailed) as caught:
        open_door(data, "segments", tmp_path)

    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    password = urlsplit(data.dsn).password
    assert password
    assert len(written) >= 3
    for text in (*written, caplog.text, str(caught.value), str(data.checks())):
        assert password not in text
        assert "@example.com" not in text
        assert "not an address" not in text


def test_unknown_doors_are_refused(data: RawData, tmp_path: Path) -> None:
    """The error lists the doors there are."""
    with pytest.raises(ConfigurationError, match="raw_bitrix, raw_esp, segments"):
        open_door(data, "cellar", tmp_path)


def test_unpublished_segments_keep_the_door_shut(data: RawData, tmp_path: Path) -> None:
    """With nothing published nobody knows what to check, and that is not a pass."""
    data.execute("truncate ops.segments")

    with pytest.raises(ContractError, match="no segment was published"):
        open_door(data, "segments", tmp_path)
