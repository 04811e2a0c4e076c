{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    Mailboxes that bounced softly several letters in a row. A run ends with a delivery, which shows that the mailbox lives. A
    block says something about the sender, and what Bitrix sent may or may not have arrived: neither lengthens nor ends a run.
#}
with esp_events as (

    select * from {{ ref('int_esp_events') }}

),

bounces as (

    select * from {{ ref('int_esp_departures') }}
    where event_type = 'bounced'
        and message_id is not null
        and email is not null

),

bounced_messages as (

    select
        message_id,
        email,
        max(esp) as source,
        max(occurred_at) as bounced_at,
        max(case when bounce_kind = 'soft' then 0 else 1 end) = 0 as is_soft

    from bounces
    group by
        message_id,
        email

),

suspects as (

    select email
    from bounced_messages
    where is_soft
    group by email
    having count(*) >= {{ var('soft_bounce_limit') }}

),

-- a letter is delivered when its service says so after a bounce, or when it was sent and never bounced; asked for each suspect by
-- itself, because they are few and all events are many
deliveries as (

    select
        email,
        (
            select max(told.occurred_at)
            from (
                select
                    esp_events.event_type,
                    esp_events.occurred_at,
                    max(case when esp_events.event_type = 'bounced' then esp_events.occurred_at end) over (
                        partition by esp_events.message_id
                    ) as bounced_at

                from esp_events
                where esp_events.email = suspects.email
                    and esp_events.event_type in ('sent', 'delivered', 'bounced')
                    and esp_events.message_id is not null
                    and not esp_events.is_gone
            ) as told
            where told.event_type <> 'bounced'
                and (
                    told.bounced_at is null
                    or (told.event_type = 'delivered' and told.occurred_at > told.bounced_at)
                )
        ) as delivered_at

    from suspects

),

run_bounces as (

    select
        bounced_messages.email,
        bounced_messages.source,
        bounced_messages.message_id,
        bounced_messages.bounced_at,
        row_number() over (
            partition by bounced_messages.email
            order by bounced_messages.bounced_at, bounced_messages.message_id
        ) as place

    from bounced_messages
    inner join suspects
        on bounced_messages.email = suspects.email
    left join deliveries
        on bounced_messages.email = deliveries.email
    where bounced_messages.is_soft
        and (deliveries.delivered_at is null or bounced_messages.bounced_at > deliveries.delivered_at)

),

-- the letter with which the run reached the limit
reached as (

    select
        email,
        source,
        message_id,
        bounced_at as reached_at

    from run_bounces
    where place = {{ var('soft_bounce_limit') }}

)

select * from reached
