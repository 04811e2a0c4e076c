with visits as (

    select * from {{ ref('int_visits_parsed') }}
    where not is_deleted

),

tracking_sources as (

    select * from {{ ref('stg_bitrix__tracking_sources') }}

),

trace_cards as (

    select * from {{ ref('stg_bitrix__trace_cards') }}

),

deals as (

    select * from {{ ref('stg_bitrix__deals') }}

),

orders as (

    select * from {{ ref('stg_bitrix__orders') }}

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}

),

-- whose card it is: a deal is its contact's, an order its buyer's
visit_cards as (

    select
        trace_id,
        card_type,
        card_id,
        case card_type when 'contact' then 1 else 2 end as preference
    from trace_cards
    where card_type in ('contact', 'lead')
    union all
    select
        trace_cards.trace_id,
        'contact' as card_type,
        deals.contact_id as card_id,
        3 as preference
    from trace_cards
    inner join deals
        on trace_cards.card_type = 'deal'
            and trace_cards.card_id = deals.deal_id
    where deals.contact_id is not null
    union all
    select
        trace_cards.trace_id,
        'user' as card_type,
        orders.user_id as card_id,
        4 as preference
    from trace_cards
    inner join orders
        on trace_cards.card_type = 'order'
            and trace_cards.card_id = orders.order_id
    where orders.user_id is not null

),

ranked_people as (

    select
        visit_cards.trace_id,
        people_crm_cards.person_id,
        row_number() over (
            partition by visit_cards.trace_id
            order by
                visit_cards.preference,
                visit_cards.card_id
        ) as person_rank

    from visit_cards
    inner join people_crm_cards
        on visit_cards.card_type = people_crm_cards.card_type
            and visit_cards.card_id = people_crm_cards.card_id

),

final as (

    select
        visits.*,
        case
            when visits.tracking_source_id is not null
                then coalesce(tracking_sources.source_code, tracking_sources.source_name, 'unknown')
        end as advertising_source,
        ranked_people.person_id

    from visits
    left join tracking_sources
        on visits.tracking_source_id = tracking_sources.tracking_source_id
    left join ranked_people
        on visits.trace_id = ranked_people.trace_id
            and ranked_people.person_rank = 1

)

select * from final
