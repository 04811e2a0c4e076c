"""Doors open on good data, stay shut on broken data, and name the expectation that failed but nobody's row."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from tests.expectations.raw_data import LOADS, NOON, WEEKDAYS, WEEKDAYS_TWICE, RawData

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError, ContractError, QualityGateFailed
from lettertrail.expectations import door as doors
from lettertrail.expectations.door import DoorResult, check_door
from lettertrail.expectations.raw_bitrix import STREAMS
from lettertrail.expectations.rhythm import rhythm
from lettertrail.warehouse.connect import connect


@pytest.fixture
def data(warehouse_dsn: str) -> RawData:
    """A warehouse that is right."""
    return RawData(warehouse_dsn)


def open_door(data: RawData, door: str, gx_root: Path, at: datetime = NOON) -> DoorResult:
    return check_door(
        door,
        warehouse_dsn=data.dsn,
        gx_root=gx_root,
        run_id="run",
        clock=fixed_clock(at),
        zone=ZoneInfo("Europe/Moscow"),
    )


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
        (
            "update raw_esp.contacts set status = 'unknown' where external_id like 'l:1%'",
            r"mailchimp: \w+between\(unknown_contacts\)",
        ),
        ("update raw_esp.contacts set email = 'Person1@Example.com' where external_id = 'l:1'", "odd_addresses"),
        ("update raw_esp.events set event_type = 'unknown' where external_id like 'e1%'", r"\(unknown_events\)"),
        (
            "update raw_esp.events set occurred_at = '2026-11-01 12:11+00' where external_id = 'e1'",
            r"raw_esp.mailchimp: \w+between\(events_in_future\)",
        ),
        ("update raw_esp.events set campaign_id = 'gone' where external_id like 'e1%'", r"\(orphan_events\)"),
        (
            "update raw_esp.events set email = null, contact_id = null where external_id = 'e1'",
            r"raw_esp.mailchimp: \w+between\(nobodys_events\)",
        ),
        (
            "insert into ops.loads select load_id + 100, run_id, target, strategy, null, null, 0, 0, 0, 0, 0, 31,"
            " started_at, finished_at, notices from ops.loads where target = 'raw_esp.contacts:mailchimp'",
            r"raw_esp.mailchimp.volumes: \w+between\(contacts\)",
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
        ("update segments.seg_lapsed set email = 'Ann <ann@example.com>' where person_id = '33'", r"regex\(email\)"),
        (
            "update segments.seg_lapsed set email = 'a@example.com,b@b.ru' where person_id = '33'",
            r"regex\(email\)",
        ),
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


def test_a_segment_without_people_keeps_the_door_shut(data: RawData, tmp_path: Path) -> None:
    """What the suites need of a segment is not there: both say so."""
    data.execute("alter table segments.seg_lapsed drop column person_id")

    with pytest.raises(QualityGateFailed, match=r"not_be_null\(person_id\) could not be evaluated"):
        open_door(data, "segments", tmp_path)


def test_nobody_who_left_gets_through_with_another_address(data: RawData, tmp_path: Path) -> None:
    """Person 5 left; the segment has them under an address that the suppression list does not know."""
    data.execute("update segments.seg_lapsed set email = 'private5@example.com' where person_id = '5'")

    with pytest.raises(QualityGateFailed, match=r"seg_lapsed.figures: \w+between\(suppressed_people_left\)\. "):
        open_door(data, "segments", tmp_path)

    assert [row["record"]["person_id"] for row in data.failed_rows()] == ["5"]


@pytest.mark.parametrize(
    "excuse",
    [
        "update marts.dim_suppression set state = 'hard_bounce'",
        "update marts.dim_suppression set is_from_other_email = false",
        "insert into marts.fct_suppression_evidence"
        " values ('private5@example.com', '5', 'everything', 'unsubscribed', true, false)",
    ],
)
def test_another_address_is_fine_where_only_the_address_is_suppressed(
    data: RawData, tmp_path: Path, excuse: str
) -> None:
    """A dead mailbox says nothing of another one, a project may let each speak for itself, and one may consent anew."""
    data.execute("update segments.seg_lapsed set email = 'private5@example.com' where person_id = '5'")
    data.execute(excuse)

    assert open_door(data, "segments", tmp_path).warnings == ()


def test_a_shut_door_is_recorded_and_writes_data_docs(data: RawData, tmp_path: Path) -> None:
    """The ledger has the failed suite beside the good ones; a check repeated for the same run replaces its page."""
    open_door(data, "raw_esp", tmp_path)
    data.execute("truncate raw_esp.contacts")

    with pytest.raises(QualityGateFailed, match="Data Docs: "):
        open_door(data, "raw_esp", tmp_path)

    checks = data.checks()
    latest = {check["suite"]: check for check in checks[len(checks) // 2 :]}
    assert {suite for suite, check in latest.items() if not check["success"]} == {"raw_esp.contacts"}
    assert len(latest) == 5
    assert latest["raw_esp.contacts"]["details"]["failed"] == ["expect_table_row_count_to_be_between"]
    assert len(list((tmp_path / "raw_esp").glob("validations/raw_esp/contacts/**/*.html"))) == 1


def test_data_docs_show_the_last_runs_only(data: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older results and their pages are forgotten; the index links what is there."""
    monkeypatch.setattr(doors, "KEPT_RUNS", 2)
    for hour in range(4):
        open_door(data, "segments", tmp_path, at=NOON + timedelta(hours=hour))

    docs = tmp_path / "segments"
    pages = sorted(docs.glob("validations/segments/seg_lapsed/2*/**/*.html"))
    assert [page.relative_to(docs).parts[3] for page in pages] == ["20261101T140000Z", "20261101T150000Z"]
    assert len(list((tmp_path / "segments.results").glob("segments/seg_lapsed/2*/**/*.json"))) == 2
    index = (docs / "index.html").read_text(encoding="utf-8")
    assert all(page.relative_to(docs).as_posix() in index for page in pages)


