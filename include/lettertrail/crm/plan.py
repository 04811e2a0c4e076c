"""Desired against acknowledged, field by field: what has to be written to which card.

`ops.acknowledged.fields` has a fingerprint of every value that Bitrix confirmed on a card, `-` for an empty one. Where
nothing is known of a field, it is planned only when it is to hold something: what a person filled in is not emptied.
What is on the portal itself is not asked here: a write begins by looking. Cards of people who were erased are left as
they are: what the marts say of a pseudonym must not come back onto a card that was emptied.

    add      the first values of a card
    update   values changed
    remove   at least one value emptied; the brake counts these
"""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from lettertrail.audiences.plan import Plan, Target, plan_records
from lettertrail.bitrix.user_fields import Kind
from lettertrail.crm.fields import CardFields
from lettertrail.warehouse.connect import Connection

DESIRED_FIELDS = """
select
    card.{key}::text as record_key,
    field.key as name,
    field.value as wanted,
    case when field.value = 'null' then '-' else md5(field.value::text) end as fingerprint
from {relation} as card
cross join lateral jsonb_each(jsonb_build_object({pairs})) as field
where not exists (select from ops.erased_cards({entity}) as erased (card_id) where erased.card_id = card.{key})
"""
PLAN_CARD_FIELDS = """
insert into planned (record_key, action, reason, has_evidence, is_ours, is_new, attributes, fields, value)
with

desired_fields as (

    {desired_fields}

),

differences as (

    select
        desired_fields.*,
        coalesce(confirmed.value, 'add_refused') <> 'add_refused' as is_known
    from desired_fields
    left join confirmed using (record_key)
    where desired_fields.fingerprint <> coalesce(confirmed.fields ->> desired_fields.name, '-')
        and (
            confirmed.record_key is null
            or confirmed.confirmed_at < %(refused_before)s
            or (
                confirmed.value not in ('add_refused', 'remove_refused')
                and '!' || desired_fields.fingerprint <> coalesce(confirmed.fields ->> desired_fields.name, '-')
            )
        )

),

changes as (

    select
        record_key,
        is_known,
        bool_or(wanted = 'null') as empties,
        jsonb_object_agg(name, wanted) as attributes,
        jsonb_object_agg(name, fingerprint) as fields
    from differences
    group by record_key, is_known

)

select
    changes.record_key,
    case when empties then 'remove' when is_known then 'update' else 'add' end,
    case
        when empties then 'values emptied'
        when is_known then 'values changed'
        when tried.record_key is not null then 'not confirmed yet'
        else 'first values'
    end,
    false,
    true,
    tried.record_key is null,
    attributes,
    fields,
    'member'
from changes
left join tried on tried.record_key = changes.record_key and tried.action = 'add'
"""

_SPELLED: dict[Kind, str] = {
    "string": "nullif(btrim({column}), '')",
    "integer": "{column}::bigint",
    "boolean": "{column}::int",
    # as the field holds it, in whole seconds
    "datetime": "to_char(date_trunc('second', {column}) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"')",
}


def plan_card_fields(connection: Connection, cards: CardFields, target: Target, *, at: datetime) -> Plan:
    """Fills the temporary table `planned` for the cards of one entity.

    Raises:
        ContractError: when the mart is missing.
    """
    statement = sql.SQL(PLAN_CARD_FIELDS).format(desired_fields=desired_fields(cards))
    return plan_records(connection, target, statement, {}, at=at)


def desired_fields(cards: CardFields) -> sql.Composed:
    """The select behind a plan: one row per card and field with `record_key`, `name`, `wanted`, `fingerprint`."""
    pairs = sql.SQL(", ").join(
        part
        for column, field in cards.columns.items()
        for part in (
            sql.Literal(field.name),
            sql.SQL(_SPELLED[field.kind]).format(column=sql.Identifier(column)),
        )
    )
    return sql.SQL(DESIRED_FIELDS).format(
        key=sql.Identifier(cards.key),
        pairs=pairs,
        relation=sql.Identifier(*cards.relation),
        entity=sql.Literal(cards.entity),
    )
