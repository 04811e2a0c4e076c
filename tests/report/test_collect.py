"""The report's figures, read from a real PostgreSQL."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from tests.report.conftest import AT
from tests.report.made_up import insert

from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.report.collect import RELATIONS, collect
from lettertrail.report.data import Headline, ModelTotals, OpensMonth, SuppressionCount, Uncredited


def test_headline_counts_people_once_and_leaves_organic_revenue_uncredited(small_dsn: str) -> None:
    """A person written to twice counts once; the deal without a letter is won but not credited."""
    assert collect(small_dsn, at=AT).headline == Headline(
        letters=2,
        people_written_to=2,
        won_deals=2,
        won_revenue=Decimal(1500),
        credited_revenue=Decimal(1000),
        suppressed_people=2,
        suppressed_addresses=3,
        pushed_records=7,
    )


def test_letters_come_by_last_touch_revenue_with_credits_of_every_model(small_dsn: str) -> None:
    """The best letter by last touch is first, and keeps what the other models say."""
    best, other = collect(small_dsn, at=AT).letters
    assert (best.letter_id, other.letter_id) == ("bitrix:1", "mailchimp:mailchimp:ab")
    assert best.revenue == {
        "last_touch": 1000,
        "first_touch": 0,
        "linear": 500,
        "position_based": 0,
        "time_decay": 500,
        "w_shape": 0,
        "last_non_direct": 0,
    }
    assert (best.opened, best.opened_human, best.open_rate) == (45, 30, Decimal("0.5"))


def test_an_address_in_a_title_never_leaves_the_warehouse(small_dsn: str) -> None:
    """Titles and brake reasons are free text; addresses in them are replaced while reading."""
    data = collect(small_dsn, at=AT)
    assert data.letters[1].title == "Ask [address]"
    assert data.sync_runs[0].brake_reason == "too many would leave: [address]"


def test_months_without_letters_stay_on_the_time_axis(small_dsn: str) -> None:
    """Letters of August and October leave an empty September between them."""
    assert collect(small_dsn, at=AT).opens == (
        OpensMonth(date(2026, 8, 1), opened=45, opened_human=30),
        OpensMonth(date(2026, 9, 1), opened=0, opened_human=0),
        OpensMonth(date(2026, 10, 1), opened=20, opened_human=12),
    )


def test_models_share_the_same_deals_but_not_the_same_way(small_dsn: str) -> None:
    """Totals agree; letters with credit and the time from touch to deal tell the models apart."""
    models = {totals.model: totals for totals in collect(small_dsn, at=AT).models}
    assert list(models) == ["last_touch", "first_touch", "linear", "time_decay", "markov_1", "markov_2", "shapley"]
    assert models["linear"] == ModelTotals(
        model="linear", leads=Decimal(1), deals=Decimal(1), revenue=Decimal(1000), letters=2, days_to_deal=Decimal(6)
    )
    assert (models["last_touch"].letters, models["last_touch"].days_to_deal) == (1, 2)
    assert models["time_decay"].days_to_deal == 4
    assert models["markov_2"] == ModelTotals(
        model="markov_2", leads=Decimal(1), deals=Decimal(1), revenue=Decimal(1000), letters=None, days_to_deal=None
    )


def test_campaigns_are_credited_by_all_models(small_dsn: str) -> None:
    """By last touch first; what was sold without a campaign is none, and a name keeps no address."""
    first, second = collect(small_dsn, at=AT).campaigns
    assert (first.unit, first.name, second.name) == ("bitrix:1", "News of [address]", "mailchimp:autumn")
    assert (first.revenue["last_touch"], first.revenue["shapley"]) == (1000, 250)
    assert (second.revenue["last_touch"], second.revenue["shapley"]) == (0, 750)


def test_conversions_without_a_letter_carry_their_reason(small_dsn: str) -> None:
    """One conversion counts once, though every model has a row for it."""
    assert collect(small_dsn, at=AT).uncredited == (
        Uncredited("deal_won", reason="outside_lookback", conversions=1, amount=Decimal(500)),
    )


def test_funnel_keeps_the_order_of_its_stages_and_the_sources_apart(small_dsn: str) -> None:
    """Stages are in stage_order, each with its count per source."""
    funnel = collect(small_dsn, at=AT).funnel
    assert [(stage.stage, stage.total) for stage in funnel] == [
        ("sent", 150),
        ("delivered", 140),
        ("opened", 42),
        ("deals won", 1),
    ]
    assert funnel[0].by_source == {"bitrix": 100, "mailchimp": 50}


def test_suppression_counts_addresses_per_state_and_source(small_dsn: str) -> None:
    """Three addresses, three states."""
    assert SuppressionCount("hard_bounce", "bitrix", addresses=1) in collect(small_dsn, at=AT).suppression


def test_loads_show_the_last_load_and_the_rows_of_all(small_dsn: str) -> None:
    """Rows copied are summed over loads; read, inserted and updated are the newest load's."""
    (load,) = collect(small_dsn, at=AT).loads
    assert (load.loads, load.rows_copied, load.inserted, load.updated) == (2, 4003, 3, 12)
    assert load.finished_at == AT.replace(hour=2)


