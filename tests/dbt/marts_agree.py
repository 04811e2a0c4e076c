"""Marts held against what `independent` says of the same raw tables, row by row and column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
from psycopg.rows import dict_row
from tests.dbt.dbt_runs import RUN_AT
from tests.dbt.independent import Figures, Raw
from tests.dbt.independent_credits import MODELS, ROUNDED
from tests.dbt.independent_engagement import (
    Counts,
    by_campaign,
    by_domain,
    by_quarter,
    by_segment,
    complaint_status,
    letter_campaigns,
    letter_segments,
    letter_times,
    rate,
    rates,
)
from tests.dbt.independent_letters import Trail
from tests.dbt.independent_list import members, month_of, months

Row = dict[str, Any]

SENT = ("attempted_count", "sent_count", "delivered_count", "bounced_count", "rejected_count")
BOUNCES = tuple(f"bounced_{kind}_count" for kind in ("hard", "soft", "block", "policy", "unknown"))
NOT_TOLD = ("bounced_soft_count", "bounced_block_count", "bounced_policy_count")
"""What Bitrix cannot say of a letter that came back."""
DONE = tuple(f"{done}{who}_count" for done in ("opened", "clicked") for who in ("", "_human", "_doubtful", "_machine"))
LEFT = ("unsubscribed_count", "complained_count")
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
LAST_TOUCH = ("leads_last_touch", "deals_last_touch", "revenue_last_touch")


def rows_of(dsn: str, query: str) -> list[Row]:
    """All rows of a query."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def letters_agree(dsn: str, figures: Figures) -> None:
    """mart_letter_performance, by letter: counts exactly, credits and revenue to the unit."""
    rows = {row["letter_id"]: row for row in rows_of(dsn, "select * from marts.mart_letter_performance")}
    assert rows.keys() == figures.letters.keys()
    for letter, row in rows.items():
        wanted = figures.letters[letter]
        assert {name: row[name] for name in COUNTS} == {name: wanted[name] for name in COUNTS}, letter
        for model in MODELS:
            touches = 1000 if model in ROUNDED else 0
            for name, unit in (("leads", "credit"), ("deals", "credit"), ("revenue", "amount")):
                difference = abs(Fraction(row[f"{name}_{model}"]) - wanted[f"{name}_{model}"])
                assert difference <= touches * SLACK[unit], (letter, name, model)


def credits_agree(dsn: str, figures: Figures) -> None:
    """fct_attribution_credits, by credit: who got it, which part, how much."""
    same_credits(rows_of(dsn, "select * from marts.fct_attribution_credits"), figures)


def same_credits(rows: Iterable[Row], figures: Figures) -> None:
    """Credits of any time."""
    found = {row["credit_id"]: row for row in rows}
    assert found.keys() == figures.credits.keys()
    for credit_id, row in found.items():
        wanted = figures.credits[credit_id]
        slack = SLACK if row["model"] in ROUNDED else {"credit": 0, "amount": 0}
        assert row["letter_id"] == wanted.letter, credit_id
        assert abs(Fraction(row["credit"]) - wanted.credit) <= slack["credit"], credit_id
        assert abs(Fraction(row["amount"]) - wanted.amount) <= slack["amount"], credit_id


def deliverability_agrees(dsn: str, figures: Figures) -> None:
    """mart_deliverability, by day, source and domain."""
    wanted = {}
    for key, counts in by_domain(figures.mail).items():
        told = _told(counts, str(key[1]))
        wanted[key] = {name: told[name] for name in (*SENT, *BOUNCES, *LEFT)} | {
            "bounce_rate": rate(counts["bounced_count"], counts["attempted_count"]),
            "hard_bounce_rate": rate(counts["bounced_hard_count"], counts["attempted_count"]),
            "complaint_rate": rate(counts["complained_count"], counts["delivered_count"]),
            "complaint_status": complaint_status(counts),
        }
    _assert_same(rows_of(dsn, "select * from marts.mart_deliverability"), ("sent_on", "source", "email_domain"), wanted)


def esp_comparison_agrees(dsn: str, figures: Figures) -> None:
    """mart_esp_comparison, by source and quarter, with the services' own totals."""
    sent_at = letter_times(Raw(dsn))
    wanted = {}
    for key, counts in by_quarter(figures.mail, _days(sent_at)).items():
        names = ("letter_count", *SENT, *BOUNCES, *DONE, *LEFT, "tracked_count")
        told = _told(counts, str(key[0]))
        wanted[key] = {name: told[name] for name in names} | rates(counts) | _reported(dsn, figures, key, sent_at)
        wanted[key]["machine_open_share"] = rate(counts["opened_machine_count"], counts["opened_count"])
    _assert_same(rows_of(dsn, "select * from marts.mart_esp_comparison"), ("source", "quarter"), wanted)


def segment_engagement_agrees(dsn: str, figures: Figures) -> None:
    """mart_segment_engagement, by segment and quarter."""
    raw = Raw(dsn)
    groups = by_segment(figures.mail, _days(letter_times(raw)), letter_segments(raw))
    names = ("letter_count", *SENT, *DONE, *LEFT, "tracked_count")
    wanted = {
        key: {"source": str(key[0]).split(":")[0], **{name: counts[name] for name in names}, **rates(counts)}
        for key, counts in groups.items()
    }
    _assert_same(rows_of(dsn, "select * from marts.mart_segment_engagement"), ("segment_key", "quarter"), wanted)


