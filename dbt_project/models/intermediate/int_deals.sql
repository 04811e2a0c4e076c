{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with deals as (

    select * from {{ ref('stg_bitrix__deals') }}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}

),

deal_contacts as (

    select * from {{ ref('stg_bitrix__deal_contacts') }}

),

stage_changes as (

    select * from {{ ref('stg_bitrix__deal_stage_changes') }}

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

joined as (

    select
        cast(deals.deal_id as bigint) as deal_id,
        cast(deals.lead_id as bigint) as lead_id,
        coalesce(
            contact_people.person_id,
            linked_contacts.person_id,
            lead_people.person_id,
            company_people.person_id
        ) as person_id,
        deals.stage,
        deals.amount,
        deals.account_currency,
        deals.original_amount,
        deals.currency as original_currency,
        leads.created_at as lead_created_at,
        deals.created_at,
        case
            when deals.stage = 'won'
                then coalesce(last_wins.changed_at, deals.moved_at, deals.close_date_at)
        end as won_at,
        deals.moved_at

    from deals
    left join leads
        on deals.lead_id = leads.lead_id
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
    left join people_crm_cards as company_people
        on deals.company_id = company_people.card_id
            and company_people.card_type = 'company'
    where not deals.is_recurring_template

)

select * from joined
