{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key']}, {'columns': ['person_id', 'event_type']}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_message_changes', 'verdict_version', verdict_version()) }}",
    ],
) }}
{%- set since = incremental_since('verdict_version', verdict_version()) -%}
{%- set no_text = 'cast(null as ' ~ dbt.type_string() ~ ')' -%}

with changed_messages as (

    select distinct
        message_key,
        recipient_id

    from {{ ref('int_message_changes') }}
    where {{ newer_than(since) }}

),

bitrix_messages as (

    select * from {{ ref('int_bitrix_messages') }}

),

opens as (

    select * from {{ ref('int_opens_judged') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

clicks as (

    select * from {{ ref('int_clicks_judged') }}
    {%- if since %}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

unsubscribes as (

    select
        *,
        'bitrix:' || recipient_id as message_key

    from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted
        and {{
            among('recipient_id', 'select recipient_id from changed_messages where recipient_id is not null')
            if since else 'recipient_id is not null'
        }}

    union all

    select
        *,
        'bitrix:unsubscribed:' || unsubscribe_id as message_key

    from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted
        and recipient_id is null
    {%- if since %}
        and 'bitrix:unsubscribed:' || unsubscribe_id in (select message_key from changed_messages)
    {%- endif %}

),

messages_left as (

    select * from {{ ref('int_bitrix_messages') }}
    {%- if since %}
    where {{ among('recipient_id', 'select recipient_id from unsubscribes') }}
    {%- endif %}

),

complaints as (

    select * from {{ ref('int_bitrix_complaints') }}
    where not is_gone
    {%- if since %}
        and event_id in (select message_key from changed_messages)
    {%- endif %}

),

esp_events as (

    select * from {{ ref('int_esp_events') }}
    where event_type in ('sent', 'delivered', 'bounced', 'rejected', 'unsubscribed', 'complained')
        and not is_gone
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
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

sends_and_bounces as (

    select
        'bitrix:' || case when is_sent then 'sent' else 'bounced' end || ':' || recipient_id as event_id,
        source,
        message_key,
        message_id,
        letter_id,
        person_id,
        case when is_sent then 'sent' else 'bounced' end as event_type,
        sent_at as occurred_at,
        bounce_kind

    from bitrix_messages
    where (is_sent or is_bounced)
    {%- if since %}
        and {{ among('message_key', 'select message_key from changed_messages') }}
    {%- endif %}

),

bitrix_unsubscribes as (

    select
        'bitrix:unsubscribed:' || unsubscribes.unsubscribe_id as event_id,
        'bitrix' as source,
        unsubscribes.message_key,
        messages_left.message_id,
        coalesce(messages_left.letter_id, dispatches.letter_id) as letter_id,
        messages_left.person_id,
        'unsubscribed' as event_type,
        unsubscribes.unsubscribed_at as occurred_at,
        {{ no_text }} as bounce_kind

    from unsubscribes
    left join messages_left
        on unsubscribes.recipient_id = messages_left.recipient_id
    left join dispatches
        on unsubscribes.posting_id = dispatches.posting_id

),

bitrix_complaints as (

    select
        event_id,
        'bitrix' as source,
        event_id as message_key,
        message_id,
        letter_id,
        person_id,
        'complained' as event_type,
        occurred_at,
        {{ no_text }} as bounce_kind

    from complaints

),

esp_other_events as (

    select
        esp_events.event_id,
        esp_events.esp as source,
        esp_events.message_key,
        esp_events.message_id,
        dispatches.letter_id,
        mailboxes.person_id,
        esp_events.event_type,
        esp_events.occurred_at,
        esp_events.bounce_kind

    from esp_events
    left join dispatches
        on esp_events.dispatch_key = dispatches.dispatch_key
    left join mailboxes
        on 'email:' || esp_events.email = mailboxes.mailbox_key

),

unjudged as (

    select * from sends_and_bounces
    union all
    select * from bitrix_unsubscribes
    union all
    select * from bitrix_complaints
    union all
    select * from esp_other_events

),

events as (

    select
        event_id,
        source,
        message_key,
        message_id,
        letter_id,
        person_id,
        event_type,
        occurred_at,
        {{ no_text }} as url,
        bounce_kind,
        {{ no_text }} as verdict,
        {{ no_text }} as verdict_rule,
        {{ no_text }} as verdict_reason,
        {{ verdict_version() }} as verdict_version

    from unjudged

    {%- for acts, event_type, url in [('opens', 'opened', no_text), ('clicks', 'clicked', 'url')] %}

    union all

    select
        event_id,
        source,
        message_key,
        message_id,
        letter_id,
        person_id,
        '{{ event_type }}' as event_type,
        occurred_at,
        {{ url }} as url,
        {{ no_text }} as bounce_kind,
        verdict,
        verdict_rule,
        verdict_reason,
        verdict_version

    from {{ acts }}
    {%- endfor %}

),

final as (

    select
        event_id,
        source,
        letter_id,
        message_id,
        message_key,
        person_id,
        event_type,
        occurred_at,
        url,
        bounce_kind,
        verdict,
        verdict_rule,
        verdict_reason,
        verdict_version,
        coalesce(verdict = 'machine', false) as is_machine,
        {{ built_at() }} as _built_at

    from events

)

select * from final
