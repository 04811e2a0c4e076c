"""Tells ESPs with preference categories what people chose on the page, by the machinery of all pushes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from psycopg import sql

from lettertrail.audiences.brake import Limits
from lettertrail.audiences.destinations import Writer
from lettertrail.audiences.plan import Target, plan_records
from lettertrail.audiences.push import SyncResult, sync_records
from lettertrail.audiences.state import Marks
from lettertrail.audiences.statements import CHANGED_FIELDS
from lettertrail.clock import Clock
from lettertrail.esps.port import Outcome, Record

AUDIENCE = "preferences"
"""The name in `ops` of what people chose on the page."""

# Only names of categories that the service showed with the contact: one it lacks would make it refuse the others.
_PLAN = sql.SQL("""
with

desired as (

    select
        choice.email as record_key,
        jsonb_object_agg(choice.name, choice.is_wanted) as attributes,
        jsonb_object_agg(choice.name, choice.is_wanted::text) as fields
    from marts.mart_preference_choices as choice
    inner join raw_esp.contacts as contact
        on choice.email = lower(btrim(contact.email)) and contact.fields ? choice.name
    where choice.esp in ('any', %(destination)s)
        and contact.esp = %(destination)s
        and contact.account = %(account)s
        and contact.status in ('subscribed', 'pending', 'unknown')
        and contact._deleted_at is null
    group by choice.email

)

insert into planned (record_key, action, reason, has_evidence, attributes, fields, value)
select
    desired.record_key,
    'update',
    'chosen on the preference page',
    false,
    changed.attributes,
    changed.fields,
    'member'
from desired
left join confirmed using (record_key)
{changed_fields}
where changed.fields is not null
""").format(changed_fields=CHANGED_FIELDS)


class TakesPreferences(Writer, Protocol):
    """An ESP with categories."""

    def set_preferences(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """One outcome per record; `attributes` maps names of categories to True or False."""
        ...


def sync_preferences(
    esp: TakesPreferences, warehouse_dsn: str, *, run_id: str, clock: Clock, dry_run: bool, marks: Marks | None = None
) -> SyncResult:
    """Writes what an ESP has not confirmed yet; nobody's status changes by it.

    Raises:
        BrakeApplied: the marts are too old to go by; nothing was pushed.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ContractError: a mart is missing, or the ESP did not account for a record.
        LedgerImbalance: the run's sums do not add up.
    """
    target = Target(esp.name, esp.account, AUDIENCE)
    return sync_records(
        target, esp, {"update": esp.set_preferences}, warehouse_dsn,
        make_plan=partial(plan_records, target=target, statement=_PLAN, values={}),
        run_id=run_id, clock=clock, dry_run=dry_run, limits=Limits(), marks=marks,
    )  # fmt: skip
