"""A small warehouse whose figures can be checked by eye."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.report.made_up import create_marts, insert

AT = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
MODELS = ("last_touch", "first_touch", "linear", "position_based", "time_decay", "w_shape", "last_non_direct")


@pytest.fixture
def marts_dsn(warehouse_dsn: str) -> str:
    """A migrated warehouse with empty marts."""
    create_marts(warehouse_dsn)
    return warehouse_dsn


@pytest.fixture
def small_dsn(marts_dsn: str) -> str:
    """Two letters, won deals of 1000 and 500 (the second without a letter), a lead, three suppressed addresses."""
    insert(marts_dsn, "marts.mart_letter_performance", [_letter("bitrix:1"), _letter("mailchimp:mailchimp:ab")])
    insert(
        marts_dsn,
        "marts.fct_email_events",
        [
            {"event_id": f"e{n}", "letter_id": "bitrix:1", "person_id": person, "event_type": kind}
            for n, (person, kind) in enumerate([("p1", "sent"), ("p1", "sent"), ("p2", "sent"), ("p3", "opened")])
        ],
    )
    insert(marts_dsn, "marts.fct_conversions", _conversions())
    insert(marts_dsn, "marts.fct_attribution_credits", _credits())
    insert(marts_dsn, "marts.mart_attribution_by_model", _by_model())
    insert(
        marts_dsn,
        "marts.mart_campaign_performance",
        [{"campaign": "bitrix:1", "source": "bitrix", "campaign_name": "News of shop@x.example"}],
    )
    stages = {"sent": (100, 50), "delivered": (90, 50), "opened": (30, 12), "deals won": (1, 0)}
    insert(
        marts_dsn,
        "marts.mart_funnel",
        [
            {"stage_order": order, "stage": stage, "source": source, "value": value}
            for order, (stage, values) in enumerate(stages.items())
            for source, value in zip(("bitrix", "mailchimp"), values, strict=True)
        ],
    )
    insert(
        marts_dsn,
        "marts.mart_list_growth",
        [
            {
                "month": date(2026, month, 1),
                "joined": joined,
                "unsubscribed": 7,
                "bounced": 5,
                "complained": 1,
                "active": 60,
            }
            for month, joined in ((9, 100), (10, 20))
        ],
    )
    insert(marts_dsn, "marts.dim_suppression", _suppressed())
    insert(marts_dsn, "ops.sync_runs", _sync_runs())
    insert(marts_dsn, "ops.loads", [_load(1, inserted=4000, updated=0), _load(2, inserted=3, updated=12)])
    insert(
        marts_dsn,
        "ops.quality_checks",
        [
            {"run_id": "r1", "suite": "raw", "success": False, "evaluated": 9, "failed": 2, "at": AT.replace(hour=1)},
            {"run_id": "r2", "suite": "raw", "success": True, "evaluated": 9, "failed": 0, "at": AT.replace(hour=2)},
        ],
    )
    return marts_dsn


def _letter(letter_id: str) -> dict[str, Any]:
    is_bitrix = letter_id == "bitrix:1"
    row: dict[str, Any] = {
        "letter_id": letter_id,
        "source": letter_id.partition(":")[0],
        "title": "Осенняя <b>распродажа</b> 🍂" if is_bitrix else "Ask info@shop.example",
        "subject": 'Скидки "до 40 %" & more' if is_bitrix else None,
        "sent_at": datetime(2026, 8 if is_bitrix else 10, 5, 9, tzinfo=UTC),
        "attempted_count": 100 if is_bitrix else 50,
        "sent_count": 90 if is_bitrix else 50,
        "delivered_count": 90 if is_bitrix else 50,
        "bounced_count": 10 if is_bitrix else 0,
        "opened_count": 45 if is_bitrix else 20,
        "opened_human_count": 30 if is_bitrix else 12,
        "clicked_count": 9,
        "clicked_human_count": 6,
        "unsubscribed_count": 1,
        "complained_count": 0,
        "open_rate": Decimal("0.5") if is_bitrix else None,
        "open_rate_human": Decimal("0.3333") if is_bitrix else None,
        "click_rate": Decimal("0.0667") if is_bitrix else None,
    }
    for model in MODELS:
        whole = Decimal(1) if is_bitrix == (model == "last_touch") else Decimal(0)
        part = Decimal("0.5") if model in {"linear", "time_decay"} else whole
        row |= {f"leads_{model}": part, f"deals_{model}": part, f"revenue_{model}": part * 1000}
    return row


def _conversions() -> list[dict[str, Any]]:
    amounts = {"deal_won:1": 1000, "deal_won:2": 500, "lead_created:1": None}
    return [
        {
            "conversion_id": conversion,
            "conversion_type": conversion.partition(":")[0],
            "source_id": int(conversion.partition(":")[2]),
            "person_id": "p1",
            "converted_at": AT,
            "amount": amount,
            "currency": "RUB",
        }
        for conversion, amount in amounts.items()
    ]


def _credits() -> list[dict[str, Any]]:
    shares = {
        # as in the marts: a touch that gets nothing still has its row
        "last_touch": {"bitrix:1": Decimal(1), "mailchimp:mailchimp:ab": Decimal(0)},
        "first_touch": {"bitrix:1": Decimal(0), "mailchimp:mailchimp:ab": Decimal(1)},
        "linear": {"bitrix:1": Decimal("0.5"), "mailchimp:mailchimp:ab": Decimal("0.5")},
        "time_decay": {"bitrix:1": Decimal("0.75"), "mailchimp:mailchimp:ab": Decimal("0.25")},
    }
    touched = {"bitrix:1": AT.replace(month=10, day=30), "mailchimp:mailchimp:ab": AT.replace(month=10, day=22)}
    rows = []
    for model, letters in shares.items():
        for letter, part in letters.items():
            won = {
                "conversion_id": "deal_won:1",
                "conversion_type": "deal_won",
                "amount": part * 1000,
            }
            lead = {
                "conversion_id": "lead_created:1",
                "conversion_type": "lead_created",
                "amount": None,
            }
            rows += [
                {
                    **conversion,
                    "model": model,
                    "letter_id": letter,
                    "touched_at": touched[letter],
                    "converted_at": AT.replace(hour=3),
                    "credit": part,
                    "no_touch_reason": None,
                }
                for conversion in (won, lead)
            ]
        rows.append(
            {
                "conversion_id": "deal_won:2",
                "conversion_type": "deal_won",
                "amount": 500,
                "model": model,
                "letter_id": None,
                "touched_at": None,
                "converted_at": AT,
                "credit": 1,
                "no_touch_reason": "outside_lookback",
            }
        )
    return rows


def _by_model() -> list[dict[str, Any]]:
    """Two campaigns that share the deal, and what was sold without any."""
    parts = {"bitrix:1": Decimal("0.25"), "mailchimp:autumn": Decimal("0.75")}
    rows = []
    for conversion_type in ("deal_won", "lead_created", "order_placed"):
        for unit, part in [*parts.items(), (None, Decimal(1))]:
            row: dict[str, Any] = {"conversion_type": conversion_type, "unit": unit}
            for model in MODELS:
                share = Decimal(unit == "bitrix:1") if unit and model == "last_touch" else part
                row |= {f"credit_{model}": share, f"amount_{model}": share * 1000}
            for model in ("markov_1", "markov_2", "shapley"):
                is_asked = conversion_type != "order_placed"
                row |= {
                    f"credit_{model}": part if is_asked else None,
                    f"amount_{model}": part * 1000 if is_asked else None,
                }
            rows.append(row)
    return rows


def _suppressed() -> list[dict[str, Any]]:
    found = [
        ("a@x.example", "p1", "unsubscribed"),
        ("b@x.example", "p1", "hard_bounce"),
        ("c@x.example", None, "complaint"),
    ]
    return [
        {"email": email, "person_id": person, "scope": "everything", "state": state, "source": "bitrix"}
        for email, person, state in found
    ]


def _sync_runs() -> list[dict[str, Any]]:
    outcomes = [
        {"audience": "suppressed", "planned": 10, "applied": 7, "already_ok": 2, "rejected": 1, "held": 0},
        {"audience": "seg_inactive_90d", "planned": 40, "applied": 0, "already_ok": 0, "rejected": 0, "held": 40},
    ]
    return [
        {
            "run_id": "r1",
            "destination": "mailchimp",
            "account": "mailchimp",
            "dry_run": False,
            "brake_reason": "too many would leave: who@x.example" if outcome["held"] else None,
            "started_at": AT.replace(hour=1, minute=minute),
            "finished_at": AT.replace(hour=2),
            **outcome,
        }
        for minute, outcome in enumerate(outcomes)
    ]


def _load(hour: int, *, inserted: int, updated: int) -> dict[str, Any]:
    return {
        "run_id": f"r{hour}",
        "target": "raw_bitrix.b_crm_deal",
        "strategy": "modified",
        "read": inserted + updated,
        "inserted": inserted,
        "updated": updated,
        "unchanged": 0,
        "quarantined": 0,
        "deleted": 0,
        "started_at": AT.replace(hour=hour - 1),
        "finished_at": AT.replace(hour=hour),
    }
