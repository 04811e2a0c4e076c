"""People, and what letters earned, against a calculation of their own from the raw tables, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from tests.dbt import independent_answers as answers
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import RUN_AT
from tests.dbt.independent import Figures, Raw
from tests.dbt.independent_credits import MODELS, ROUNDED
from tests.dbt.independent_identity import Node

AT = datetime.fromisoformat(RUN_AT).astimezone(UTC)
SLACK = {"credit": Fraction(2, 10**10), "amount": Fraction(1, 100)}
"""What one touch may be off where the weights are no whole numbers."""
TOUCHES = 50
"""As many of a sum may be off."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A built warehouse, its raw tables, and what is made of them here."""

    built: Built
    raw: Raw
    figures: Figures

    @property
    def nodes(self) -> dict[str, Node]:
        """Person id → the identifier that stands for the person here."""
        rows = self.built.rows("select kind, identifier, card_id, person_id from intermediate.int_identifiers_joined")
        return {
            row["person_id"]: self.figures.identified.find(
                (row["kind"], row["identifier"] if row["card_id"] is None else row["card_id"])
            )
            for row in rows
        }


@pytest.fixture(
    scope="module", params=[("built", "from_raw"), ("changed_world", "changed_from_raw")], ids=["new", "changed"]
)
def compared(request: pytest.FixtureRequest) -> Compared:
    """The small world, and what was made of it by changes at the source."""
    built, figures = map(request.getfixturevalue, request.param)
    return Compared(built, Raw(built.dsn), figures)


def test_people_agree(compared: Compared) -> None:
    """Everybody's address, phone, cards, birthday, letters and last signs of life."""
    wanted = answers.people(compared.raw, compared.figures)
    nodes = compared.nodes
    rows = {nodes[row["person_id"]]: row for row in compared.built.rows("select * from marts.dim_person")}
    assert rows.keys() == wanted.keys()
    for node, expected in wanted.items():
        assert {name: rows[node][name] for name in expected} == expected, node
    for name in next(iter(wanted.values())):
        assert len({row[name] for row in wanted.values()}) > 3, name


def test_verdicts_agree(compared: Compared) -> None:
    """Every open and click: who did it, of which letter, and that nobody else's is among a person's."""
    mail = compared.figures.mail
    wanted = {
        answers.event_id(act, kind): (
            "machine" if act.machine else "doubtful" if act.doubtful else "human",
            act.letter,
            act.person,
            act.at,
            act.url,
        )
        for kind, acts in (("open", mail.opens), ("click", mail.clicks))
        for act in acts
    }
    nodes = compared.nodes
    found = {
        row["event_id"]: (
            row["verdict"],
            row["letter_id"],
            nodes.get(row["person_id"]),
            row["occurred_at"],
            row["url"],
        )
        for row in compared.built.rows("select * from marts.fct_email_events where verdict is not null")
    }
    assert found.keys() == wanted.keys()
    assert {key: (found[key], wanted[key]) for key in found if found[key] != wanted[key]} == {}
    assert {verdict for verdict, *_ in found.values()} == {"machine", "doubtful", "human"}


def test_cohorts_agree(compared: Compared) -> None:
    """Who got which letter first, and what they bought since, month by month."""
    wanted = answers.cohorts(compared.raw, compared.figures)
    rows = compared.built.rows("select * from marts.mart_cohort_revenue")
    found = {(row["letter_id"], row["month_number"]): row for row in rows}
    assert found.keys() == wanted.keys()
    for key, expected in wanted.items():
        assert {name: found[key][name] for name in expected} == expected, key
    assert max(month for _, month in wanted) > 3
    assert sum(row["sale_count"] for row in wanted.values()) > 20


def test_returns_agree(compared: Compared) -> None:
    """What every letter earned by every model; a paid order of a won deal is the deal's."""
    wanted = answers.returns(compared.raw, compared.figures)
    rows = compared.built.rows("select * from marts.mart_letter_roi")
    found = {(row["letter_id"], row["model"]): row for row in rows}
    assert found.keys() == wanted.keys()
    for (letter, model), expected in wanted.items():
        same_sums(found[letter, model], expected, is_rounded=model in ROUNDED, key=(letter, model))
    assert sum(row["orders"] > 0 for row in wanted.values()) > 10


def test_models_side_by_side_agree(compared: Compared) -> None:
    """Every rule model's credit and amount of every campaign, and of none; the others are the data-driven mart's."""
    wanted = answers.side_by_side(compared.raw, compared.figures)
    rows = compared.built.rows("select * from marts.mart_attribution_by_model")
    found = {(row["conversion_type"], row["unit"]): row for row in rows}
    told = {
        (row["conversion_type"], row["unit"], row["model"]): row
        for row in compared.built.rows("select * from marts.fct_attribution_data_driven")
    }
    assert {key for key in found if not any(found[key][f"credit_{model}"] for model in MODELS)} <= {
        key[:2] for key in told
    }
    assert wanted.keys() <= found.keys()
    for key, row in found.items():
        for model in MODELS:
            expected = {f"{name}_{model}": wanted[key][f"{name}_{model}"] for name in ("credit", "amount")}
            same_sums(row, expected, is_rounded=model in ROUNDED, key=(key, model))
    for (kind, unit, model), row in told.items():
        for name in ("credit", "amount"):
            assert found[kind, unit][f"{name}_{model}"] == row[name], (kind, unit, model)


def test_stories_agree(compared: Compared) -> None:
    """Every deal's opens, clicks, conversions and stages, when they happened, in order, with each model's credit."""
    wanted = answers.stories(compared.raw, compared.figures, AT)
    rows = compared.built.rows(
        "select * from marts.mart_deal_explained where step not like 'letter_%' or step in"
        " ('letter_opened', 'letter_clicked') order by deal_id, step_number"
    )
    found = {(row["deal_id"], row["step_reference"]): row for row in rows}
    assert len(rows) == len(found)
    assert found.keys() == wanted.keys()
    for key, expected in wanted.items():
        assert {name: found[key][name] for name in expected} == expected, key
    assert rows == sorted(rows, key=lambda row: (row["deal_id"], row["happened_at"]))
    credited = {
        (int(row["conversion_id"].split(":")[1]), row["touch_event_id"], row["model"]): row["credit"]
        for row in compared.built.rows(
            "select * from marts.fct_attribution_credits where conversion_type = 'deal_won' and letter_id is not null"
        )
    }
    assert {
        (*key, model): row[f"credit_{model}"]
        for key, row in found.items()
        for model in MODELS
        if row[f"credit_{model}"] is not None
    } == credited


def same_sums(row: Mapping[str, Any], expected: Mapping[str, Fraction], *, is_rounded: bool, key: object) -> None:
    """Sums of credits exactly, or nearly where a touch's own may be off by a unit."""
    for name, value in expected.items():
        unit = "amount" if name.startswith(("amount", "revenue")) else "credit"
        slack = TOUCHES * SLACK[unit] if is_rounded else 0
        assert abs(Fraction(Decimal(row[name])) - value) <= slack, (key, name)