def test_failing_rows_are_kept_for_a_while(data: RawData, tmp_path: Path) -> None:
    """Each with its expectation, once however often it fails, until it was long not seen."""
    data.execute("update raw_bitrix.b_sender_posting_recipient set status = 'Q' where id in (5, 6)")
    data.execute("update raw_bitrix.b_crm_contact set id = 1 where id = 2")
    for hour in (0, 1):
        with pytest.raises(QualityGateFailed):
            open_door(data, "raw_bitrix", tmp_path, at=NOON + timedelta(hours=hour))

    kept = [(row["suite"], row["expectation"].partition("_to_")[2], row["record"]["id"]) for row in data.failed_rows()]
    assert kept == [
        ("raw_bitrix.b_crm_contact", "be_unique(id)", 1),
        ("raw_bitrix.b_sender_posting_recipient", "be_in_set(status)", 5),
        ("raw_bitrix.b_sender_posting_recipient", "be_in_set(status)", 6),
    ]
    seen = {(row["last_seen_at"] - row["first_seen_at"]) for row in data.failed_rows()}
    assert seen == {timedelta(hours=1)}

    data.execute("update raw_bitrix.b_sender_posting_recipient set status = 'N'")
    data.execute("delete from raw_bitrix.b_crm_contact where id = 1")
    open_door(data, "raw_bitrix", tmp_path, at=NOON + timedelta(days=31, hours=2))
    assert data.failed_rows() == []


@pytest.mark.parametrize(
    ("door", "broken"),
    [
        (
            "raw_bitrix",
            {
                "update raw_bitrix.b_sender_posting set date_sent = date_send - interval '1 s' where id = 2": (
                    "expect_column_pair_values_a_to_be_greater_than_b(date_sent, date_send)",
                    1,
                ),
                "update raw_bitrix.b_crm_contact set id = null where id = 3": (
                    "expect_column_values_to_not_be_null(id)",
                    1,
                ),
                "update raw_bitrix.b_sender_posting_recipient set posting_id = 99 where id <= 6": (
                    "expect_column_values_to_be_between(recipients_without_posting)",
                    6,
                ),
            },
        ),
        (
            "raw_esp",
            {
                "update raw_esp.contacts set email = 'Person1@Example.com' where external_id = 'l:1'": (
                    "expect_column_values_to_be_between(odd_addresses)",
                    1,
                ),
                "update raw_esp.events set campaign_id = 'gone'": (
                    "expect_column_values_to_be_between(orphan_events)",
                    100,
                ),
            },
        ),
    ],
)
def test_every_kind_of_failure_keeps_its_rows(
    data: RawData, tmp_path: Path, door: str, broken: dict[str, tuple[str, int]]
) -> None:
    """Whole rows, also those behind a figure."""
    for break_it in broken:
        data.execute(break_it)

    with pytest.raises(QualityGateFailed):
        open_door(data, door, tmp_path)

    assert Counter(row["expectation"] for row in data.failed_rows()) == dict(broken.values())


