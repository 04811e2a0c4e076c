"""Reads what the report shows from the warehouse: `marts.*` for the business, `ops.*` for the machinery.

No business rule lives here: the models in dbt_project decide what a letter, an open or a credit is, and these
queries only add up and sort. All of them run in one read-only snapshot, so the figures on a page agree with each
other even while a load is committing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from lettertrail.audiences.audit import Drift
from lettertrail.audiences.audit_statements import NEWEST_AUDITS
from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.report.data import (
    DATA_DRIVEN,
    MODELS,
    Campaign,
    FunnelStage,
    Headline,
    Letter,
    ListMonth,
    Load,
    ModelTotals,
    OpensMonth,
    QualityCheck,
    ReportData,
    SuppressionCount,
    SyncRun,
    Uncredited,
)
from lettertrail.report.format import without_addresses
from lettertrail.status import recent_notices
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

LETTERS = "marts.mart_letter_performance"
EVENTS = "marts.fct_email_events"
CONVERSIONS = "marts.fct_conversions"
CREDITS = "marts.fct_attribution_credits"
BY_MODEL = "marts.mart_attribution_by_model"
CAMPAIGNS = "marts.mart_campaign_performance"
FUNNEL = "marts.mart_funnel"
LIST_GROWTH = "marts.mart_list_growth"
SUPPRESSION = "marts.dim_suppression"
SYNC_RUNS = "ops.sync_runs"
AUDITS = "ops.audits"
LOADS = "ops.loads"
STATUS = "ops.table_status"
QUALITY = "ops.quality_checks"

RELATIONS = (
    LETTERS,
    EVENTS,
    CONVERSIONS,
    CREDITS,
    BY_MODEL,
    CAMPAIGNS,
    FUNNEL,
    LIST_GROWTH,
    SUPPRESSION,
    SYNC_RUNS,
    AUDITS,
    LOADS,
    STATUS,
    QUALITY,
)
"""Every relation the report reads."""

RECENT_RUNS = 25
"""Pushes listed one by one; the tile counts all of them."""


def collect(warehouse_dsn: str, *, at: datetime) -> ReportData:
    """Everything the report shows, as of the snapshot in which it is read.

    Args:
        warehouse_dsn: libpq URI of a role that may read `marts` and `ops`.
        at: when the report is made (aware); ages are counted back from it.

    Raises:
        ValueError: when `at` carries no time zone.
        ContractError: when a relation lacks a column the report relies on. A relation that does not exist at all
            is not an error: it is named in `ReportData.missing`.
        ConfigurationError: when the warehouse cannot be reached or the role may not read a relation.
    """
    if at.tzinfo is None:
        raise ValueError("a report needs an aware time; give `at` a time zone")
    with connect(warehouse_dsn, purpose="report") as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader = _Reader(connection)
        data = ReportData(
            at=at.astimezone(UTC),
            missing=reader.missing,
            headline=_headline(reader),
            letters=_letters(reader),
            campaigns=_campaigns(reader),
            funnel=_funnel(reader),
            opens=_opens(reader),
            list_growth=_list_growth(reader),
            models=_models(reader) + _data_driven(reader),
            uncredited=_uncredited(reader),
            suppression=_suppression(reader),
            sync_runs=_sync_runs(reader),
            loads=_loads(reader, at),
            quality=_quality(reader),
            currency=_currency(reader),
            audits=_audits(reader),
        )
    log.info(
        "report: %s letters, %s months of opens, %s pushes, %s tables; %s relations missing",
        len(data.letters),
        len(data.opens),
        len(data.sync_runs),
        len(data.loads),
        len(data.missing),
    )
    return data


def _currency(reader: _Reader) -> str | None:
    rows = reader.rows("select max(currency) as currency from marts.fct_conversions", of=("marts.fct_conversions",))
    return rows[0]["currency"] if rows else None


class _Reader:
    """Queries one snapshot; a query over a relation that does not exist has no rows."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor(row_factory=dict_row)
        self.missing = tuple(name for name in RELATIONS if not self._exists(name))

    def rows(self, query: LiteralString | sql.Composed, *, of: tuple[str, ...]) -> list[DictRow]:
        if any(name in self.missing for name in of):
            return []
        try:
            return self._cursor.execute(query).fetchall()
        except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
            complaint = error.diag.message_primary
            raise ContractError(f"the report cannot read {', '.join(of)}: {complaint}") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"the warehouse role of the report may not read {', '.join(of)}: {error.diag.message_primary}"
            ) from error

    def one(self, query: LiteralString | sql.Composed, *, of: tuple[str, ...]) -> Row:
        """The only row, or nothing at all: ask it with `.get()`."""
        rows = self.rows(query, of=of)
        return rows[0] if rows else {}

    def _exists(self, name: str) -> bool:
        # The catalogue and not to_regclass, which refuses a schema the role may not use instead of saying it is there.
        schema, _, relation = name.partition(".")
        query = """
            select from pg_catalog.pg_class as relations
            inner join pg_catalog.pg_namespace as schemas on schemas.oid = relations.relnamespace
            where schemas.nspname = %s and relations.relname = %s
        """
        return self._cursor.execute(query, (schema, relation)).fetchone() is not None


