{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}

),

blacklisted_emails as (

    select * from {{ ref('stg_bitrix__blacklisted_emails') }}

),

esp_events as (

    select * from {{ ref('stg_esp__events') }}

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

address_people as (

    select
        addresses.address_id,
        addresses.address_type,
        addresses.email,
        people_emails.person_id,
        blacklisted_emails.email is not null as has_bounced_for_good

    from addresses
    left join people_emails
        on addresses.email = people_emails.email
    left join blacklisted_emails
        on addresses.email = blacklisted_emails.email
            and blacklisted_emails.category = 'permanent_bounce'
            and not blacklisted_emails.is_deleted

),

posting_letters as (

    select
        postings.posting_id,
        bitrix_letters.letter_number,
        bitrix_letters.channel

    from postings
    left join bitrix_letters
        on postings.letter_number = bitrix_letters.letter_number

),

bitrix_messages as (

    select
        'bitrix:' || recipients.recipient_id as message_id,
        'bitrix' as source,
        recipients.recipient_id,
        recipients.address_id,
        'bitrix:' || posting_letters.letter_number as letter_id,
        address_people.person_id,
        case
            when address_people.person_id is null
                then recipients.crm_contact_id
        end as fallback_contact_id,
        recipients.sent_at,
        recipients.status = 'sent' as is_sent,
        recipients.status = 'sent' as is_delivered,
        recipients.status = 'failed' as is_bounced,
        case
            when recipients.status = 'failed' and address_people.has_bounced_for_good
                then 'hard'
            when recipients.status = 'failed'
                then 'unknown'
        end as bounce_kind

    from recipients
    left join posting_letters
        on recipients.posting_id = posting_letters.posting_id
    left join address_people
        on recipients.address_id = address_people.address_id
    where recipients.status in ('sent', 'failed')
        and not recipients.is_deleted
        and coalesce(posting_letters.channel, 'mail') = 'mail'
        and coalesce(address_people.address_type, 'email') = 'email'

),

esp_sends as (

    select
        message_id,
        max(esp) as source,
        max(letter_id) as letter_id,
        max(email) as email,
        min(case when event_type = 'sent' then occurred_at end) as sent_at,
        sum(case when event_type = 'bounced' then 1 else 0 end) > 0 as is_bounced,
        -- alphabetical order happens to be the right one: hard, soft, unknown
        min(case when event_type = 'bounced' then coalesce(bounce_kind, 'unknown') end) as bounce_kind

    from esp_events
    where message_id is not null
        and event_type in ('sent', 'bounced')
        and not is_deleted
    group by message_id
    having sum(case when event_type = 'sent' then 1 else 0 end) > 0

),

messages as (

    select
        bitrix_messages.message_id,
        bitrix_messages.source,
        bitrix_messages.recipient_id,
        bitrix_messages.address_id,
        bitrix_messages.letter_id,
        coalesce(bitrix_messages.person_id, people_crm_cards.person_id) as person_id,
        bitrix_messages.sent_at,
        bitrix_messages.is_sent,
        bitrix_messages.is_delivered,
        bitrix_messages.is_bounced,
        bitrix_messages.bounce_kind

    from bitrix_messages
    left join people_crm_cards
        on bitrix_messages.fallback_contact_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'contact'

    union all

    select
        esp_sends.message_id,
        esp_sends.source,
        cast(null as integer) as recipient_id,
        cast(null as integer) as address_id,
        esp_campaigns.letter_id,
        people_emails.person_id,
        esp_sends.sent_at,
        true as is_sent,
        not esp_sends.is_bounced as is_delivered,
        esp_sends.is_bounced,
        esp_sends.bounce_kind

    from esp_sends
    left join esp_campaigns
        on esp_sends.letter_id = esp_campaigns.letter_id
    left join people_emails
        on esp_sends.email = people_emails.email

)

select * from messages