def test_only_so_many_rows_are_kept(data: RawData, tmp_path: Path) -> None:
    """A table that is wrong from top to bottom does not come twice."""
    data.execute("update segments.seg_lapsed set email = 'person' || person_id where person_id::int > 10")

    with pytest.raises(QualityGateFailed):
        open_door(data, "segments", tmp_path)

    assert len(data.failed_rows()) == 100


@pytest.mark.parametrize(
    ("now", "silent_days", "volume"),
    [
        # Sunday and Monday noon: Friday was the last day to open on, and Monday is not over.
        ("2026-11-01 12:00+00:00", 0, 1.0),
        ("2026-11-02 12:00+00:00", 0, 1.0),
        # Five hours before midnight by our clock it is Tuesday there.
        ("2026-11-02 21:00+00:00", 1, 0.0),
        ("2026-11-03 12:00+00:00", 1, 0.0),
        ("2026-11-04 12:00+00:00", 2, 0.0),
        # The weekend adds nothing.
        ("2026-11-09 12:00+00:00", 5, 0.0),
    ],
)
def test_silence_is_judged_by_the_source_s_calendar(data: RawData, now: str, silent_days: int, volume: float) -> None:
    """Nobody opens on weekends there, so a weekend is no silence; weekdays without opens are counted."""
    data.execute(WEEKDAYS)

    assert opens(data, datetime.fromisoformat(now)) == (silent_days, volume)


def test_a_day_is_compared_with_days_like_it(data: RawData) -> None:
    """Twice as much on Mondays as on other days is no news on a Monday; the same on a Friday is."""
    data.execute(WEEKDAYS)
    assert opens(data, NOON) == (0, 1.0)
    data.execute(WEEKDAYS_TWICE.format(weekday=1))
    assert opens(data, datetime.fromisoformat("2026-10-27 12:00+00:00")) == (0, 1.0)
    data.execute(WEEKDAYS_TWICE.format(weekday=5) + " and day = '2026-10-30'")
    assert opens(data, NOON) == (0, 2.0)


def test_a_source_without_a_rhythm_is_not_judged(data: RawData) -> None:
    """A new site, or one that sends now and then."""
    data.execute("alter table raw_bitrix.b_sender_posting_read add column date_insert timestamp")
    data.execute("update raw_bitrix.b_sender_posting_read set date_insert = '2026-10-20 12:00'")

    assert opens(data, NOON) == (None, None)


def opens(data: RawData, at: datetime) -> tuple[int | None, float | None]:
    """What the suite asks of the site's opens."""
    streams = [stream for stream in STREAMS if stream.name == "opens"]
    with connect(data.dsn, purpose="test") as connection:
        suite = rhythm(connection, "rhythm", streams, at, ZoneInfo("Europe/Moscow"))
        assert suite.query is not None
        silent_days, volume = connection.execute(suite.query.encode()).fetchall()[0]
    return silent_days, volume


def test_silence_and_stale_copies_are_pointed_out(data: RawData, tmp_path: Path) -> None:
    """They are recorded and shut no door."""
    data.execute(WEEKDAYS)

    result = open_door(data, "raw_bitrix", tmp_path, at=NOON + timedelta(days=3))

    assert {warning.rpartition("(")[2].rstrip(")") for warning in result.warnings} == {
        "silent_days_opens", "volume_opens", "hours_since_load"
    }  # fmt: skip


def test_neither_password_nor_addresses_get_out(
    data: RawData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages, log lines, the error and the ledger hold names and counts only."""
    caplog.set_level("DEBUG")
    data.execute("update segments.seg_lapsed set email = 'not an address' where person_id = '3'")
    data.execute("update segments.seg_lapsed set email = 'person4@example.com' where person_id = '5'")

    with pytest.raises(QualityGateFailed) as caught:
        open_door(data, "segments", tmp_path)

    written = [path.read_text(encoding="utf-8") for kind in ("html", "json") for path in tmp_path.rglob(f"*.{kind}")]
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
