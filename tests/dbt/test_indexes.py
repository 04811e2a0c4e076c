"""What models look up in raw tables has an index that the staging views' own expressions can use."""

from __future__ import annotations

import psycopg
import pytest
from tests.dbt.conftest import Built

LOOKED_UP = (
    ("stg_bitrix__recipients", "address_id", "bigint", "b_sender_posting_recipient__contact_id"),
    ("stg_bitrix__recipients", "posting_id", "bigint", "b_sender_posting_recipient__posting_id"),
    ("stg_bitrix__opens", "recipient_id", "bigint", "b_sender_posting_read__recipient_id"),
    ("stg_bitrix__clicks", "recipient_id", "bigint", "b_sender_posting_click__recipient_id"),
    ("stg_bitrix__unsubscribes", "recipient_id", "bigint", "b_sender_posting_unsub__recipient_id"),
    ("stg_bitrix__message_arrivals", "posting_id", "bigint", "b_sender_posting_read__posting_id"),
    ("stg_bitrix__message_arrivals", "posting_id", "bigint", "b_sender_posting_click__posting_id"),
    ("stg_bitrix__message_arrivals", "posting_id", "bigint", "b_sender_posting_unsub__posting_id"),
    ("stg_bitrix__multi_field_phones", "entity_id", "bigint", "b_crm_field_multi__element_id"),
    ("stg_bitrix__trace_cards", "trace_id", "bigint", "b_crm_tracking_trace_entity__trace_id"),
    ("stg_bitrix__trace_cards", "card_id", "bigint", "b_crm_tracking_trace_entity__entity_id"),
    ("stg_bitrix__crm_utm_tags", "entity_id", "bigint", "b_crm_utm__entity_id"),
    ("stg_bitrix__deals", "lead_id", "bigint", "b_crm_deal__lead_id"),
    ("stg_bitrix__deals", "contact_id", "bigint", "b_crm_deal__contact_id"),
    ("stg_bitrix__orders", "user_id", "bigint", "b_sale_order__user_id"),
    ("stg_esp__contacts", "email", "text", "contacts__email"),
    ("stg_esp__events", "email", "text", "events__email"),
    ("stg_esp__event_arrivals", "_load_id", "bigint", "events__load"),
    ("stg_bitrix__recipients", "_load_id", "bigint", "b_sender_posting_recipient__load"),
)


@pytest.mark.parametrize(("view", "column", "kind", "index"), LOOKED_UP)
def test_a_few_rows_are_found_by_the_index(built: Built, view: str, column: str, kind: str, index: str) -> None:
    """With tables as large as they are where it matters, the planner would take it: here it is told to."""
    with psycopg.connect(built.dsn) as connection:
        connection.execute("set local enable_seqscan = off")
        plan = connection.execute(
            f"explain select * from staging.{view} where {column} = any (array(select null::{kind}))"
        ).fetchall()
    assert any(index in line for (line,) in plan), plan
