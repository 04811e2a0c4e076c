{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}
{%- set is_new = newer_than(since) if since else 'false' -%}

with recent_loads as (

    select load_id
    from {{ ref('int_loads') }}
    where {{ is_new }}

),

changed_mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where {{ is_new }}

),

changed_dispatches as (

    select * from {{ ref('int_dispatches') }}
    where {{ is_new }}

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone

),

-- imported once for each use: what is used twice is first worked out whole, with all its columns
recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}

),

recipients_by_address as (

    select * from {{ ref('stg_bitrix__recipients') }}

),

recipients_with_cards as (

    select * from {{ ref('stg_bitrix__recipients') }}

),

arrivals as (

    select * from {{ ref('stg_bitrix__message_arrivals') }}

),

esp_events as (

    select * from {{ ref('int_esp_events') }}

),

esp_events_by_mailbox as (

    select * from {{ ref('int_esp_events') }}

),

esp_events_by_dispatch as (

    select * from {{ ref('int_esp_events') }}

),

-- one look at the largest table for all that may have changed about its rows
recipient_rows as (

    select
        recipient_id,
        posting_id

    from recipients
    where _load_id in (select load_id from recent_loads)
        or posting_id in (select posting_id from changed_dispatches where posting_id is not null)
        or address_id in (select address_id from changed_mailboxes where address_id is not null)

),

-- where the address is gone, the row may still name a CRM contact; few are, so the fields of few have to be parsed
recipients_of_nobody as (

    select recipients_by_address.recipient_id

    from recipients_by_address
    left join mailboxes
        on recipients_by_address.address_id = mailboxes.address_id
    where mailboxes.person_id is null

),

recipients_of_contacts as (

    select
        recipients_with_cards.recipient_id,
        recipients_with_cards.posting_id

    from recipients_of_nobody
    inner join recipients_with_cards
        on recipients_of_nobody.recipient_id = recipients_with_cards.recipient_id
    inner join changed_mailboxes
        on recipients_with_cards.crm_contact_id = changed_mailboxes.contact_id

),

bitrix_events as (

    select
        coalesce('bitrix:' || recipient_id, event_id) as message_key,
        recipient_id,
        posting_id

    from arrivals
    where _load_id in (select load_id from recent_loads)
        or posting_id in (select posting_id from changed_dispatches where posting_id is not null)

),

esp_events_touched as (

    select
        message_key,
        dispatch_key,
        previous_message_key,
        previous_dispatch_key

    from esp_events
    where {{ is_new }}

    union all

    select
        esp_events.message_key,
        esp_events.dispatch_key,
        cast(null as {{ dbt.type_string() }}) as previous_message_key,
        cast(null as {{ dbt.type_string() }}) as previous_dispatch_key

    from esp_events_by_mailbox as esp_events
    inner join changed_mailboxes
        on esp_events.email = changed_mailboxes.email
    where changed_mailboxes.address_id is null

    union all

    select
        esp_events.message_key,
        esp_events.dispatch_key,
        cast(null as {{ dbt.type_string() }}) as previous_message_key,
        cast(null as {{ dbt.type_string() }}) as previous_dispatch_key

    from esp_events_by_dispatch as esp_events
    inner join changed_dispatches
        on esp_events.dispatch_key = changed_dispatches.dispatch_key

),

touched as (

    {%- if since %}

    select
        'bitrix:' || recipient_id as message_key,
        'bitrix:' || posting_id as dispatch_key,
        cast(recipient_id as bigint) as recipient_id
    from recipient_rows

    union

    select
        'bitrix:' || recipient_id,
        'bitrix:' || posting_id,
        cast(recipient_id as bigint)
    from recipients_of_contacts

    union

    select
        message_key,
        'bitrix:' || posting_id,
        cast(recipient_id as bigint)
    from bitrix_events

    union

    select
        message_key,
        dispatch_key,
        cast(null as bigint)
    from esp_events_touched

    union

    select
        previous_message_key,
        previous_dispatch_key,
        cast(null as bigint)
    from esp_events_touched
    where previous_message_key is not null

    {%- else %}

    -- so that the next build knows since when; what is built whole needs no changes
    select
        cast('' as {{ dbt.type_string() }}) as message_key,
        cast(null as {{ dbt.type_string() }}) as dispatch_key,
        cast(null as bigint) as recipient_id
    {%- endif %}

)

select
    message_key,
    dispatch_key,
    recipient_id,
    {{ built_at() }} as _built_at

from touched