def _headline(reader: _Reader) -> Headline:
    letters = reader.one("select count(*) as letters from marts.mart_letter_performance", of=(LETTERS,))
    people = reader.one(
        """
        select count(*) as people
        from (
            select distinct person_id from marts.fct_email_events
            where event_type = 'sent' and person_id is not null
        ) as written_to
        """,
        of=(EVENTS,),
    )
    won = reader.one(
        """
        select count(*) as deals, coalesce(sum(amount), 0) as revenue
        from marts.fct_conversions
        where conversion_type = 'deal_won'
        """,
        of=(CONVERSIONS,),
    )
    credited = reader.one(
        """
        select coalesce(sum(amount), 0) as revenue
        from marts.fct_attribution_credits
        where conversion_type = 'deal_won' and model = 'last_touch' and letter_id is not null
        """,
        of=(CREDITS,),
    )
    suppressed = reader.one(
        """
        select count(distinct coalesce(person_id, email)) as people, count(distinct email) as addresses
        from marts.dim_suppression
        where scope = 'everything'
        """,
        of=(SUPPRESSION,),
    )
    pushed = reader.one(
        "select coalesce(sum(applied), 0)::bigint as records from ops.sync_runs where not dry_run",
        of=(SYNC_RUNS,),
    )
    return Headline(
        letters=letters.get("letters"),
        people_written_to=people.get("people"),
        won_deals=won.get("deals"),
        won_revenue=won.get("revenue"),
        credited_revenue=credited.get("revenue"),
        suppressed_people=suppressed.get("people"),
        suppressed_addresses=suppressed.get("addresses"),
        pushed_records=pushed.get("records"),
    )


def _letters(reader: _Reader) -> tuple[Letter, ...]:
    per_model = [
        sql.SQL("coalesce({column}, 0) as {column}").format(column=sql.Identifier(f"{measure}_{model}"))
        for measure in ("leads", "deals", "revenue")
        for model in MODELS
    ]
    query = sql.SQL(
        """
        select letter_id, source, coalesce(title, '') as title, coalesce(subject, '') as subject, sent_at,
            coalesce(attempted_count, 0) as attempted, coalesce(sent_count, 0) as sent,
            coalesce(delivered_count, 0) as delivered, coalesce(bounced_count, 0) as bounced,
            coalesce(opened_count, 0) as opened, coalesce(opened_human_count, 0) as opened_human,
            coalesce(clicked_count, 0) as clicked, coalesce(clicked_human_count, 0) as clicked_human,
            coalesce(unsubscribed_count, 0) as unsubscribed, coalesce(complained_count, 0) as complained,
            open_rate, open_rate_human, click_rate, {per_model}
        from marts.mart_letter_performance
        order by {headline} desc nulls last, sent_at desc nulls last, letter_id
        """
    ).format(
        per_model=sql.SQL(", ").join(per_model),
        headline=sql.Identifier("mart_letter_performance", f"revenue_{MODELS[0]}"),
    )
    return tuple(_letter(row) for row in reader.rows(query, of=(LETTERS,)))


def _letter(row: Row) -> Letter:
    def by_model(measure: str) -> dict[str, Decimal]:
        return {model: Decimal(row[f"{measure}_{model}"]) for model in MODELS}

    return Letter(
        letter_id=row["letter_id"],
        source=row["source"],
        title=without_addresses(row["title"]),
        subject=without_addresses(row["subject"]),
        sent_at=row["sent_at"],
        attempted=row["attempted"],
        sent=row["sent"],
        delivered=row["delivered"],
        bounced=row["bounced"],
        opened=row["opened"],
        opened_human=row["opened_human"],
        clicked=row["clicked"],
        clicked_human=row["clicked_human"],
        unsubscribed=row["unsubscribed"],
        complained=row["complained"],
        open_rate=row["open_rate"],
        open_rate_human=row["open_rate_human"],
        click_rate=row["click_rate"],
        leads=by_model("leads"),
        deals=by_model("deals"),
        revenue=by_model("revenue"),
    )


