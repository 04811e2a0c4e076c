with recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}
    where status in ('sent', 'failed')
        and not is_deleted

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
    where category = 'permanent_bounce'
        and not is_deleted

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

posting_letters as (

    select
        postings.posting_id,
        bitrix_letters.letter_number,
        bitrix_letters.channel is not null and bitrix_letters.channel <> 'mail' as is_other_channel

    from postings
    left join bitrix_letters
        on postings.letter_number = bitrix_letters.letter_number

),

address_people as (

    select
        addresses.address_id,
        addresses.address_type <> 'email' as is_other_address,
        people_emails.person_id,
        blacklisted_emails.email is not null as has_bounced_for_good

    from addresses
    left join people_emails
        on addresses.email = people_emails.email
    left join blacklisted_emails
        on addresses.email = blacklisted_emails.email

),

-- where the address is gone, FIELDS may still say whose it was
messages as (

    select
        'bitrix:' || recipients.recipient_id as message_id,
        'bitrix' as source,
        recipients.recipient_id,
        recipients.address_id,
        'bitrix:' || posting_letters.letter_number as letter_id,
        coalesce(address_people.person_id, people_crm_cards.person_id) as person_id,
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
    left join people_crm_cards
        on case when address_people.person_id is null then recipients.crm_contact_id end = people_crm_cards.card_id
            and people_crm_cards.card_type = 'contact'
    where posting_letters.is_other_channel is not true
        and address_people.is_other_address is not true

)

select * from messages
