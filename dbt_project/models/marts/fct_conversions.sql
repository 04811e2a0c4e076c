with conversions as (

    select * from {{ ref('int_conversions') }}

),

currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

base_currency as (

    select max(currency) as currency
    from currencies
    where is_base

),

final as (

    select
        conversions.conversion_id,
        conversions.conversion_type,
        conversions.source_id,
        conversions.person_id,
        conversions.converted_at,
        conversions.amount,
        base_currency.currency,
        conversions.original_amount,
        conversions.original_currency,
        conversions.refunded_amount,
        conversions.is_revenue,
        conversions.deal_id,
        cast(null as {{ dbt.type_string() }}) as linked_letter_id,
        cast(null as {{ dbt.type_string() }}) as link_tier

    from conversions
    cross join base_currency

)

select * from final
