with contact_fields as (

    select * from {{ ref('stg_bitrix__contact_fields') }}

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

preferred_emails as (

    select
        contact_id,
        email

    from {{ ref('int_contact_emails_ranked') }}
    where preference = 1

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'

),

{% set answer = json_value_text('field_values', "'" ~ var('crm_consent_field') ~ "'") -%}
{% set answered_at = json_value_text('field_values', "'" ~ var('crm_consent_at_field') ~ "'") -%}
{% set answered_text = json_value_text('field_values', "'" ~ var('crm_consent_text_field') ~ "'") -%}
answers as (

    select
        contact_id,
        {{ text_to_boolean(answer) }} as is_given,
        {{ source_time_to_utc(text_to_timestamp(answered_at)) }} as answered_at,
        nullif(trim({{ answered_text }}), '') as text_version

    from contact_fields

),

-- without a date of its own an answer is as old as the card's last change, at the youngest
dated as (

    select
        answers.contact_id,
        people_crm_cards.person_id,
        preferred_emails.email,
        answers.is_given,
        coalesce(answers.answered_at, contacts.modified_at, contacts.created_at) as answered_at,
        answers.answered_at is not null as is_time_known,
        answers.text_version

    from answers
    inner join contacts
        on answers.contact_id = contacts.contact_id
    left join preferred_emails
        on answers.contact_id = preferred_emails.contact_id
    left join people_crm_cards
        on answers.contact_id = people_crm_cards.card_id
    where answers.is_given is not null

)

select * from dated
