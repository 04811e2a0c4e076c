with deals as (

    select * from {{ ref('stg_bitrix__deals') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

final as (

    select
        'deal_won' as conversion_type,
        'deal:' || deals.deal_id as outcome_id,
        coalesce(contact_people.person_id, lead_people.person_id) as person_id,
        deals.created_at as opened_at

    from deals
    left join people_crm_cards as contact_people
        on deals.contact_id = contact_people.card_id
            and contact_people.card_type = 'contact'
    left join people_crm_cards as lead_people
        on deals.lead_id = lead_people.card_id
            and lead_people.card_type = 'lead'
    where deals.stage = 'in_progress'
        and not deals.is_recurring_template

)

select * from final
