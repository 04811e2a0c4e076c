with esp_events as (

    select * from {{ ref('stg_esp__events') }}
    where event_type in ('sent', 'bounced')
        and not is_deleted

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

sends as (

    select
        message_id,
        max(esp) as source,
        max(letter_id) as letter_id,
        max(email) as email,
        min(case when event_type = 'sent' then occurred_at end) as sent_at,
        max(case when event_type = 'bounced' then 1 else 0 end) = 1 as is_bounced,
        -- alphabetical order happens to be the right one: hard, soft, unknown
        min(case when event_type = 'bounced' then coalesce(bounce_kind, 'unknown') end) as bounce_kind

    from esp_events
    where message_id is not null
    group by message_id
    having max(case when event_type = 'sent' then 1 else 0 end) = 1

),

messages as (

    select
        sends.message_id,
        sends.source,
        cast(null as integer) as recipient_id,
        cast(null as integer) as address_id,
        esp_campaigns.letter_id,
        people_emails.person_id,
        sends.sent_at,
        true as is_sent,
        not sends.is_bounced as is_delivered,
        sends.is_bounced,
        sends.bounce_kind

    from sends
    left join esp_campaigns
        on sends.letter_id = esp_campaigns.letter_id
    left join people_emails
        on sends.email = people_emails.email

)

select * from messages
