"""Made-up marts with the columns other people's models promise, for tests that need no dbt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

import psycopg
from psycopg import sql

MARTS: LiteralString = """
create schema if not exists marts;
create table marts.mart_letter_performance (
    letter_id text, source text, title text, subject text, sent_at timestamptz,
    attempted_count bigint, sent_count bigint, delivered_count bigint, bounced_count bigint,
    opened_count bigint, opened_human_count bigint, clicked_count bigint, clicked_human_count bigint,
    unsubscribed_count bigint, complained_count bigint,
    open_rate numeric, open_rate_human numeric, click_rate numeric,
    leads_last_touch numeric, leads_first_touch numeric, leads_linear numeric, leads_time_decay numeric,
    deals_last_touch numeric, deals_first_touch numeric, deals_linear numeric, deals_time_decay numeric,
    revenue_last_touch numeric(18, 2), revenue_first_touch numeric(18, 2),
    revenue_linear numeric(18, 2), revenue_time_decay numeric(18, 2)
);
create table marts.fct_email_events (
    event_id text, letter_id text, person_id text, event_type text, occurred_at timestamptz, url text,
    is_machine boolean, machine_rule text
);
create table marts.fct_conversions (
    conversion_id text, conversion_type text, source_id text, person_id text, converted_at timestamptz,
    amount numeric(18, 2)
);
create table marts.fct_attribution_credits (
    credit_id text, conversion_id text, conversion_type text, model text, letter_id text, touch_event_id text,
    touched_at timestamptz, converted_at timestamptz, touch_index integer, touch_count integer,
    credit numeric, amount numeric(18, 2), no_touch_reason text
);
create table marts.mart_funnel (stage_order integer, stage text, source text, value numeric);
create table marts.mart_list_growth (
    month date, joined bigint, unsubscribed bigint, bounced bigint, complained bigint, active bigint
);
create table marts.dim_suppression (
    email text, person_id text, scope text, state text, source text, evidence text, evidenced_at timestamptz
);
"""


def create_marts(dsn: str) -> None:
    """The empty relations the report reads, without their models."""
    with psycopg.connect(dsn) as connection:
        connection.execute(MARTS)


def insert(dsn: str, relation: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows into 'schema.table'; all of them with the keys of the first."""
    given = list(rows)
    columns = list(given[0])
    query = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(*relation.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder(column) for column in columns),
    )
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(query, given)
