-- What mart_letter_credits and mart_letter_roi give the letters is what the credits give them, model by model.
with credits as (

    select
        credits.model,
        sum(credits.credit) as credit,
        sum(credits.amount) as amount,
        sum(case when conversions.is_revenue then credits.amount else 0 end) as revenue

    from {{ ref('fct_attribution_credits') }} as credits
    inner join {{ ref('fct_conversions') }} as conversions
        on credits.conversion_id = conversions.conversion_id
    where credits.letter_id is not null
    group by credits.model

),

letter_credits as (

    select model, sum(credit) as credit, sum(amount) as amount, sum(revenue) as revenue
    from {{ ref('mart_letter_credits') }}
    group by model

),

returns as (

    select model, sum(revenue) as revenue
    from {{ ref('mart_letter_roi') }}
    group by model

)

select credits.*
from credits
left join letter_credits
    on credits.model = letter_credits.model
left join returns
    on credits.model = returns.model
where letter_credits.model is null
    or returns.model is null
    or credits.credit <> letter_credits.credit
    or credits.amount <> letter_credits.amount
    or credits.revenue <> letter_credits.revenue
    or credits.revenue <> returns.revenue
