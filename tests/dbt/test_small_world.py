"""The built marts against a calculation of the same figures straight from the raw tables, row by row."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from tests.dbt.conftest import Built
from tests.dbt.independent import RANKS, Figures
from tests.dbt.independent_credits import MODELS, ROUNDED
from tests.dbt.marts_agree import (
    campaign_performance_agrees,
    deliverability_agrees,
    esp_comparison_agrees,
    funnel_agrees,
    list_agrees,
    segment_engagement_agrees,
)

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


def test_the_small_world_has_something_of_everything(built: Built, from_raw: Figures) -> None:
    """What follows compares something: touches, verdicts of every rule, several states, joined people."""
    touched = [credit for credit in from_raw.credits.values() if credit.letter]
    assert len(touched) > 100
    assert len({credit.letter for credit in touched}) > 10
    assert from_raw.machine_opens > 100
    assert from_raw.machine_clicks > 100
    assert len(from_raw.people) > 5
    assert set(from_raw.suppressed.values()) >= {"complaint", "hard_bounce", "unsubscribed"}
    rules = {row["verdict_rule"] for row in built.rows("select distinct verdict_rule from marts.fct_email_events")}
    assert rules >= {"opened_at_once", "scanner_open", "scanner_many_links", "esp_proxy_flag"}


def test_letters_agree(built: Built, from_raw: Figures) -> None:
    """mart_letter_performance is what the raw tables say, letter by letter."""
    assert_letters_agree(built.dsn, from_raw)


def test_credits_agree(built: Built, from_raw: Figures) -> None:
    """fct_attribution_credits is what the raw tables say, credit by credit."""
    assert_credits_agree(built.dsn, from_raw)


def test_suppression_agrees(built: Built, from_raw: Figures) -> None:
    """dim_suppression is what the raw tables say, address by address."""
    assert suppressed(built.dsn) == from_raw.suppressed


def test_people_agree(built: Built, from_raw: Figures) -> None:
    """Addresses are joined into the same people."""
    groups: dict[str, set[str]] = defaultdict(set)
    for row in built.rows("select email, person_id from intermediate.int_people_emails"):
        groups[row["person_id"]].add(row["email"])
    assert {frozenset(group) for group in groups.values() if len(group) > 1} == from_raw.people


def test_machine_verdicts_agree(built: Built, from_raw: Figures) -> None:
    """As many opens and clicks are called machine as the rules call so."""
    rows = built.rows(
        "select event_type, count(*) from marts.fct_email_events where is_machine group by event_type order by 1"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("clicked", from_raw.machine_clicks),
        ("opened", from_raw.machine_opens),
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


def test_deletes_and_changes_keep_agreeing(built: Built, changed_world: Built, changed_from_raw: Figures) -> None:
    """After deletes and changes both still agree; a deleted opt-out stays one until a newer consent."""
    before = suppressed(built.dsn)
    assert_letters_agree(changed_world.dsn, changed_from_raw)
    assert_credits_agree(changed_world.dsn, changed_from_raw)
    for agrees in (
        deliverability_agrees,
        esp_comparison_agrees,
        segment_engagement_agrees,
        campaign_performance_agrees,
        funnel_agrees,
        list_agrees,
    ):
        agrees(changed_world.dsn, changed_from_raw)
    after = suppressed(changed_world.dsn)
    assert after == changed_from_raw.suppressed
    lasting = {address for address, state in before.items() if state == "complaint"}
    assert lasting
    assert all(after[address] == "complaint" for address in lasting)
    came_back = before.keys() - after.keys()
    assert came_back
    assert "no_consent" in after.values()
    assert set(after.values()) <= set(RANKS)
