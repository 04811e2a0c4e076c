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

{{ card_fields('lead_id', more=['suppression_state']) }}
