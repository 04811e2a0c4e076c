with credits as (

    select * from {{ ref('fct_attribution_credits') }}
    where letter_id is not null

),

conversions as (

    select * from {{ ref('fct_conversions') }}

),

final as (

    select
        credits.letter_id || ':' || credits.model || ':' || credits.conversion_type as letter_credit_id,
        credits.letter_id,
        credits.campaign,
        credits.model,
        credits.conversion_type,
        cast(sum(credits.credit) as numeric(28, 10)) as credit,
        cast(sum(credits.amount) as numeric(18, 2)) as amount,
        cast(sum(case when conversions.is_revenue then credits.amount else 0 end) as numeric(18, 2)) as revenue

    from credits
    inner join conversions
        on credits.conversion_id = conversions.conversion_id
    group by
        credits.letter_id,
        credits.campaign,
        credits.model,
        credits.conversion_type

)

select * from final
