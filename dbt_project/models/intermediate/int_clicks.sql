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

bitrix_clicks as (

    select
        *,
        'bitrix:' || recipient_id as message_key

    from {{ ref('stg_bitrix__clicks') }}
    where recipient_id {{ 'in (select recipient_id from touched)' if since else 'is not null' }}

    union all

    select
        *,
        'bitrix:click:' || click_id as message_key

    from {{ ref('stg_bitrix__clicks') }}
    where recipient_id is null
    {%- if since %}
        and 'bitrix:click:' || click_id in (select message_key from touched)
    {%- endif %}

),

esp_clicks as (

    select * from {{ ref('int_esp_events') }}
    where event_type = 'clicked'
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

clicks as (

    select
        'bitrix:click:' || bitrix_clicks.click_id as event_id,
        cast(bitrix_clicks.click_id as bigint) as event_number,
        'bitrix' as source,
        bitrix_clicks.message_key,
        bitrix_messages.message_id,
        'bitrix:' || bitrix_clicks.posting_id as dispatch_key,
        coalesce(bitrix_messages.letter_id, dispatches.letter_id) as letter_id,
        bitrix_messages.person_id,
        bitrix_messages.email_domain,
        bitrix_messages.sent_at,
        bitrix_clicks.clicked_at as occurred_at,
        bitrix_clicks.url,
        cast(null as boolean) as is_proxy_click

    from bitrix_clicks
    left join bitrix_messages
        on bitrix_clicks.recipient_id = bitrix_messages.recipient_id
    left join dispatches
        on bitrix_clicks.posting_id = dispatches.posting_id

    union all

    select
        esp_clicks.event_id,
        cast(null as bigint) as event_number,
        esp_clicks.esp as source,
        esp_clicks.message_key,
        esp_clicks.message_id,
        esp_clicks.dispatch_key,
        dispatches.letter_id,
        mailboxes.person_id,
        {{ email_domain('esp_clicks.email') }} as email_domain,
        esp_messages.sent_at,
        esp_clicks.occurred_at,
        esp_clicks.url,
        esp_clicks.is_proxy as is_proxy_click

    from esp_clicks
    left join esp_messages
        on esp_clicks.message_key = esp_messages.message_key
    left join dispatches
        on esp_clicks.dispatch_key = dispatches.dispatch_key
    left join mailboxes
        on 'email:' || esp_clicks.email = mailboxes.mailbox_key

)

select
    clicks.*,
    {{ built_at() }} as _built_at

from clicks
