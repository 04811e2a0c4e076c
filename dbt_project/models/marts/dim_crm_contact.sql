with contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

preferred_emails as (

    select
        contact_id,
        email as preferred_email

    from {{ ref('int_contact_emails_ranked') }}
    where preference = 1

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'contact'

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

final as (

    select
        cast(contacts.contact_id as bigint) as contact_id,
        preferred_emails.preferred_email,
        people_crm_cards.person_id,
        suppressions.state is null as is_marketing_allowed,
        suppressions.state as suppression_state

    from contacts
    left join preferred_emails
        on contacts.contact_id = preferred_emails.contact_id
    left join people_crm_cards
        on contacts.contact_id = people_crm_cards.card_id
    left join suppressions
        on preferred_emails.preferred_email = suppressions.email

)

select * from final
