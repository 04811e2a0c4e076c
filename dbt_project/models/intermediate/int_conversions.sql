with leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

deals as (

    select * from {{ ref('stg_bitrix__deals') }}

),

deal_contacts as (

    select * from {{ ref('stg_bitrix__deal_contacts') }}

),

stage_changes as (

    select * from {{ ref('stg_bitrix__deal_stage_changes') }}

),

currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

-- a deal may be won, reopened and won again; ids keep the order even in the hour that the autumn clock repeats
last_wins as (

    select
        deal_id,
        changed_at,
        row_number() over (
            partition by deal_id
            order by stage_change_id desc
        ) as recency

    from stage_changes
    where change_type = 'won'

),

linked_contacts as (

    select
        deal_contacts.deal_id,
        people_crm_cards.person_id,
        row_number() over (
            partition by deal_contacts.deal_id
            order by
                deal_contacts.is_primary desc,
                deal_contacts.sort_order,
                deal_contacts.contact_id
        ) as contact_rank

    from deal_contacts
    inner join people_crm_cards
        on deal_contacts.contact_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'contact'

),

leads_created as (

    select
        'lead_created:' || leads.lead_id as conversion_id,
        'lead_created' as conversion_type,
        cast(leads.lead_id as bigint) as source_id,
        people_crm_cards.person_id,
        leads.created_at as converted_at,
        -- a cloud portal does not show the converted amount
        cast(coalesce(leads.amount, leads.original_amount * currencies.base_rate, 0) as numeric(18, 2)) as amount

    from leads
    left join currencies
        on leads.currency = currencies.currency
    left join people_crm_cards
        on leads.lead_id = people_crm_cards.card_id
            and people_crm_cards.card_type = 'lead'

),

deals_won as (

    select
        'deal_won:' || deals.deal_id as conversion_id,
        'deal_won' as conversion_type,
        cast(deals.deal_id as bigint) as source_id,
        coalesce(
            contact_people.person_id,
            linked_contacts.person_id,
            lead_people.person_id
        ) as person_id,
        coalesce(last_wins.changed_at, deals.moved_at, deals.close_date_at) as converted_at,
        -- a cloud portal does not show the converted amount
        cast(coalesce(deals.amount, deals.original_amount * currencies.base_rate, 0) as numeric(18, 2)) as amount

    from deals
    left join currencies
        on deals.currency = currencies.currency
    left join last_wins
        on deals.deal_id = last_wins.deal_id
            and last_wins.recency = 1
    left join people_crm_cards as contact_people
        on deals.contact_id = contact_people.card_id
            and contact_people.card_type = 'contact'
    left join linked_contacts
        on deals.deal_id = linked_contacts.deal_id
            and linked_contacts.contact_rank = 1
    left join people_crm_cards as lead_people
        on deals.lead_id = lead_people.card_id
            and lead_people.card_type = 'lead'
    where deals.stage = 'won'
        and not deals.is_recurring_template

),

conversions as (

    select * from leads_created
    where converted_at is not null
    union all
    select * from deals_won
    where converted_at is not null

)

select * from conversions
