with leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

preferred_emails as (

    select
        lead_id,
        email

    from {{ ref('int_lead_emails_ranked') }}
    where preference = 1

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'lead'

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

people as (

    select * from {{ ref('dim_person') }}

),

best_letters as (

    select * from {{ ref('mart_crm_best_letters') }}

),

letters as (

    select * from {{ ref('dim_letter') }}

),

-- a version that is a fingerprint is told by its beginning
consents as (

    select
        email,
        consented_at,
        is_time_known,
        source,
        agreement_name,
        case when length(text_version) = 32 then substring(text_version, 1, 8) else text_version end as text_version

    from {{ ref('dim_consent') }}

),

cards as (

    select
        leads.lead_id,
        preferred_emails.email as preferred_email,
        people_crm_cards.person_id,
        suppressions.state is null as is_marketing_allowed,
        suppressions.state as suppression_state

    from leads
    left join preferred_emails
        on leads.lead_id = preferred_emails.lead_id
    left join people_crm_cards
        on leads.lead_id = people_crm_cards.card_id
    left join suppressions
        on preferred_emails.email = suppressions.email

),

final as (

    select
        cast(cards.lead_id as bigint) as lead_id,
        cards.person_id,
        cards.is_marketing_allowed,
        cards.suppression_state,
        people.last_opened_at,
        people.last_clicked_at,
        best_letters.letter_id as best_letter_id,
        coalesce(letters.title, letters.subject, best_letters.letter_id) as best_letter,
        -- a time that is only a bound moves with the card, and every write moves the card
        case when consents.is_time_known then consents.consented_at end as consented_at,
        consents.source as consent_source,
        coalesce(
            consents.agreement_name || ' / ' || consents.text_version,
            consents.agreement_name,
            consents.text_version
        ) as consent_text

    from cards
    left join people
        on cards.person_id = people.person_id
    left join best_letters
        on cards.person_id = best_letters.person_id
    left join letters
        on best_letters.letter_id = letters.letter_id
    left join consents
        on cards.preferred_email = consents.email

)

select * from final
