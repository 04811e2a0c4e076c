{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='claimed_by',
    indexes=[
        {'columns': ['claimed_by']},
        {'columns': ['identifier_number']},
        {'columns': ['other_identifier_number']},
        {'columns': ['_built_at']},
    ],
    unlogged=false,
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#
    What single raw rows say about identity, each by itself, so that a raw row that changed is read again alone. A row that says
    nothing (any more) has a claim without identifiers. What a row said earlier stays, marked `is_gone`, so that readers hear of it; a row
    that says what it said before is not written again.
#}
-- depends_on: {{ ref('int_loads') }}
{%- set since = incremental_since() %}
{%- set multi_fields_of_new_loads -%}
    select multi_field_id from {{ ref('stg_bitrix__multi_field_arrivals') }} where {{ only_new_loads(since) }}
{%- endset %}

with cards as (

    select * from {{ ref('stg_bitrix__cards') }}
    where {{ only_new_loads(since) }}

),

multi_fields as (

    select * from {{ ref('stg_bitrix__multi_fields') }}
    {%- if since %}
    where {{ among('multi_field_id', multi_fields_of_new_loads) }}
    {%- endif %}

),

recycled_cards as (

    select * from {{ ref('stg_bitrix__recycled_cards') }}
    where {{ only_new_loads(since) }}

),

recycling_relations as (

    select * from {{ ref('stg_bitrix__recycling_relations') }}
    where {{ only_new_loads(since) }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where {{ only_new_loads(since) }}

),

abuse_reports as (

    select * from {{ ref('stg_bitrix__abuse_reports') }}
    where {{ only_new_loads(since) }}

),

blacklisted_emails as (

    select * from {{ ref('stg_bitrix__blacklisted_emails') }}
    where {{ only_new_loads(since) }}

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where {{ only_new_loads(since) }}

),

event_addresses as (

    select distinct email from {{ ref('stg_esp__event_arrivals') }}
    where email is not null
        and {{ only_new_loads(since) }}

),

-- what was chosen stays, and says no more about identity than that there is the address
choice_addresses as (

    select distinct choices.email
    from {{ ref('stg_inbox__choices') }} as choices
    {%- if since %}
    left join {{ this }} as known
        on 'raw_inbox.choices:' || choices.email = known.claimed_by
    where known.claimed_by is null
    {%- endif %}

),

recipient_cards as (

    select * from {{ ref('int_recipient_cards') }}
    {%- if since %}
    where _built_at > {{ since }}
    {%- endif %}

),

said as (

    -- that there is such a card
    select
        'card:' || card_type || ':' || card_id as claimed_by,
        card_type as kind,
        cast(card_id as {{ dbt.type_string() }}) as identifier,
        cast(null as {{ dbt.type_string() }}) as other_kind,
        cast(null as {{ dbt.type_string() }}) as other_identifier,
        is_deleted,
        is_nobody
    from cards

    union all

    -- a lead and the contact it belongs to, or was made into; a deleted card said it while it was there
    select
        'card:' || card_type || ':' || card_id,
        'lead',
        cast(case card_type when 'lead' then card_id else lead_id end as {{ dbt.type_string() }}),
        'contact',
        cast(case card_type when 'lead' then contact_id else card_id end as {{ dbt.type_string() }}),
        false,
        false
    from cards
    where card_type in ('lead', 'contact')
        and coalesce(contact_id, lead_id) is not null

    union all

    select 'card:user:' || card_id, 'user', cast(card_id as {{ dbt.type_string() }}), 'email', email, false, false
    from cards
    where card_type = 'user'
        and email is not null

    union all

    select 'card:user:' || card_id, 'user', cast(card_id as {{ dbt.type_string() }}), 'phone', mobile_phone, false, false
    from cards
    where card_type = 'user'
        and mobile_phone is not null

    union all

    select 'card:user:' || card_id, 'user', cast(card_id as {{ dbt.type_string() }}), 'phone', other_phone, false, false
    from cards
    where card_type = 'user'
        and other_phone <> coalesce(mobile_phone, '')

    union all

    -- a card in the recycle bin lends its addresses to the bin's row
    select
        'b_crm_field_multi:' || multi_field_id,
        case
            when identifier is null then null
            when entity_type in ('contact', 'lead', 'company') then entity_type
            when entity_type in ('recycled_contact', 'recycled_lead', 'recycled_company') then 'recycled'
        end,
        cast(entity_id as {{ dbt.type_string() }}),
        identifier_type,
        identifier,
        is_deleted,
        false
    from multi_fields

    union all

    select
        'b_recyclebin:' || recycle_bin_id,
        'recycled',
        cast(recycle_bin_id as {{ dbt.type_string() }}),
        card_type,
        cast(card_id as {{ dbt.type_string() }}),
        false,
        false
    from recycled_cards
    where card_type in ('contact', 'lead', 'company')
        and card_id is not null

    union all

    -- a card that came back from the bin has a new number
    select
        'b_crm_recycling_relation:' || relation_id,
        case
            when source_card_type in ('contact', 'lead', 'company') and previous_source_card_id <> source_card_id
                then source_card_type
        end,
        cast(previous_source_card_id as {{ dbt.type_string() }}),
        source_card_type,
        cast(source_card_id as {{ dbt.type_string() }}),
        false,
        false
    from recycling_relations

    union all

    select
        'b_crm_recycling_relation:' || relation_id,
        target_card_type,
        cast(previous_target_card_id as {{ dbt.type_string() }}),
        target_card_type,
        cast(target_card_id as {{ dbt.type_string() }}),
        false,
        false
    from recycling_relations
    where target_card_type in ('contact', 'lead', 'company')
        and previous_target_card_id <> target_card_id

    union all

    -- of cards that are both there, the lead itself says whose it is
    select
        'b_crm_recycling_relation:' || relation_id,
        'lead',
        cast(source_card_id as {{ dbt.type_string() }}),
        'contact',
        cast(target_card_id as {{ dbt.type_string() }}),
        false,
        false
    from recycling_relations
    where source_card_type = 'lead'
        and target_card_type = 'contact'
        and coalesce(source_recycle_bin_id, target_recycle_bin_id) is not null

    union all

    select
        'b_sender_contact:' || address_id,
        'address',
        cast(address_id as {{ dbt.type_string() }}),
        case
            when email is not null then 'email'
            when phone is not null then 'phone'
            else crm_card_type
        end,
        coalesce(email, phone, cast(crm_card_id as {{ dbt.type_string() }})),
        false,
        false
    from addresses

    union all

    select
        'b_sender_contact:' || address_id,
        'user',
        cast(user_id as {{ dbt.type_string() }}),
        'address',
        cast(address_id as {{ dbt.type_string() }}),
        false,
        false
    from addresses
    where user_id is not null

    union all

    -- a letter was sent to this address as that card's: ties an address to the card that has since changed it
    select
        'recipient:' || address_id || ':' || card_type || ':' || card_id,
        card_type,
        cast(card_id as {{ dbt.type_string() }}),
        'address',
        cast(address_id as {{ dbt.type_string() }}),
        false,
        false
    from recipient_cards

    union all

    select 'b_sender_abuse:' || abuse_report_id, 'email', email, null, null, false, false
    from abuse_reports

    union all

    select 'b_main_mail_blacklist:' || blacklist_id, 'email', email, null, null, false, false
    from blacklisted_emails

    union all

    select 'raw_esp.contacts:' || subscriber_id, 'email', email, null, null, false, false
    from subscribers

    union all

    select 'raw_esp.events:' || email, 'email', email, null, null, false, false
    from event_addresses

    union all

    select 'raw_inbox.choices:' || email, 'email', email, null, null, false, false
    from choice_addresses

),

-- both ends, or the one end of a claim that has but one, must be known
complete as (

    select
        claimed_by,
        case when is_usable then kind end as kind,
        case when is_usable then identifier end as identifier,
        case when is_usable then other_kind end as other_kind,
        case when is_usable then other_identifier end as other_identifier,
        is_deleted,
        is_nobody

    from (
        select
            *,
            kind is not null
            and identifier is not null
            and (other_kind is null) = (other_identifier is null) as is_usable

        from said
    ) as judged

),

numbered as (

    select
        *,
        {{ hash_to_number("kind || ':' || identifier") }} as identifier_number,
        {{ hash_to_number("other_kind || ':' || other_identifier") }} as other_identifier_number

    from complete

),

{% if since -%}
held as (

    select * from {{ this }}
    where {{ among('claimed_by', 'select claimed_by from numbered') }}

),

claims as (

    select
        numbered.*,
        false as is_gone
    from numbered

    union all

    select
        held.claimed_by,
        held.kind,
        held.identifier,
        held.other_kind,
        held.other_identifier,
        held.is_deleted,
        held.is_nobody,
        held.identifier_number,
        held.other_identifier_number,
        true as is_gone
    from held
    left join numbered
        on held.claimed_by = numbered.claimed_by
            and {{ same_claim('held', 'numbered') }}
    where numbered.claimed_by is null
        and held.kind is not null

),

changed as (

    select distinct claims.claimed_by

    from claims
    left join held
        on claims.claimed_by = held.claimed_by
            and {{ same_claim('claims', 'held') }}
    where held.claimed_by is null
        or {{ rows_differ('claims', 'held', ['is_deleted', 'is_nobody', 'is_gone']) }}

)
{%- else -%}
claims as (

    select
        *,
        false as is_gone

    from numbered

)
{%- endif %}

select
    claims.*,
    {{ built_at() }} as _built_at

from claims
{%- if since %}
inner join changed
    on claims.claimed_by = changed.claimed_by
{%- endif %}
