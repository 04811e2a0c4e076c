"""Read-back of the values on cards: does Bitrix still show what it once confirmed?"""

from __future__ import annotations

from psycopg import sql

from lettertrail.audiences.audit import AuditResult, Reading, read_back
from lettertrail.audiences.plan import Target
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bitrix.rest_cards import BitrixCards
from lettertrail.clock import Clock
from lettertrail.crm.fields import CardFields
from lettertrail.crm.plan import desired_fields

# The ledger keeps fingerprints. What a value was is known while the mart still says the same; a card that is to show
# something else by now is written by the next plan anyway.
EXPECT_CARDS = """
create temporary table expected on commit drop as
with

desired_fields as (

    {desired_fields}

)

select
    known.destination,
    known.account,
    known.audience,
    known.record_key,
    jsonb_object_agg(desired.name, desired.wanted) as shown
from ops.acknowledged as known
inner join desired_fields as desired
    on desired.record_key = known.record_key
    and desired.fingerprint = known.fields ->> desired.name
    and desired.fingerprint <> '-'
where known.destination = %(destination)s
    and known.account = %(account)s
    and known.audience = %(audience)s
    and known.value = 'member'
group by known.destination, known.account, known.audience, known.record_key
"""
READ_EXPECTED = "select record_key, shown from expected"


def audit_card_fields(
    cards: CardFields, rest: BitrixRest, warehouse_dsn: str, *, run_id: str, clock: Clock
) -> AuditResult | None:
    """Compares the values on the cards of one entity with what was confirmed; None when nothing was ever pushed.

    A card with a value that somebody changed or emptied counts as missing, one that is gone as it should be. A field
    that is to be empty is not looked at: what a person filled in is not emptied.

    Raises:
        BrakeApplied: so much is missing that nothing was repaired.
        ApiError: Bitrix could not be read; nothing was compared.
        ContractError: the mart is missing.
    """
    portal = BitrixCards(rest, cards.entity, list(cards.columns.values()))
    reading = Reading(
        sql.SQL(EXPECT_CARDS).format(desired_fields=desired_fields(cards)),
        lambda connection: portal.unchanged(dict(connection.execute(READ_EXPECTED).fetchall())),
        keeps_strangers=False,
    )
    target = Target(portal.name, portal.account, cards.audience)
    return read_back(target, reading, warehouse_dsn, run_id=run_id, clock=clock)