def _funnel(reader: _Reader) -> tuple[FunnelStage, ...]:
    rows = reader.rows(
        """
        select stage_order, stage, source, sum(value)::numeric as value
        from marts.mart_funnel
        where stage <> 'revenue'
        group by stage_order, stage, source
        order by stage_order, stage, source
        """,
        of=(FUNNEL,),
    )
    by_stage: dict[str, dict[str, Decimal]] = {}
    for row in rows:
        by_stage.setdefault(row["stage"], {})[row["source"]] = row["value"] or Decimal(0)
    return tuple(FunnelStage(stage=stage, by_source=values) for stage, values in by_stage.items())


def _opens(reader: _Reader) -> tuple[OpensMonth, ...]:
    rows = reader.rows(
        """
        select date_trunc('month', sent_at at time zone 'UTC')::date as month,
            sum(opened_count)::bigint as opened, sum(opened_human_count)::bigint as opened_human
        from marts.mart_letter_performance
        where sent_at is not null
        group by 1
        order by 1
        """,
        of=(LETTERS,),
    )
    found = {
        row["month"]: OpensMonth(row["month"], opened=row["opened"] or 0, opened_human=row["opened_human"] or 0)
        for row in rows
    }
    # A month in which nothing was sent stays on the time axis as a gap.
    return tuple(found.get(month, OpensMonth(month, opened=0, opened_human=0)) for month in _months(found))


def _months(found: Iterable[date]) -> Iterator[date]:
    """Every month from the first to the last of those found."""
    known = sorted(found)
    month = known[0] if known else None
    while month and month <= known[-1]:
        yield month
        month = (month + timedelta(days=32)).replace(day=1)


def _list_growth(reader: _Reader) -> tuple[ListMonth, ...]:
    rows = reader.rows(
        """
        select month::date as month, coalesce(joined, 0)::bigint as joined,
            coalesce(unsubscribed, 0)::bigint as unsubscribed, coalesce(bounced, 0)::bigint as bounced,
            coalesce(complained, 0)::bigint as complained, active::bigint as active
        from marts.mart_list_growth
        order by month
        """,
        of=(LIST_GROWTH,),
    )
    return tuple(ListMonth(**row) for row in rows)


def _models(reader: _Reader) -> tuple[ModelTotals, ...]:
    rows = reader.rows(
        """
        select model,
            coalesce(sum(credit) filter (where conversion_type = 'lead_created'), 0) as leads,
            coalesce(sum(credit) filter (where conversion_type = 'deal_won'), 0) as deals,
            coalesce(sum(amount) filter (where conversion_type = 'deal_won'), 0) as revenue,
            count(distinct letter_id) filter (where conversion_type = 'deal_won' and credit > 0) as letters,
            sum(credit * extract(epoch from converted_at - touched_at) / 86400)
                filter (where conversion_type = 'deal_won')
                / nullif(sum(credit) filter (where conversion_type = 'deal_won'), 0) as days_to_deal
        from marts.fct_attribution_credits
        where letter_id is not null
        group by model
        """,
        of=(CREDITS,),
    )
    found = {row["model"]: ModelTotals(**row) for row in rows}
    return tuple(found[model] for model in MODELS if model in found)


def _data_driven(reader: _Reader) -> tuple[ModelTotals, ...]:
    sums = [
        sql.SQL("sum({column}) filter (where conversion_type = {type}) as {name}").format(
            column=sql.Identifier(f"{measure}_{model}"),
            type=sql.Literal(conversion_type),
            name=sql.Identifier(f"{name}_{model}"),
        )
        for model in DATA_DRIVEN
        for name, measure, conversion_type in (
            ("leads", "credit", "lead_created"),
            ("deals", "credit", "deal_won"),
            ("revenue", "amount", "deal_won"),
        )
    ]
    query = sql.SQL("select {} from marts.mart_attribution_by_model where unit is not null").format(
        sql.SQL(", ").join(sums)
    )
    row = reader.one(query, of=(BY_MODEL,))
    return tuple(
        ModelTotals(
            model=model,
            leads=row[f"leads_{model}"] or Decimal(0),
            deals=row[f"deals_{model}"] or Decimal(0),
            revenue=row[f"revenue_{model}"],
            letters=None,
            days_to_deal=None,
        )
        for model in DATA_DRIVEN
        if row.get(f"revenue_{model}") is not None
    )


