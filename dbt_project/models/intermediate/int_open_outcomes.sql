with deals as (

    select * from {{ ref('int_deals') }}

),

orders as (

    select * from {{ ref('int_orders') }}

),

final as (

    select
        'deal_won:' || deal_id as outcome_id,
        'deal_won' as conversion_type,
        person_id,
        created_at as opened_at

    from deals
    where stage = 'in_progress'

    union all

    select
        'order_paid:' || order_id as outcome_id,
        'order_paid' as conversion_type,
        person_id,
        created_at as opened_at

    from orders
    where paid_at is null
        and not is_canceled

)

select * from final
