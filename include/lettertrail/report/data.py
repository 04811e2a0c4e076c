"""What the report shows, as plain values: filled by `collect`, drawn by `render`.

Counts are ints, credits and money are Decimals, times are aware UTC, months are the first day of the month.
A part the warehouse has no answer for is an empty tuple or None, never a made-up zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from lettertrail.audiences.audit import Drift

MODELS = (
    "last_touch",
    "first_touch",
    "linear",
    "position_based",
    "time_decay",
    "w_shape",
    "last_non_direct",
)
"""The models that share out each conversion by a rule, in the order they are shown; the first is the headline."""
DATA_DRIVEN = ("markov_1", "markov_2", "shapley")
"""The models that look at all paths together; they credit campaigns and not letters."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The figures of the tiles; None where the relation they come from is missing."""

    letters: int | None
    people_written_to: int | None
    won_deals: int | None
    won_revenue: Decimal | None
    credited_revenue: Decimal | None
    """Revenue of won deals credited to a letter by last touch."""
    suppressed_people: int | None
    suppressed_addresses: int | None
    pushed_records: int | None
    """Records a destination accepted from us, over all runs that were not dry."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One row of `marts.mart_letter_performance`. Rates are fractions; None means not tracked or not sent."""

    letter_id: str
    source: str
    title: str
    subject: str
    sent_at: datetime | None
    attempted: int
    sent: int
    delivered: int
    bounced: int
    opened: int
    opened_human: int
    clicked: int
    clicked_human: int
    unsubscribed: int
    complained: int
    open_rate: Decimal | None
    open_rate_human: Decimal | None
    click_rate: Decimal | None
    leads: Mapping[str, Decimal]
    """Credited leads by model."""
    deals: Mapping[str, Decimal]
    """Credited won deals by model."""
    revenue: Mapping[str, Decimal]
    """Credited revenue by model."""


@dataclass(frozen=True, slots=True)
class FunnelStage:
    """One stage of the funnel with its count per source ('bitrix', 'mailchimp', …)."""

    stage: str
    by_source: Mapping[str, Decimal]

    @property
    def total(self) -> Decimal:
        return sum(self.by_source.values(), Decimal(0))


@dataclass(frozen=True, slots=True)
class OpensMonth:
    """Openers of the letters sent in one month: each person counts once per letter."""

    month: date
    opened: int
    opened_human: int

    @property
    def opened_otherwise(self) -> int:
        """Opened by machines only, or by what may be either."""
        return self.opened - self.opened_human


@dataclass(frozen=True, slots=True)
class ListMonth:
    """Addresses that came to the list and left it in one month."""

    month: date
    joined: int
    unsubscribed: int
    bounced: int
    complained: int
    active: int | None

    @property
    def lost(self) -> int:
        return self.unsubscribed + self.bounced + self.complained


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """How one attribution model shares out the conversions."""

    model: str
    leads: Decimal
    deals: Decimal
    revenue: Decimal
    letters: int | None
    """Letters with any credit for a won deal; None for a model that credits campaigns."""
    days_to_deal: Decimal | None
    """Days from the credited touch to the won deal, weighted by credit."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What every model credits to one campaign, or channel, of the won deals."""

    unit: str
    """`<source>:<campaign>`, or the channel."""
    name: str
    revenue: Mapping[str, Decimal | None]
    """By model; None where the model was not asked about won deals."""


@dataclass(frozen=True, slots=True)
class Uncredited:
    """Conversions no letter gets credit for, with the reason."""

    conversion_type: str
    reason: str
    conversions: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class SuppressionCount:
    """Addresses not to be mailed, by their state and the source of the strongest evidence."""

    state: str
    source: str
    addresses: int


@dataclass(frozen=True, slots=True)
class SyncRun:
    """One push of one audience to one destination (`ops.sync_runs`)."""

    destination: str
    account: str
    audience: str
    dry_run: bool
    planned: int
    applied: int
    already_ok: int
    rejected: int
    retry_pending: int
    held: int
    brake_reason: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Load:
    """The last finished load of one raw table, and what all its loads brought (`ops.loads`)."""

    target: str
    strategy: str
    loads: int
    rows_copied: int
    """Rows inserted by all loads together."""
    read: int
    inserted: int
    updated: int
    deleted: int
    quarantined: int
    finished_at: datetime
    proven_at: datetime | None
    """When the copy was last seen to be its source, row by row; None when never."""
    notices: tuple[str, ...]
    """What a person should know, of the last seven days: columns that came or went, rows refused."""


@dataclass(frozen=True, slots=True)
class QualityCheck:
    """The latest outcome of one Great Expectations suite (`ops.quality_checks`)."""

    suite: str
    success: bool
    evaluated: int
    failed: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page but the comparison with the truth."""

    at: datetime
    """When the report was made."""
    currency: str | None
    """ISO code of the base currency, None when nobody told."""
    missing: tuple[str, ...]
    """Relations that do not exist yet, as 'schema.name'."""
    headline: Headline
    letters: tuple[Letter, ...]
    """By last-touch revenue, highest first."""
    campaigns: tuple[Campaign, ...]
    """By last-touch revenue, highest first; none without any."""
    funnel: tuple[FunnelStage, ...]
    opens: tuple[OpensMonth, ...]
    list_growth: tuple[ListMonth, ...]
    models: tuple[ModelTotals, ...]
    """Those by a rule, then the data-driven ones."""
    uncredited: tuple[Uncredited, ...]
    suppression: tuple[SuppressionCount, ...]
    sync_runs: tuple[SyncRun, ...]
    """The newest first, at most `collect.RECENT_RUNS`."""
    loads: tuple[Load, ...]
    quality: tuple[QualityCheck, ...]
    audits: tuple[Drift, ...] = ()
    """By account and audience."""