def campaign_performance_agrees(dsn: str, figures: Figures) -> None:
    """mart_campaign_performance, by campaign, with what last touch credits to its letters."""
    raw = Raw(dsn)
    campaigns, sent_at = letter_campaigns(raw), letter_times(raw)
    wanted: dict[tuple[Any, ...], Row] = {}
    for (campaign,), counts in by_campaign(figures.mail, campaigns).items():
        own = [letter for letter, its in campaigns.items() if its == campaign]
        times = [at for letter in own if (at := sent_at[letter])]
        names = ("letter_count", *SENT, *DONE, *LEFT, "tracked_count")
        wanted[campaign,] = {
            "source": campaign.split(":")[0],
            "first_sent_at": min(times, default=None),
            "last_sent_at": max(times, default=None),
            **{name: counts[name] for name in names},
            **rates(counts),
            **{name: sum(figures.letters[letter][name] for letter in own) for name in LAST_TOUCH},
        }
    rows = rows_of(dsn, "select * from marts.mart_campaign_performance")
    _assert_same(rows, ("campaign",), wanted)
    names_of = {f"bitrix:{row['id']}": row["name"] for row in raw.rows("raw_bitrix.b_sender_mailing")}
    for row in rows:
        if row["source"] == "bitrix":
            assert row["campaign_name"] == names_of[row["campaign"]]


def funnel_agrees(dsn: str, figures: Figures) -> None:
    """mart_funnel, by source and stage. Which visit a letter brought is asked of `Trail`."""
    sums: dict[str, Counter[str]] = {letter.split(":")[0]: Counter() for letter in figures.letters}
    for letter, row in figures.letters.items():
        for stage, name in (
            ("sent", "sent_count"),
            ("delivered", "delivered_count"),
            ("opened", "opened_human_count"),
            ("clicked", "clicked_human_count"),
            ("leads", "leads_last_touch"),
            ("deals won", "deals_last_touch"),
            ("revenue", "revenue_last_touch"),
        ):
            sums[letter.split(":")[0]][stage] += row[name]
    for (kind, _), (found, _) in Trail(dsn).found.items():
        if kind == "visit" and found in figures.letters:
            sums[str(found).split(":")[0]]["visits"] += 1
    for key, credit in figures.credits.items():
        kind, _, model, _ = key.split(":")
        if (kind, model) == ("deal_created", "last_touch") and credit.letter:
            sums[credit.letter.split(":")[0]]["deals"] += credit.credit  # type: ignore[assignment]
    stages = ("sent", "delivered", "opened", "clicked", "visits", "leads", "deals", "deals won", "revenue")
    units = {"visits": "visits", "leads": "conversions", "deals": "conversions", "deals won": "conversions"}
    wanted = {
        (source, place): {"stage": stage, "unit": "money" if stage == "revenue" else units.get(stage, "messages")}
        | {"value": found[stage]}
        for source, found in sums.items()
        for place, stage in enumerate(stages, start=1)
    }
    _assert_same(rows_of(dsn, "select * from marts.mart_funnel"), ("source", "stage_order"), wanted)


def list_agrees(dsn: str, figures: Figures) -> None:
    """mart_list_growth and mart_list_health, by month; and since when everybody is suppressed."""
    at = datetime.fromisoformat(RUN_AT).astimezone(UTC)
    rows = rows_of(dsn, "select email, evidenced_at from marts.dim_suppression where scope = 'everything'")
    assert {row["email"]: row["evidenced_at"] for row in rows} == figures.suppressed_since
    wanted = {(row["month"],): dict(row) for row in months(members(Raw(dsn), figures, at), month_of(at))}
    _assert_same(rows_of(dsn, "select * from marts.mart_list_health"), ("month",), wanted)
    growth = ("month", "joined", "unsubscribed", "bounced", "complained", "active")
    few = {key: {name: row[name] for name in growth} for key, row in wanted.items()}
    _assert_same(rows_of(dsn, "select * from marts.mart_list_growth"), ("month",), few)


def _told(counts: Counts, source: str) -> Mapping[str, int | None]:
    return {**counts, **dict.fromkeys(NOT_TOLD)} if source == "bitrix" else counts


def _days(sent_at: Mapping[str, datetime | None]) -> dict[str, Any]:
    return {letter: at.astimezone(UTC).date() if at else None for letter, at in sent_at.items()}


def _reported(dsn: str, figures: Figures, key: tuple[Any, ...], sent_at: Mapping[str, datetime | None]) -> Row:
    """The services' own totals of the letters first sent in the quarter, beside what was seen of the same letters."""
    source, quarter = key
    names = {"sent": "sent_count", "opened": "opened_count"}
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for row in Raw(dsn).rows("raw_esp.campaign_totals"):
        letter = f"{row['esp']}:{row['account']}:{row['external_id']}"
        at = sent_at.get(letter)
        day = at.astimezone(UTC).date() if at else None
        is_in = day is not None and (day.year, (day.month - 1) // 3) == (quarter.year, (quarter.month - 1) // 3)
        for name, count in names.items():
            if row["esp"] == source and is_in and row[name] is not None:
                found[name].append((row[name], figures.letters[letter][count]))
    told: Row = {}
    for name, pairs in found.items():
        told[f"reported_{name}_count"] = sum(pair[0] for pair in pairs) if pairs else None
        told[f"{name}_of_reported_count"] = sum(pair[1] for pair in pairs) if pairs else None
    return told


def _assert_same(rows: Iterable[Row], keys: tuple[str, ...], wanted: Mapping[tuple[Any, ...], Row]) -> None:
    """The same groups, and in each all that is wanted; what is not looked at is named below."""
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert found.keys() == wanted.keys()
    assert found
    for key, row in found.items():
        assert row.keys() - wanted[key].keys() - set(keys) <= {"campaign_name", "segment_name"}
        for name, value in wanted[key].items():
            assert _number(row[name]) == _number(value), (key, name)


def _number(value: object) -> object:
    return Fraction(value) if isinstance(value, int | Decimal | Fraction) else value
