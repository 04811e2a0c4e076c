{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['message_key'], 'unique': true}, {'columns': ['dispatch_key']}, {'columns': ['_built_at']}],
    pre_hook=[
        "{{ plan_for_bulk(always=true) }}",
        "{{ drop_changed_rows('int_messages_touched') }}",
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}
{%- set since = incremental_since() -%}

with touched as (

    select message_key
    from {{ ref('int_messages_touched') }}
    where {{ newer_than(since) }}

),

esp_events as (

    select * from {{ ref('int_esp_events') }}
    where event_type in ('sent', 'delivered', 'bounced', 'rejected')
        and not is_gone
        and message_id is not null
        {%- if since %}
        and {{ among('message_key', 'select message_key from touched') }}
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

attempts as (

    select
        message_id,
        max(esp) as source,
        max(dispatch_key) as dispatch_key,
        max(email) as email,
        min(case when event_type = 'sent' then occurred_at end) as sent_at,
        -- whatever arrived or came back was sent; what the service refused to send was not
        max(case when event_type <> 'rejected' then 1 else 0 end) = 1 as is_sent,
        max(case when event_type = 'bounced' then 1 else 0 end) = 1 as has_bounced,
        -- tried again and taken after all
        coalesce(
            max(case when event_type = 'delivered' then occurred_at end)
            > max(case when event_type = 'bounced' then occurred_at end),
            false
        ) as is_taken_after_all,
        -- alphabetical order would put a block before a hard bounce
        case min(
            case when event_type = 'bounced' then
                case bounce_kind when 'hard' then 1 when 'block' then 2 when 'soft' then 3 else 4 end
            end
        )
            when 1 then 'hard'
            when 2 then 'block'
            when 3 then 'soft'
            when 4 then 'unknown'
        end as bounce_kind,
        max(case when event_type = 'bounced' and {{ is_policy_reason('reason') }} then 1 else 0 end) = 1 as is_policy_bounce

    from esp_events
    group by message_id

),

messages as (

    select
        attempts.message_id,
        attempts.message_id as message_key,
        attempts.source,
        cast(null as bigint) as recipient_id,
        cast(null as bigint) as address_id,
        attempts.dispatch_key,
        dispatches.letter_id,
        mailboxes.person_id,
        {{ email_domain('attempts.email') }} as email_domain,
        attempts.sent_at,
        attempts.is_sent,
        attempts.is_sent and (not attempts.has_bounced or attempts.is_taken_after_all) as is_delivered,
        attempts.has_bounced and not attempts.is_taken_after_all as is_bounced,
        case when attempts.has_bounced and not attempts.is_taken_after_all then attempts.bounce_kind end as bounce_kind,
        attempts.has_bounced and not attempts.is_taken_after_all
        and attempts.bounce_kind <> 'hard' and attempts.is_policy_bounce as is_policy_bounce,
        {{ built_at() }} as _built_at

    from attempts
    left join dispatches
        on attempts.dispatch_key = dispatches.dispatch_key
    left join mailboxes
        on 'email:' || attempts.email = mailboxes.mailbox_key

)

select * from messages
