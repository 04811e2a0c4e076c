{#-
    The clicks or the opens of all sources, each with its message, letter and person: Bitrix' own table of the `noun` and the events of
    `event_type` that the services tell. Of an increment, those of the messages that were touched.
-#}
{% macro events_of_messages(noun, event_type, with_url=false) -%}
{%- set since = incremental_since() -%}

with touched as (

    select
        message_key,
        recipient_id

    from {{ ref('int_messages_touched') }}
    where {{ newer_than(since) }}

),

bitrix_events as (

    select
        *,
        'bitrix:' || recipient_id as message_key

    from {{ ref('stg_bitrix__' ~ noun ~ 's') }}
    {%- if since %}
    where {{ among('recipient_id', 'select recipient_id from touched where recipient_id is not null') }}
    {%- else %}
    where recipient_id is not null
    {%- endif %}

    union all

    select
        *,
        'bitrix:{{ noun }}:' || {{ noun }}_id as message_key

    from {{ ref('stg_bitrix__' ~ noun ~ 's') }}
    where recipient_id is null
    {%- if since %}
        and 'bitrix:{{ noun }}:' || {{ noun }}_id in (select message_key from touched)
    {%- endif %}

),

esp_events as (

    select * from {{ ref('int_esp_events') }}
    where event_type = '{{ event_type }}'
        and not is_gone
        {%- if since %}
        and {{ among('message_key', 'select message_key from touched') }}
        {%- endif %}

),

bitrix_messages as (

    select * from {{ ref('int_bitrix_messages') }}
    {%- if since %}
    where {{ among('recipient_id', 'select recipient_id from bitrix_events') }}
    {%- endif %}

),

esp_messages as (

    select * from {{ ref('int_esp_messages') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from esp_events') }}
    {%- endif %}

),

dispatches as (

    select * from {{ ref('int_dispatches') }}
    where not is_gone

),

mailboxes as (

    select * from {{ ref('int_mailboxes') }}
    where not is_gone
    {%- if since %}
        and {{ among('mailbox_key', "select 'email:' || email from esp_events") }}
    {%- endif %}

),

events as (

    select
        'bitrix:{{ noun }}:' || bitrix_events.{{ noun }}_id as event_id,
        cast(bitrix_events.{{ noun }}_id as bigint) as event_number,
        'bitrix' as source,
        bitrix_events.message_key,
        bitrix_messages.message_id,
        'bitrix:' || bitrix_events.posting_id as dispatch_key,
        coalesce(bitrix_messages.letter_id, dispatches.letter_id) as letter_id,
        bitrix_messages.person_id,
        bitrix_messages.email_domain,
        bitrix_messages.sent_at,
        bitrix_events.{{ event_type }}_at as occurred_at,
        {%- if with_url %}
        bitrix_events.url,
        {%- endif %}
        cast(null as boolean) as is_proxy_{{ noun }}

    from bitrix_events
    left join bitrix_messages
        on bitrix_events.recipient_id = bitrix_messages.recipient_id
    left join dispatches
        on bitrix_events.posting_id = dispatches.posting_id

    union all

    select
        esp_events.event_id,
        cast(null as bigint) as event_number,
        esp_events.esp as source,
        esp_events.message_key,
        esp_events.message_id,
        esp_events.dispatch_key,
        dispatches.letter_id,
        mailboxes.person_id,
        {{ email_domain('esp_events.email') }} as email_domain,
        esp_messages.sent_at,
        esp_events.occurred_at,
        {%- if with_url %}
        esp_events.url,
        {%- endif %}
        esp_events.is_proxy as is_proxy_{{ noun }}

    from esp_events
    left join esp_messages
        on esp_events.message_key = esp_messages.message_key
    left join dispatches
        on esp_events.dispatch_key = dispatches.dispatch_key
    left join mailboxes
        on 'email:' || esp_events.email = mailboxes.mailbox_key

)

select
    events.*,
    {{ built_at() }} as _built_at

from events
{%- endmacro %}
