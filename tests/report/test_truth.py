"""Recovered versus true, on conversions small enough to check by eye and on a real sample world's answers."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from lettertrail.errors import ContractError
from lettertrail.report.truth import Cause, Credit, Recovery, compare, compare_with_truth, read_truth
from lettertrail.sandbox.world import generate


def caused(source_id: str, *letters: str, amount: int = 100) -> Cause:
    return Cause("deal_won", source_id, frozenset(letters), Decimal(amount))


def credit(source_id: str, letter_id: str, part: str, *, model: str = "linear") -> Credit:
    return Credit("deal_won", source_id, model, letter_id, Decimal(part), Decimal(part) * 100)


def test_credit_is_split_into_right_letter_wrong_letter_and_not_caused() -> None:
    """Deal 1 is half right, deal 2 came by itself though a letter is credited, deal 3 was caused and not found."""
    causes = [caused("1", "bitrix:1"), caused("2"), caused("3", "bitrix:9", amount=70)]
    credits = [
        credit("1", "bitrix:1", "0.5"),
        credit("1", "bitrix:2", "0.5"),
        credit("2", "bitrix:1", "1"),
        credit("1", "bitrix:2", "1", model="last_touch"),
    ]
    won = compare(causes, credits).won
    assert (won.conversions, won.amount) == (2, 170)
    by_model = {recovery.model: recovery for recovery in won.models}
    assert by_model["linear"] == Recovery(
        model="linear",
        credited=Decimal(2),
        credited_amount=Decimal(200),
        caused=Decimal(1),
        caused_amount=Decimal(100),
        right_letter=Decimal("0.5"),
        right_letter_amount=Decimal(50),
    )
    assert (by_model["last_touch"].caused, by_model["last_touch"].right_letter) == (1, 0)
    assert by_model["first_touch"].credited == 0


def test_a_lead_and_a_deal_of_one_number_are_told_apart() -> None:
    """Ids are unique within a conversion type only."""
    lead = Cause("lead_created", "1", frozenset({"bitrix:1"}), Decimal(0))
    comparison = compare([lead], [credit("1", "bitrix:1", "1", model="last_touch")])
    assert (comparison.won.conversions, comparison.leads.conversions) == (0, 1)
    assert comparison.won.models[0].caused == 0


def test_the_marts_are_compared_by_the_number_of_the_deal(small_dsn: str, tmp_path: Path) -> None:
    """Deal 1 was caused by the letter that last touch credits; first touch credits the other one."""
    conversions = [
        {"conversion": "deal_won", "id": 1, "letters": ["bitrix:1"], "amount": "1000.00"},
        {"conversion": "deal_won", "id": 2, "letters": [], "amount": "500.00"},
        {"conversion": "lead_created", "id": 1, "letters": [], "amount": None},
    ]
    truth_file = tmp_path / "truth.json"
    truth_file.write_text(json.dumps({"conversions": conversions}), encoding="utf-8")
    won = compare_with_truth(small_dsn, truth_file).won
    assert (won.conversions, won.amount) == (1, 1000)
    assert {recovery.model: recovery.right_letter_amount for recovery in won.models} == {
        "last_touch": 1000,
        "first_touch": 0,
        "linear": 500,
        "position_based": 0,
        "time_decay": 750,
        "w_shape": 0,
        "last_non_direct": 0,
    }


def test_a_sample_world_writes_what_is_read_here(tmp_path: Path) -> None:
    """The caused deals and their amounts are those the world states itself."""
    truth_file = tmp_path / "truth.json"
    generate(seed=7, scale=0.02, as_of=date(2026, 11, 1)).write_truth(truth_file)
    totals = json.loads(truth_file.read_text(encoding="utf-8"))["totals"]
    comparison = compare(read_truth(truth_file), [])
    assert comparison.won.conversions == totals["deal_won"]["caused_count"] > 0
    assert comparison.won.amount == Decimal(totals["deal_won"]["caused_amount"])
    assert comparison.leads.conversions == totals["lead_created"]["caused_count"]


@pytest.mark.parametrize("content", ["not json", "[]", '{"conversions": [{"id": 1}]}'])
def test_another_file_is_not_taken_for_the_truth(content: str, tmp_path: Path) -> None:
    """A file of another shape is named, not guessed at."""
    truth_file = tmp_path / "truth.json"
    truth_file.write_text(content, encoding="utf-8")
    with pytest.raises(ContractError, match=r"truth\.json"):
        read_truth(truth_file)
