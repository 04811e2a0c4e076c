"""What the run brought: one line per leg, and the closing table, both read from the warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from lettertrail.demo.airflow_api import DagRun
from lettertrail.demo.progress import count
from lettertrail.report import MODEL_NAMES, TruthComparison
from lettertrail.warehouse.connect import connect

_LOADED = """
    select count(distinct target), coalesce(sum(read), 0), coalesce(sum(inserted), 0),
        coalesce(sum(updated), 0), coalesce(sum(deleted), 0)
    from ops.loads where run_id = %s
"""
_CHECKED = "select count(*), coalesce(sum(evaluated), 0) from ops.quality_checks where run_id = %s"
_PUSHED = """
    select coalesce(sum(planned), 0), coalesce(sum(applied), 0), coalesce(sum(already_ok), 0),
        coalesce(sum(rejected), 0), coalesce(sum(held), 0)
    from ops.sync_runs where run_id = %s
"""
_WRITES = """
    select count(*) from ops.sync_calls
    join ops.sync_runs using (sync_run_id) where run_id = %s
"""
CURRENCY = "RUB"  # the sample site's base currency


def describe(run: DagRun, dsn: str, pages: Mapping[str, Path]) -> str:
    """One line about what a run of the pipeline brought; `pages` are those of the DAGs that write one."""
    if run.dag_id.startswith("ingest_"):
        tables, read, inserted, updated, deleted = _row(dsn, _LOADED, run.label)
        return (
            f"{tables} tables; {count(read)} rows read, {count(inserted)} new, {count(updated)} changed, "
            f"{count(deleted)} gone"
        )
    if run.dag_id == "build_marts":
        suites, evaluated = _row(dsn, _CHECKED, run.label)
        (models,) = _row(dsn, "select count(*) from information_schema.tables where table_schema = 'marts'")
        return f"{models} marts; doors: {suites} suites, {count(evaluated)} expectations met"
    if run.dag_id.startswith("sync_"):
        planned, applied, already_ok, rejected, held = _row(dsn, _PUSHED, run.label)
        (calls,) = _row(dsn, _WRITES, run.label)
        return (
            f"{count(planned)} planned, {count(applied)} applied, {count(already_ok)} already so, "
            f"{count(rejected)} refused, {count(held)} held; {count(calls)} write calls"
        )
    return str(pages[run.dag_id])


def summary(dsn: str, truth: TruthComparison) -> list[tuple[str, str]]:
    """The closing table as (name, value) rows."""
    tables, rows = _row(dsn, "select count(distinct target), coalesce(sum(inserted), 0) from ops.loads")
    letters, bitrix = _row(dsn, "select count(*), count(*) filter (where source = 'bitrix') from marts.dim_letter")
    leads, deals, revenue = _row(
        dsn,
        "select count(*) filter (where conversion_type = 'lead_created'), "
        "count(*) filter (where conversion_type = 'deal_won'), "
        "coalesce(sum(amount) filter (where conversion_type = 'deal_won'), 0) from marts.fct_conversions",
    )
    suppressed, people = _row(
        dsn, "select count(*), count(distinct person_id) from marts.dim_suppression where scope = 'everything'"
    )
    lines = [
        ("copied", f"{count(rows)} rows in {tables} raw tables"),
        ("letters", f"{letters} ({bitrix} Bitrix, {letters - bitrix} ESP)"),
        ("conversions", f"{count(leads)} leads, {count(deals)} won deals worth {_money(revenue)}"),
        ("suppressed", f"{count(suppressed)} addresses of {count(people)} people"),
        *_confirmed(dsn),
        ("", ""),
        ("won deals", "revenue credited to letters, and how much of it the sample world truly caused"),
        ("  Truth", f"{_money(truth.won.amount):>18}   from {count(truth.won.conversions)} deals"),
    ]
    for recovery in truth.won.models:
        share = 100 * recovery.caused_amount / truth.won.amount if truth.won.amount else Decimal(0)
        right = 100 * recovery.right_letter / recovery.caused if recovery.caused else Decimal(0)
        lines.append(
            (
                f"  {MODEL_NAMES[recovery.model]}",
                f"{_money(recovery.credited_amount):>18}   recovers {share:.1f} % of the true revenue, "
                f"{right:.1f} % of that to the right letter",
            )
        )
    return lines


def preference_pages(dsn: str) -> list[str]:
    """The preference page of one sample person, to look at; none where links are not made."""
    rows = _rows(
        dsn,
        "select preferences_url from ops.links join marts.mart_preference_page using (email)"
        " where preferences_url is not null and wanted is not null and not has_left order by email limit 1",
    )
    return [url for (url,) in rows]


def _confirmed(dsn: str) -> list[tuple[str, str]]:
    rows = _rows(
        dsn,
        "select destination, account, audience, count(*) from ops.acknowledged "
        "where value not like '%_refused' group by 1, 2, 3 order by 1, 2, 3",
    )
    return [(f"at {account}", f"{count(number)} confirmed in {audience}") for _, account, audience, number in rows]


def _money(amount: Decimal) -> str:
    return f"{count(int(amount))} {CURRENCY}"


def _row(dsn: str, query: str, *values: object) -> tuple[Any, ...]:
    (row,) = _rows(dsn, query, *values)
    return row


def _rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connect(dsn, purpose="demo") as connection:
        return connection.execute(query.encode(), values or None).fetchall()
