with conversions as (

    select * from {{ ref('int_conversions') }}

),

currencies as (

    select * from {{ ref('stg_bitrix__currencies') }}

),

letter_links as (

    select * from {{ ref('int_letter_link') }}
    where letter_id is not null
        and not is_gone

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
        letter_links.letter_id as linked_letter_id,
        letter_links.tier as link_tier

    from conversions
    cross join base_currency
    left join letter_links
        on conversions.linked_type = letter_links.entity_type
            and cast(conversions.linked_id as {{ dbt.type_string() }}) = letter_links.entity_id

)

select * from final