def test_only_the_newest_outcome_of_a_suite_counts(small_dsn: str) -> None:
    """A suite that failed and then passed has passed."""
    (check,) = collect(small_dsn, at=AT).quality
    assert (check.suite, check.success, check.failed) == ("raw", True, 0)


def test_a_dry_run_pushes_nothing(small_dsn: str) -> None:
    """What a dry run would have applied is listed but not counted as pushed."""
    insert(
        small_dsn,
        "ops.sync_runs",
        [
            {
                "run_id": "r3",
                "destination": "bitrix",
                "account": "bitrix",
                "audience": "suppressed",
                "dry_run": True,
                "planned": 5,
                "applied": 5,
                "started_at": AT,
                "finished_at": AT,
            }
        ],
    )
    data = collect(small_dsn, at=AT)
    assert data.headline.pushed_records == 7
    assert data.sync_runs[0].dry_run


def test_a_warehouse_without_marts_names_what_is_missing(warehouse_dsn: str) -> None:
    """Before the first dbt build only the ops tables exist; the rest is named, not made up."""
    data = collect(warehouse_dsn, at=AT)
    assert set(data.missing) == {name for name in RELATIONS if name.startswith("marts.")}
    assert data.headline.letters is None
    assert data.headline.pushed_records == 0
    assert data.letters == ()


def test_empty_marts_are_zeros_not_gaps(marts_dsn: str) -> None:
    """Relations that exist but are empty count zero and are not missing."""
    data = collect(marts_dsn, at=AT)
    assert data.missing == ()
    assert data.headline == Headline(0, 0, 0, Decimal(0), Decimal(0), 0, 0, 0)


def test_a_renamed_column_is_a_contract_error(marts_dsn: str) -> None:
    """The error names the relation and the column, so that the model's author knows what was relied on."""
    with psycopg.connect(marts_dsn) as connection:
        connection.execute("alter table marts.mart_list_growth rename column joined to came")
    with pytest.raises(ContractError, match=r"marts\.mart_list_growth.*joined"):
        collect(marts_dsn, at=AT)


def test_a_role_without_rights_is_a_configuration_error(marts_dsn: str) -> None:
    """The message names the relation; nothing is silently left off the page."""
    with psycopg.connect(marts_dsn) as connection:
        connection.execute("create role report_stranger login password 'made-up'")
    try:
        stranger = psycopg.conninfo.make_conninfo(marts_dsn, user="report_stranger", password="made-up")
        with pytest.raises(ConfigurationError, match=r"may not read marts\.mart_letter_performance"):
            collect(stranger, at=AT)
    finally:
        with psycopg.connect(marts_dsn) as connection:
            connection.execute("drop role report_stranger")


def test_a_naive_time_is_refused(warehouse_dsn: str) -> None:
    """Ages cannot be counted from a time without a zone."""
    with pytest.raises(ValueError, match="time zone"):
        collect(warehouse_dsn, at=datetime(2026, 11, 1))


def test_the_newest_read_back_of_an_audience_counts(small_dsn: str) -> None:
    """What was missing last night and is there now is no drift any more."""
    read = {"run_id": "r", "destination": "mailchimp", "account": "mailchimp", "audience": "vip", "sample": "[]"}
    counts = {"expected": 9, "strangers": 1, "repaired": 0, "started_at": AT}
    insert(
        small_dsn,
        "ops.audits",
        [
            {**read, **counts, "found": 8, "missing": 2, "finished_at": AT - timedelta(days=1)},
            {**read, **counts, "found": 10, "missing": 0, "finished_at": AT},
        ],
    )

    (audit,) = collect(small_dsn, at=AT).audits

    assert (audit.expected, audit.missing, audit.strangers, audit.finished_at) == (9, 0, 1, AT)
