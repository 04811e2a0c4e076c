"""Compares what the warehouse credits to letters with what letters truly caused.

Only a sample site knows its truth: `sandbox/world.py` writes it to truth.json beside the data, and no model ever
reads it. The comparison is the proof that the attribution finds effects that are really there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from lettertrail.errors import ContractError
from lettertrail.report.data import MODELS
from lettertrail.warehouse.connect import connect


@dataclass(frozen=True, slots=True)
class Cause:
    """One conversion of the sample world and the letters that truly caused it (none: it came by itself)."""

    conversion_type: str
    source_id: str
    letters: frozenset[str]
    """In warehouse spelling ('bitrix:12')."""
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Credit:
    """One credit of `marts.fct_attribution_credits` that went to a letter."""

    conversion_type: str
    source_id: str
    model: str
    letter_id: str
    credit: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Recovery:
    """What one model credits to letters, and how much of it is true."""

    model: str
    credited: Decimal
    """Conversions credited to any letter."""
    credited_amount: Decimal
    caused: Decimal
    """The part of `credited` that lies on conversions letters truly caused; the rest would have come anyway."""
    caused_amount: Decimal
    right_letter: Decimal
    """The part of `caused` that went to a letter that truly caused the conversion."""
    right_letter_amount: Decimal


@dataclass(frozen=True, slots=True)
class TypeComparison:
    """Truth and models for one conversion type."""

    conversion_type: str
    conversions: int
    """Conversions letters truly caused."""
    amount: Decimal
    models: tuple[Recovery, ...]


@dataclass(frozen=True, slots=True)
class TruthComparison:
    """Recovered versus true, for won deals and for leads."""

    won: TypeComparison
    leads: TypeComparison


def compare_with_truth(warehouse_dsn: str, truth_file: Path) -> TruthComparison:
    """Reads truth.json and the credits in the marts.

    Raises:
        ContractError: when the file is not the truth of a sample world.
        OSError: when it cannot be read.
    """
    causes = read_truth(truth_file)
    with connect(warehouse_dsn, purpose="recovered versus true") as connection:
        connection.read_only = True
        rows = (
            connection.cursor(row_factory=dict_row)
            .execute(
                """
            select conversions.conversion_type, conversions.source_id::text as source_id, credits.model,
                credits.letter_id, credits.credit, credits.amount
            from marts.fct_attribution_credits as credits
            inner join marts.fct_conversions as conversions using (conversion_id)
            where credits.letter_id is not null
            """
            )
            .fetchall()
        )
    return compare(causes, [Credit(**{**row, "amount": row["amount"] or Decimal(0)}) for row in rows])


def read_truth(truth_file: Path) -> list[Cause]:
    """The conversions of truth.json.

    Raises:
        ContractError: when the file is not the truth of a sample world.
    """
    try:
        document = json.loads(truth_file.read_text(encoding="utf-8"), parse_float=Decimal)
        return [_cause(entry) for entry in document["conversions"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ContractError(f"{truth_file.name} is not the truth of a sample world: {error!r}") from error


def compare(causes: Iterable[Cause], credits: Iterable[Credit]) -> TruthComparison:
    """Pure arithmetic over both sides."""
    known = {(cause.conversion_type, cause.source_id): cause for cause in causes if cause.letters}
    given = list(credits)
    return TruthComparison(
        won=_compare_type("deal_won", known, given), leads=_compare_type("lead_created", known, given)
    )


def _compare_type(
    conversion_type: str, known: Mapping[tuple[str, str], Cause], given: Iterable[Credit]
) -> TypeComparison:
    causes = [cause for cause in known.values() if cause.conversion_type == conversion_type]
    credits = [credit for credit in given if credit.conversion_type == conversion_type]
    return TypeComparison(
        conversion_type=conversion_type,
        conversions=len(causes),
        amount=_total(cause.amount for cause in causes),
        models=tuple(
            _recovery(model, known, [credit for credit in credits if credit.model == model]) for model in MODELS
        ),
    )


def _recovery(model: str, known: Mapping[tuple[str, str], Cause], credits: list[Credit]) -> Recovery:
    caused = [credit for credit in credits if (credit.conversion_type, credit.source_id) in known]
    right = [credit for credit in caused if credit.letter_id in known[credit.conversion_type, credit.source_id].letters]
    return Recovery(
        model=model,
        credited=_total(credit.credit for credit in credits),
        credited_amount=_total(credit.amount for credit in credits),
        caused=_total(credit.credit for credit in caused),
        caused_amount=_total(credit.amount for credit in caused),
        right_letter=_total(credit.credit for credit in right),
        right_letter_amount=_total(credit.amount for credit in right),
    )


def _cause(entry: Mapping[str, Any]) -> Cause:
    return Cause(
        conversion_type=entry["conversion"],
        source_id=str(entry["id"]),
        letters=frozenset(entry["letters"]),
        amount=Decimal(entry["amount"] or 0),
    )


def _total(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))
