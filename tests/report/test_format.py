"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from lettertrail.report import format as shown

N = shown.NBSP
T = shown.THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1234567, f"1{T}234{T}567"),
        (Decimal("0.5"), "1"),
        (Decimal("-1234.4"), f"−1{T}234"),
        (Decimal("-0.3"), "0"),
        (None, "–"),
    ],
)
def test_numbers_are_grouped_and_rounded_half_up(value: Decimal | None, text: str) -> None:
    """Thousands are parted by narrow spaces; nothing is minus zero."""
    assert shown.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(Decimal("174.0000000000"), "174"), (Decimal("173.98"), "174"), (Decimal("0.3333"), "0.3"), (7, "7")],
)
def test_credits_show_a_digit_only_when_it_says_something(value: Decimal, text: str) -> None:
    """Parts of a conversion are shown, noise after them is not."""
    assert shown.credit(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (1000, f"1{N}k"),
        (2500, f"2.5{N}k"),
        (1_234_567, f"1.23{N}M"),
        (12_300_000, f"12.3{N}M"),
        (-500, "−500"),
        (100_000, f"100{N}k"),
        (3_000_000_000, f"3{N}B"),
    ],
)
def test_axes_use_three_digits_and_a_magnitude(value: int, text: str) -> None:
    """Round values stay round; zeros that belong to the number are kept."""
    assert shown.compact(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (Decimal(0), f"0{N}%"),
        (Decimal("0.00004"), f"<{T}0.1{N}%"),
        (Decimal("0.1235"), f"12.4{N}%"),
        (1, f"100{N}%"),
        (None, "–"),
    ],
)
def test_a_small_share_is_not_rounded_to_nothing(fraction: Decimal | None, text: str) -> None:
    """Not a single one and a very few are different answers."""
    assert shown.percent(fraction) == text


def test_a_share_of_nothing_is_unknown() -> None:
    """Nothing delivered gives no rate, not a rate of zero."""
    assert shown.share(0, 0) is None
    assert shown.share(None, 5) is None
    assert shown.share(0, 5) == 0


def test_money_carries_its_sign_or_its_code() -> None:
    """Known currencies have a sign, others their code, and none is made up."""
    assert shown.money(1500, "RUB") == f"1{T}500{N}₽"
    assert shown.money(1500, "GEL") == f"1{T}500{N}GEL"
    assert shown.money(1500, None) == f"1{T}500"


def test_times_are_shown_in_utc() -> None:
    """A Moscow morning is still the day before in UTC."""
    moscow = timezone(timedelta(hours=3))
    assert shown.minute(datetime(2026, 11, 1, 2, 5, tzinfo=moscow)) == f"31{N}Oct{N}2026, 23:05"
    assert shown.month(date(2026, 5, 1)) == f"May{N}2026"


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=40), "under a minute"),
        (timedelta(minutes=59), f"59{N}min"),
        (timedelta(hours=47), f"47{N}h"),
        (timedelta(days=3), f"3{N}days"),
    ],
)
def test_ages_use_the_unit_that_fits(passed: timedelta, text: str) -> None:
    """Minutes, hours and days, counted back from the report."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert shown.age(at - passed, at=at) == text


@pytest.mark.parametrize("text", ["Ask info@shop.example now", "почта: иван@почта.рф", "<a.b+c@mail.example.org>"])
def test_addresses_are_taken_out_of_text(text: str) -> None:
    """Whatever the alphabet, what looks like an address goes."""
    assert "@" not in shown.without_addresses(text)


def test_text_without_an_address_is_left_alone() -> None:
    """An at sign alone makes no address."""
    assert shown.without_addresses("2 @ 100 ₽, only today") == "2 @ 100 ₽, only today"
