with esp_events as (

    select * from {{ ref('stg_esp__events') }}
    where event_type in ('sent', 'delivered', 'bounced', 'rejected')
        and not is_deleted

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

attempts as (

    select
        message_id,
        max(esp) as source,
        max(letter_id) as letter_id,
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
        end as bounce_kind

    from esp_events
    where message_id is not null
    group by message_id

),

messages as (

    select
        attempts.message_id,
        attempts.source,
        cast(null as integer) as recipient_id,
        cast(null as integer) as address_id,
        esp_campaigns.letter_id,
        people_emails.person_id,
        attempts.sent_at,
        attempts.is_sent,
        attempts.is_sent and (not attempts.has_bounced or attempts.is_taken_after_all) as is_delivered,
        attempts.has_bounced and not attempts.is_taken_after_all as is_bounced,
        case when attempts.has_bounced and not attempts.is_taken_after_all then attempts.bounce_kind end as bounce_kind

    from attempts
    left join esp_campaigns
        on attempts.letter_id = esp_campaigns.letter_id
    left join people_emails
        on attempts.email = people_emails.email

)

select * from messages