def _campaigns(reader: _Reader) -> tuple[Campaign, ...]:
    models = (*MODELS, *DATA_DRIVEN)
    query = sql.SQL(
        """
        select credits.unit, coalesce(campaigns.campaign_name, credits.unit) as name, {amounts}
        from marts.mart_attribution_by_model as credits
        left join marts.mart_campaign_performance as campaigns on credits.unit = campaigns.campaign
        where credits.conversion_type = 'deal_won' and credits.unit is not null
        order by {headline} desc, credits.unit
        """
    ).format(
        amounts=sql.SQL(", ").join(sql.Identifier("credits", f"amount_{model}") for model in models),
        headline=sql.Identifier("credits", f"amount_{MODELS[0]}"),
    )
    rows = reader.rows(query, of=(BY_MODEL, CAMPAIGNS))
    found = (
        Campaign(row["unit"], without_addresses(row["name"]), {model: row[f"amount_{model}"] for model in models})
        for row in rows
    )
    return tuple(campaign for campaign in found if any(campaign.revenue.values()))


def _uncredited(reader: _Reader) -> tuple[Uncredited, ...]:
    # Every model lists the same conversions without touches, so one model's rows are the answer.
    rows = reader.rows(
        """
        select conversion_type, coalesce(no_touch_reason, 'not stated') as reason,
            count(distinct conversion_id) as conversions, coalesce(sum(amount), 0) as amount
        from marts.fct_attribution_credits
        where model = 'last_touch' and letter_id is null
        group by 1, 2
        order by 1, 3 desc, 2
        """,
        of=(CREDITS,),
    )
    return tuple(Uncredited(**row) for row in rows)


def _suppression(reader: _Reader) -> tuple[SuppressionCount, ...]:
    rows = reader.rows(
        """
        select state, coalesce(source, 'not stated') as source, count(distinct email) as addresses
        from marts.dim_suppression
        where scope = 'everything'
        group by 1, 2
        order by 1, 2
        """,
        of=(SUPPRESSION,),
    )
    return tuple(SuppressionCount(**row) for row in rows)


def _sync_runs(reader: _Reader) -> tuple[SyncRun, ...]:
    query = sql.SQL(
        """
        select destination, coalesce(account, '') as account, coalesce(audience, '') as audience, dry_run,
            coalesce(planned, 0) as planned, coalesce(applied, 0) as applied,
            coalesce(already_ok, 0) as already_ok, coalesce(rejected, 0) as rejected,
            coalesce(retry_pending, 0) as retry_pending, coalesce(held, 0) as held,
            brake_reason, started_at, finished_at
        from ops.sync_runs
        order by started_at desc nulls last, sync_run_id desc
        limit {limit}
        """
    ).format(limit=sql.Literal(RECENT_RUNS))
    return tuple(_sync_run(row) for row in reader.rows(query, of=(SYNC_RUNS,)))


def _sync_run(row: Row) -> SyncRun:
    reason = row["brake_reason"]
    cleaned = None if reason is None else without_addresses(reason)
    return SyncRun(**{**row, "brake_reason": cleaned, "audience": without_addresses(row["audience"])})


def _audits(reader: _Reader) -> tuple[Drift, ...]:
    rows = reader.rows(NEWEST_AUDITS, of=(AUDITS,))
    return tuple(Drift(**{**row, "audience": without_addresses(row["audience"])}) for row in rows)


def _loads(reader: _Reader, at: datetime) -> tuple[Load, ...]:
    rows = reader.rows(
        """
        with finished as (
            select *,
                count(*) over (partition by target) as loads,
                coalesce(sum(inserted) over (partition by target), 0)::bigint as rows_copied,
                row_number() over (partition by target order by finished_at desc, load_id desc) as newest
            from ops.loads
            where finished_at is not null
        ),

        status as (select target, proven_at, notices as said from ops.table_status)

        select target, coalesce(strategy, '') as strategy, loads, rows_copied, coalesce(read, 0) as read,
            coalesce(inserted, 0) as inserted, coalesce(updated, 0) as updated,
            coalesce(deleted, 0) as deleted, coalesce(quarantined, 0) as quarantined, finished_at,
            proven_at, coalesce(said, '[]'::jsonb) as notices
        from finished
        left join status using (target)
        where newest = 1
        order by target
        """,
        of=(LOADS, STATUS),
    )
    return tuple(Load(**{**row, "notices": recent_notices(row["notices"], at=at)}) for row in rows)


def _quality(reader: _Reader) -> tuple[QualityCheck, ...]:
    rows = reader.rows(
        """
        select distinct on (suite) suite, success, coalesce(evaluated, 0) as evaluated,
            coalesce(failed, 0) as failed, at
        from ops.quality_checks
        order by suite, at desc, check_id desc
        """,
        of=(QUALITY,),
    )
    return tuple(QualityCheck(**{**row, "suite": without_addresses(row["suite"])}) for row in rows)
