"""Pushes values to cards, with the promises of `audiences/push.py`."""

from __future__ import annotations

from functools import partial

from lettertrail.audiences.brake import Limits
from lettertrail.audiences.plan import Target
from lettertrail.audiences.push import SyncResult, sync_records
from lettertrail.audiences.state import Marks
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bitrix.rest_cards import BitrixCards
from lettertrail.clock import Clock
from lettertrail.crm.fields import CONTACTS, CardFields
from lettertrail.crm.own_writes import WarehouseOwnWrites
from lettertrail.crm.plan import plan_card_fields

FIELD_LIMITS = Limits(max_removed_pct=5.0, tolerated_rows=10)
"""For cards that would lose a value: a source that is being read anew must not empty them all."""


def sync_card_fields(
    cards: CardFields,
    rest: BitrixRest,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    dry_run: bool,
    release_brake: bool = False,
    limits: Limits = FIELD_LIMITS,
    marks: Marks | None = None,
) -> SyncResult:
    """Makes the cards of one entity show what their mart says. `marks` as in `audiences.push.sync_suppressions`.

    Raises:
        BrakeApplied: something was held; all the rest was pushed and recorded.
        ApiError: recorded; what was not confirmed is planned again by the next run.
        ContractError: the mart is missing, or a field exists on the portal with another type.
        LedgerImbalance: the run's sums do not add up.
    """
    # Nobody asks when a lead or a deal was changed; of a contact the age of its consents and preferences hangs on it.
    own_writes = WarehouseOwnWrites(warehouse_dsn) if cards is CONTACTS else None
    writer = BitrixCards(rest, cards.entity, list(cards.columns.values()), own_writes)
    target = Target(writer.name, writer.account, cards.audience)
    return sync_records(
        target,
        writer,
        dict.fromkeys(("add", "update", "remove"), writer.write),
        warehouse_dsn,
        make_plan=partial(plan_card_fields, cards=cards, target=target),
        run_id=run_id,
        clock=clock,
        dry_run=dry_run,
        release_brake=release_brake,
        limits=limits,
        marks=marks,
    )
