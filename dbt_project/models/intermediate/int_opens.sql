{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key']}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_messages('int_messages_touched') }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}

with touched as (

    select
        message_key,
        recipient_id

    from {{ ref('int_messages_touched') }}
    where {{ newer_than(since) }}

),

bitrix_opens as (

    select
        *,
        'bitrix:' || recipient_id as message_key

    from {{ ref('stg_bitrix__opens') }}
    where recipient_id {{ 'in (select recipient_id from touched)' if since else 'is not null' }}

    union all

    select
        *,
        'bitrix:open:' || open_id as message_key

    from {{ ref('stg_bitrix__opens') }}
    where recipient_id is null
    {%- if since %}
        and 'bitrix:open:' || open_id in (select message_key from touched)
    {%- endif %}

),

esp_opens as (

    select * from {{ ref('int_esp_events') }}
    where event_type = 'opened'
        and not is_gone
        {%- if since %}
        and message_key in (select message_key from touched)
        {%- endif %}

),

bitrix_messages as (

    select * from {{ ref('int_bitrix_messages') }}

),

esp_messages as (

    select * from {{ ref('int_esp_messages') }}

),

dispatches as (

    select * from {{ ref('int_dispatches') }}
    where not is_gone

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone

),

opens as (

    select
        'bitrix:open:' || bitrix_opens.open_id as event_id,
        cast(bitrix_opens.open_id as bigint) as event_number,
        'bitrix' as source,
        bitrix_opens.message_key,
        bitrix_messages.message_id,
        'bitrix:' || bitrix_opens.posting_id as dispatch_key,
        coalesce(bitrix_messages.letter_id, dispatches.letter_id) as letter_id,
        bitrix_messages.person_id,
        bitrix_messages.email_domain,
        bitrix_messages.sent_at,
        bitrix_opens.opened_at as occurred_at,
        cast(null as boolean) as is_proxy_open

    from bitrix_opens
    left join bitrix_messages
        on bitrix_opens.recipient_id = bitrix_messages.recipient_id
    left join dispatches
        on bitrix_opens.posting_id = dispatches.posting_id

    union all

    select
        esp_opens.event_id,
        cast(null as bigint) as event_number,
        esp_opens.esp as source,
        esp_opens.message_key,
        esp_opens.message_id,
        esp_opens.dispatch_key,
        dispatches.letter_id,
        mailboxes.person_id,
        {{ email_domain('esp_opens.email') }} as email_domain,
        esp_messages.sent_at,
        esp_opens.occurred_at,
        esp_opens.is_proxy as is_proxy_open

    from esp_opens
    left join esp_messages
        on esp_opens.message_key = esp_messages.message_key
    left join dispatches
        on esp_opens.dispatch_key = dispatches.dispatch_key
    left join mailboxes
        on 'email:' || esp_opens.email = mailboxes.mailbox_key

)

select
    opens.*,
    {{ built_at() }} as _built_at

from opens
