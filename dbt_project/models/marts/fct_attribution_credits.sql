{{ config(materialized='view') }}

with ledger as (

    select * from {{ ref('fct_attribution_ledger') }}
    where valid_to is null

),

final as (

    select
        credit_id,
        conversion_id,
        conversion_type,
        model,
        letter_id,
        campaign,
        channel,
        touch_type,
        touch_event_id,
        touched_at,
        link_tier,
        converted_at,
        touch_index,
        touch_count,
        credit,
        amount,
        no_touch_reason,
        valid_from

    from ledger

)

select * from final
