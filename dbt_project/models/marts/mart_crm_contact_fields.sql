with cards as (

    select
        contact_id,
        preferred_email,
        person_id,
        is_marketing_allowed

    from {{ ref('dim_crm_contact') }}

),

{{ card_fields('contact_id') }}
