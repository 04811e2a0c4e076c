with bitrix_opens as (

    select * from {{ ref('stg_bitrix__opens') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

esp_events as (

    select * from {{ ref('stg_esp__events') }}

),

letters as (

    select letter_id, letter_number from {{ ref('int_letters') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

opens as (

    select
        'bitrix:open:' || bitrix_opens.open_id as event_id,
        bitrix_opens.open_id as event_number,
        'bitrix' as source,
        messages.message_id,
        coalesce(messages.letter_id, letters.letter_id) as letter_id,
        messages.person_id,
        messages.sent_at,
        bitrix_opens.opened_at as occurred_at,
        cast(null as boolean) as is_proxy_open

    from bitrix_opens
    left join messages
        on bitrix_opens.recipient_id = messages.recipient_id
    left join postings
        on bitrix_opens.posting_id = postings.posting_id
    left join letters
        on postings.letter_number = letters.letter_number

    union all

    select
        esp_events.event_id,
        cast(null as integer) as event_number,
        esp_events.esp as source,
        esp_events.message_id,
        letters.letter_id,
        people_emails.person_id,
        messages.sent_at,
        esp_events.occurred_at,
        esp_events.is_proxy as is_proxy_open

    from esp_events
    left join messages
        on esp_events.message_id = messages.message_id
    left join letters
        on esp_events.letter_id = letters.letter_id
    left join people_emails
        on esp_events.email = people_emails.email
    where esp_events.event_type = 'opened'
        and not esp_events.is_deleted

)

select * from opens
