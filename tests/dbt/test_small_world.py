"""The built marts against a calculation of the same figures straight from the raw tables, row by row."""

from __future__ import annotations

from collections import defaultdict

from tests.dbt.conftest import Built
from tests.dbt.independent import RANKS, Figures
from tests.dbt.marts_agree import (
    campaign_performance_agrees,
    credits_agree,
    deliverability_agrees,
    esp_comparison_agrees,
    funnel_agrees,
    letters_agree,
    list_agrees,
    segment_engagement_agrees,
)

from lettertrail.sandbox.world import World


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
    letters_agree(built.dsn, from_raw)


def test_credits_agree(built: Built, from_raw: Figures) -> None:
    """fct_attribution_credits is what the raw tables say, credit by credit."""
    credits_agree(built.dsn, from_raw)


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
    for agrees in (
        letters_agree,
        credits_agree,
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
