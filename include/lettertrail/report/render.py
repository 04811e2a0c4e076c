"""Draws the report: one HTML file that needs no network, no script and no font but the reader's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lettertrail.report import charts, format
from lettertrail.report.collect import RECENT_RUNS, collect
from lettertrail.report.data import (
    DATA_DRIVEN,
    MODELS,
    Campaign,
    FunnelStage,
    Letter,
    ListMonth,
    OpensMonth,
    ReportData,
    SuppressionCount,
)
from lettertrail.report.format import Number
from lettertrail.report.truth import TruthComparison

log = logging.getLogger(__name__)

TOP_LETTERS = 12
TOP_CAMPAIGNS = 15

MODEL_NAMES = {
    "last_touch": "Last touch",
    "first_touch": "First touch",
    "linear": "Linear",
    "position_based": "Position",
    "time_decay": "Time decay",
    "w_shape": "W-shape",
    "last_non_direct": "Last non-direct",
    "markov_1": "Markov, 1st order",
    "markov_2": "Markov, 2nd order",
    "shapley": "Shapley",
}

SOURCE_NAMES = {"bitrix": "Bitrix", "mailchimp": "Mailchimp"}

CONVERSION_NAMES = {
    "lead_created": "Lead created",
    "form_submitted": "Form submitted",
    "call": "Call",
    "deal_created": "Deal created",
    "deal_won": "Deal won",
    "order_placed": "Order placed",
    "order_paid": "Order paid",
}

NO_TOUCH_REASONS = {
    "person_unknown": "nobody known is behind it",
    "no_letter_before": "no letter was sent to the person before",
    "no_touch_before": "the person had clicked in no letter before",
    "outside_lookback": "the last click lies before the lookback window",
}

SUPPRESSION_STATES = ("erased", "complaint", "hard_bounce", "unsubscribed", "no_consent")
"""The strongest evidence first, as in `dim_suppression`."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a funnel stage is called and which stage its rate is a part of."""

    name: str
    base: str | None
    rate: str


FUNNEL_STAGES = {
    "sent": Stage("Sent", base=None, rate=""),
    "delivered": Stage("Delivered", base="sent", rate="of sent"),
    "opened": Stage("Opened by a person", base="delivered", rate="of delivered"),
    "clicked": Stage("Clicked by a person", base="delivered", rate="of delivered"),
    "visits": Stage("Visit tied to a letter", base="clicked", rate="of clicked"),
    "leads": Stage("Lead", base="clicked", rate="of clicked"),
    "deals": Stage("Deal", base="leads", rate="of leads"),
    "deals won": Stage("Deal won", base="deals", rate="of deals"),
}
"""The stages of `mart_funnel` but revenue, which is no count; one not named here is a share of the stage before it."""


@dataclass(frozen=True, slots=True)
class LetterBar:
    """A letter's bar under one model, with the spread of its revenue over all models (percent of the plot)."""

    letter: Letter
    segments: tuple[charts.Segment, ...]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StageBar:
    """A funnel stage's bar and its rate against the stage it is a part of."""

    name: str
    stage: FunnelStage
    segments: tuple[charts.Segment, ...]
    rate: Decimal | None
    rate_of: str


@dataclass(frozen=True, slots=True)
class SuppressionRow:
    """Addresses in one state, per source and together."""

    state: str
    by_source: Mapping[str, int]
    total: int
    segments: tuple[charts.Segment, ...]


def render(data: ReportData, *, truth: TruthComparison | None = None) -> str:
    """The report as one HTML document.

    Args:
        data: from `collect`.
        truth: draws the panel "recovered versus true"; only a sample site knows its truth.
    """
    sources = _sources(data)
    template = _environment(data).get_template("report.html.j2")
    return template.render(
        data=data,
        truth=truth,
        models=MODELS,
        data_driven=DATA_DRIVEN,
        top_campaigns=data.campaigns[:TOP_CAMPAIGNS],
        best_campaigns=_best_campaigns(data.campaigns),
        top=_top_letters(data.letters),
        sources=sources,
        funnel=_funnel(data.funnel, sources),
        opens=_opens(data.opens),
        growth=_growth(data.list_growth),
        suppression=_suppression(data.suppression, sources),
        recent_runs=RECENT_RUNS,
        truth_bars=None if truth is None else _truth_bars(truth),
    )


def write_report(
    warehouse_dsn: str,
    path: Path,
    *,
    at: datetime,
    truth: TruthComparison | None = None,
) -> Path:
    """Collects and draws the report and puts it at `path` in one step, so a reader never sees half a page.

    Raises:
        What `collect` raises; `path` then keeps what it held before.
    """
    page = render(collect(warehouse_dsn, at=at), truth=truth)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    log.info("report: %s bytes written", len(page.encode()))
    return path


