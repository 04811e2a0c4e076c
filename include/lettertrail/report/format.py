"""Numbers, money and times as people read them, and text that is safe to show.

Groups of thousands are parted by a narrow no-break space, a value and its unit by a no-break space: neither wraps.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

THIN = "\N{NARROW NO-BREAK SPACE}"
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"

Number = int | float | Decimal

_SIGNS = {"RUB": "₽", "RUR": "₽", "EUR": "€", "USD": "$", "UAH": "₴", "KZT": "₸", "GBP": "£", "BYN": "Br"}
_COMPACT = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+")


def number(value: Number | None, *, digits: int = 0) -> str:
    """1234567 → '1 234 567'; halves are rounded up; None → a dash."""
    if value is None:
        return NOTHING
    rounded = _rounded(value, digits)
    text = f"{abs(rounded):,.{digits}f}".replace(",", THIN)
    return f"{MINUS}{text}" if rounded < 0 else text


def credit(value: Number | None) -> str:
    """A count of credited conversions: with one digit unless that digit is a zero."""
    if value is None:
        return NOTHING
    rounded = _rounded(value, 1)
    return number(rounded, digits=0 if rounded == rounded.to_integral_value() else 1)


def money(value: Number | None, currency: str | None) -> str:
    """Whole units of the currency with its sign: '12 345 ₽'. Without a currency just the number."""
    return NOTHING if value is None else f"{number(value)}{_unit(currency)}"


def compact(value: Number | None, *, unit: str = "") -> str:
    """Three digits and a magnitude, for axes and narrow places: 1234567 → '1.23 M'."""
    if value is None:
        return NOTHING
    exact = _decimal(value)
    for size, letter in _COMPACT:
        if abs(exact) >= size:
            shown = exact / size
            digits = 0 if shown == shown.to_integral_value() or abs(shown) >= 100 else 1 if abs(shown) >= 10 else 2
            text = number(shown, digits=digits)
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return f"{text}{NBSP}{letter}{unit}"
    return f"{credit(exact)}{unit}"


def compact_money(value: Number | None, currency: str | None) -> str:
    """`compact` with the currency's sign."""
    return compact(value, unit=_unit(currency))


def percent(fraction: Number | None) -> str:
    """0.1234 → '12.3 %'. A share below a tenth of a percent that is not zero says so instead of '0.0 %'."""
    if fraction is None:
        return NOTHING
    hundredths = _decimal(fraction) * 100
    if 0 < hundredths < Decimal("0.1"):
        return f"<{THIN}0.1{NBSP}%"
    return f"{number(hundredths, digits=0 if hundredths in (0, 100) else 1)}{NBSP}%"


def share(part: Number | None, whole: Number | None) -> Decimal | None:
    """`part / whole`, or None where either is unknown or there is no whole to take a part of."""
    if part is None or whole is None or not whole:
        return None
    return _decimal(part) / _decimal(whole)


def day(moment: date | datetime | None) -> str:
    """'3 Nov 2026'."""
    return NOTHING if moment is None else f"{moment.day}{NBSP}{moment:%b}{NBSP}{moment:%Y}"


def month(moment: date) -> str:
    """'Nov 2026'."""
    return f"{moment:%b}{NBSP}{moment:%Y}"


def minute(moment: datetime | None) -> str:
    """'3 Nov 2026, 14:05', in UTC."""
    if moment is None:
        return NOTHING
    in_utc = moment.astimezone(UTC)
    return f"{day(in_utc)}, {in_utc:%H:%M}"


def age(moment: datetime, *, at: datetime) -> str:
    """How long before `at` it was: 'under a minute', '12 min', '5 h', '3 days'."""
    passed = at - moment
    if passed < timedelta(minutes=1):
        return "under a minute"
    if passed < timedelta(hours=1):
        return f"{passed // timedelta(minutes=1)}{NBSP}min"
    if passed < timedelta(days=2):
        return f"{passed // timedelta(hours=1)}{NBSP}h"
    return f"{passed.days}{NBSP}days"


def words(name: str) -> str:
    """'hard_bounce' → 'hard bounce'."""
    return name.replace("_", " ")


def without_addresses(text: str) -> str:
    """`text` with every e-mail address replaced: the report is a file that gets passed around."""
    return _ADDRESS.sub("[address]", text)


def _unit(currency: str | None) -> str:
    return "" if currency is None else f"{NBSP}{_SIGNS.get(currency, currency)}"


def _decimal(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _rounded(value: Number, digits: int) -> Decimal:
    return _decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
