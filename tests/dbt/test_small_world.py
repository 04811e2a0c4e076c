"""The built marts against a calculation of the same figures straight from the raw tables, row by row."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import psycopg
import pytest
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import dbt, new_load
from tests.dbt.independent import RANKS, Figures, figures
from tests.dbt.independent_credits import MODELS, ROUNDED

from lettertrail.sandbox.world import World

COUNTS = (
    "attempted_count",
    "sent_count",
    "delivered_count",
    "bounced_count",
    "opened_count",
    "opened_human_count",
    "clicked_count",
    "clicked_human_count",
    "unsubscribed_count",
    "complained_count",
)
# Weights that are no whole numbers are floating point: the last units may differ.
SLACK = {"credit": Fraction(2, 10**10), "amount": Fraction(1, 100)}


@pytest.fixture(scope="module")
def expected(built: Built) -> Figures:
    """The independent figures."""
    return figures(built.dsn)


def assert_letters_agree(dsn: str, expected: Figures) -> None:
    """Every letter's row: counts exactly, credits and revenue to the unit."""
    rows = {row["letter_id"]: row for row in Built(dsn, {}).rows("select * from marts.mart_letter_performance")}
    assert rows.keys() == expected.letters.keys()
    for letter, row in rows.items():
        wanted = expected.letters[letter]
        assert {name: row[name] for name in COUNTS} == {name: wanted[name] for name in COUNTS}, letter
        for model in MODELS:
            touches = 1000 if model in ROUNDED else 0
            for name, unit in (("leads", "credit"), ("deals", "credit"), ("revenue", "amount")):
                difference = abs(Fraction(row[f"{name}_{model}"]) - wanted[f"{name}_{model}"])
                assert difference <= touches * SLACK[unit], (letter, name, model)


def assert_credits_agree(dsn: str, expected: Figures) -> None:
    """Every row of the credits: who got it, which part, how much."""
    rows = {row["credit_id"]: row for row in Built(dsn, {}).rows("select * from marts.fct_attribution_credits")}
    assert rows.keys() == expected.credits.keys()
    for credit_id, row in rows.items():
        wanted = expected.credits[credit_id]
        slack = SLACK if row["model"] in ROUNDED else {"credit": 0, "amount": 0}
        assert row["letter_id"] == wanted.letter, credit_id
        assert abs(Fraction(row["credit"]) - wanted.credit) <= slack["credit"], credit_id
        assert abs(Fraction(row["amount"]) - wanted.amount) <= slack["amount"], credit_id


def suppressed(dsn: str) -> dict[str, str]:
    """What dim_suppression says about everything, as address → state."""
    rows = Built(dsn, {}).rows("select * from marts.dim_suppression where scope = 'everything'")
    return {row["email"]: row["state"] for row in rows}


def test_the_small_world_has_something_of_everything(built: Built, expected: Figures) -> None:
    """What follows compares something: touches, verdicts of every rule, several states, joined people."""
    touched = [credit for credit in expected.credits.values() if credit.letter]
    assert len(touched) > 100
    assert len({credit.letter for credit in touched}) > 10
    assert expected.machine_opens > 100
    assert expected.machine_clicks > 100
    assert len(expected.people) > 5
    assert set(expected.suppressed.values()) >= {"complaint", "hard_bounce", "unsubscribed"}
    rules = {row["verdict_rule"] for row in built.rows("select distinct verdict_rule from marts.fct_email_events")}
    assert rules >= {"opened_at_once", "scanner_open", "scanner_many_links", "esp_proxy_flag"}


def test_letters_agree(built: Built, expected: Figures) -> None:
    """mart_letter_performance is what the raw tables say, letter by letter."""
    assert_letters_agree(built.dsn, expected)


def test_credits_agree(built: Built, expected: Figures) -> None:
    """fct_attribution_credits is what the raw tables say, credit by credit."""
    assert_credits_agree(built.dsn, expected)


def test_suppression_agrees(built: Built, expected: Figures) -> None:
    """dim_suppression is what the raw tables say, address by address."""
    assert suppressed(built.dsn) == expected.suppressed


def test_people_agree(built: Built, expected: Figures) -> None:
    """Addresses are joined into the same people."""
    groups: dict[str, set[str]] = defaultdict(set)
    for row in built.rows("select email, person_id from intermediate.int_people_emails"):
        groups[row["person_id"]].add(row["email"])
    assert {frozenset(group) for group in groups.values() if len(group) > 1} == expected.people


def test_machine_verdicts_agree(built: Built, expected: Figures) -> None:
    """As many opens and clicks are called machine as the rules call so."""
    rows = built.rows(
        "select event_type, count(*) from marts.fct_email_events where is_machine group by event_type order by 1"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("clicked", expected.machine_clicks),
        ("opened", expected.machine_opens),
    ]


def test_verdicts_find_the_worlds_machines(built: Built, world: World) -> None:
    """Against the truth: every scanner click, nine in ten machine opens (slow ones look human), and no person."""
    machines = world.events[world.events["actor"] != "human"].groupby("kind", observed=True).size()
    found = {
        row["event_type"]: row["n"]
        for row in built.rows(
            "select event_type, count(*) as n from marts.fct_email_events where is_machine group by event_type"
        )
    }
    assert found["clicked"] == machines["click"]
    assert 0.9 * machines["open"] <= found["opened"] <= machines["open"]


def test_deletes_and_changes_keep_agreeing(changed_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After deletes and changes both still agree; a deleted opt-out stays one until a newer consent."""
    before = suppressed(changed_dsn)
    with psycopg.connect(changed_dsn) as connection:
        load = new_load(connection)
        for table, share in (
            ("b_crm_deal", 5),
            ("b_crm_lead", 5),
            ("b_crm_contact", 9),
            ("b_crm_field_multi", 11),
            ("b_sender_posting_recipient", 17),
            ("b_sender_posting_click", 13),
            ("b_sender_posting_read", 13),
            ("b_sender_posting_unsub", 2),
            ("b_sender_abuse", 2),
            ("b_main_mail_blacklist", 2),
            ("b_sender_mailing_chain", 23),
            ("b_sender_posting", 19),
        ):
            connection.execute(
                f"update raw_bitrix.{table} set _deleted_at = '2026-11-01 00:00:00+00', _load_id = {load} "
                f"where id % {share} = 0"
            )
        connection.execute(
            f"update raw_bitrix.b_sender_contact set consent_status = 'A', date_update = '2026-10-31 23:00:00', "
            f"_load_id = {load} where id % 3 = 0"
        )
        connection.execute(
            f"update raw_bitrix.b_sender_contact set consent_status = 'D', _load_id = {load} where id % 7 = 0"
        )
    run = dbt("build", dsn=changed_dsn, work_dir=tmp_path_factory.mktemp("changed"))
    assert run.returncode == 0, run.output[-4000:]
    expected = figures(changed_dsn)
    assert_letters_agree(changed_dsn, expected)
    assert_credits_agree(changed_dsn, expected)
    after = suppressed(changed_dsn)
    assert after == expected.suppressed
    lasting = {address for address, state in before.items() if state == "complaint"}
    assert lasting
    assert all(after[address] == "complaint" for address in lasting)
    came_back = before.keys() - after.keys()
    assert came_back
    assert "no_consent" in after.values()
    assert set(after.values()) <= set(RANKS)
