{#- A view of one table that stays in place from run to run, so it is there at any time. -#}
{{ config(materialized='view') }}

with conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone

),

final as (

    select
        conversion_id,
        conversion_type,
        source_id,
        person_id,
        converted_at,
        amount,
        currency,
        original_amount,
        original_currency,
        refunded_amount,
        is_revenue,
        deal_id,
        linked_letter_id,
        link_tier

    from conversions

)

select * from final