def _environment(data: ReportData) -> Environment:
    environment = Environment(
        loader=PackageLoader("lettertrail.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=format.number,
        credit=format.credit,
        compact=format.compact,
        money=partial(format.money, currency=data.currency),
        compact_money=partial(format.compact_money, currency=data.currency),
        percent=format.percent,
        share=format.share,
        day=format.day,
        month=format.month,
        minute=format.minute,
        age=partial(format.age, at=data.at),
        words=format.words,
        model=lambda name: MODEL_NAMES.get(name, format.words(name)),
        source=lambda name: SOURCE_NAMES.get(name, format.words(name)),
        conversion=lambda name: CONVERSION_NAMES.get(name, format.words(name)),
        reason=lambda name: NO_TOUCH_REASONS.get(name, format.words(name)),
        name=_letter_name,
    )
    return environment


def _letter_name(letter: Letter) -> str:
    return letter.title.strip() or letter.subject.strip() or letter.letter_id


def _best_campaigns(campaigns: Sequence[Campaign]) -> dict[str, Campaign]:
    """Of each data-driven model the campaign it credits most to."""
    best: dict[str, Campaign] = {}
    for model in DATA_DRIVEN:
        earning = [(amount, campaign) for campaign in campaigns if (amount := campaign.revenue[model])]
        if earning:
            best[model] = max(earning, key=lambda pair: pair[0])[1]
    return best


def _top_letters(letters: Sequence[Letter]) -> dict[str, list[LetterBar]]:
    """The best letters of each model, drawn to one scale so that switching the model moves only what changed."""
    longest = max((amount for letter in letters for amount in letter.revenue.values()), default=Decimal(0))
    top = {}
    for model in MODELS:
        earning = [letter for letter in letters if letter.revenue[model] > 0]
        best = sorted(earning, key=lambda letter: letter.revenue[model], reverse=True)[:TOP_LETTERS]
        top[model] = [_letter_bar(letter, model, longest) for letter in best]
    return top


def _letter_bar(letter: Letter, model: str, longest: Decimal) -> LetterBar:
    return LetterBar(
        letter=letter,
        segments=charts.bar({"main": letter.revenue[model]}, longest=longest),
        low=round(float(100 * min(letter.revenue.values()) / longest), 3),
        high=round(float(100 * max(letter.revenue.values()) / longest), 3),
    )


def _funnel(stages: Sequence[FunnelStage], sources: Sequence[str]) -> list[StageBar]:
    totals = {stage.stage: stage.total for stage in stages}
    longest = max(totals.values(), default=Decimal(0))
    bars = []
    before: str | None = None
    for stage in stages:
        known = FUNNEL_STAGES.get(stage.stage)
        base = known.base if known else before
        bars.append(
            StageBar(
                name=known.name if known else format.words(stage.stage),
                stage=stage,
                segments=charts.bar(_by_source(stage.by_source, sources), longest=longest),
                rate=format.share(stage.total, totals.get(base)) if base else None,
                rate_of=known.rate if known else f"of {format.words(before or '')}",
            )
        )
        before = stage.stage
    return bars


def _sources(data: ReportData) -> list[str]:
    """Every source on the page; its place decides its colour, so a source looks the same in all charts."""
    in_funnel = {source for stage in data.funnel for source in stage.by_source}
    return sorted({letter.source for letter in data.letters} | in_funnel | {row.source for row in data.suppression})


def _by_source(values: Mapping[str, Number], sources: Sequence[str]) -> dict[str, Number]:
    """The parts of a bar, named after the colours of the sources."""
    return {f"s{place}": values[source] for place, source in enumerate(sources) if source in values}


def _opens(months: Sequence[OpensMonth]) -> charts.ColumnChart | None:
    if not months:
        return None
    return charts.columns(
        [row.month for row in months],
        labels=[
            f"{format.month(row.month)}: {format.number(row.opened_human)} people, "
            f"{format.number(row.opened_otherwise)} machines or doubtful"
            for row in months
        ],
        up={
            "human": [row.opened_human for row in months],
            "machine": [row.opened_otherwise for row in months],
        },
    )


def _growth(months: Sequence[ListMonth]) -> charts.ColumnChart | None:
    if not months:
        return None
    return charts.columns(
        [row.month for row in months],
        labels=[
            f"{format.month(row.month)}: {format.number(row.joined)} joined, "
            f"{format.number(row.unsubscribed)} unsubscribed, {format.number(row.bounced)} bounced, "
            f"{format.number(row.complained)} complained"
            for row in months
        ],
        up={"joined": [row.joined for row in months]},
        down={
            "unsubscribed": [row.unsubscribed for row in months],
            "bounced": [row.bounced for row in months],
            "complained": [row.complained for row in months],
        },
    )


def _suppression(counts: Sequence[SuppressionCount], sources: Sequence[str]) -> list[SuppressionRow]:
    by_state: dict[str, dict[str, int]] = {}
    for count in counts:
        by_state.setdefault(count.state, {})[count.source] = count.addresses
    longest = max((sum(values.values()) for values in by_state.values()), default=0)
    rank = {state: place for place, state in enumerate(SUPPRESSION_STATES)}
    return [
        SuppressionRow(
            state=state,
            by_source=values,
            total=sum(values.values()),
            segments=charts.bar(_by_source(values, sources), longest=longest),
        )
        for state, values in sorted(by_state.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))
    ]


def _truth_bars(truth: TruthComparison) -> dict[str, tuple[charts.Segment, ...]]:
    """Revenue bars by model, and under 'truth' what letters really caused."""
    won = truth.won
    longest = max([won.amount, *(model.credited_amount for model in won.models)])
    bars = {
        model.model: charts.bar(
            {
                "main": model.right_letter_amount,
                "near": model.caused_amount - model.right_letter_amount,
                "machine": model.credited_amount - model.caused_amount,
            },
            longest=longest,
        )
        for model in won.models
    }
    return {"truth": charts.bar({"truth": won.amount}, longest=longest), **bars}
