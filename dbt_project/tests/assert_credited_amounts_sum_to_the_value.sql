-- Per conversion and model, credited amounts sum to exactly the conversion's value.
select
    conversions.conversion_id,
    credits.model,
    conversions.amount,
    sum(credits.amount) as credited_amount

from {{ ref('fct_conversions') }} as conversions
inner join {{ ref('fct_attribution_credits') }} as credits
    on conversions.conversion_id = credits.conversion_id
group by
    conversions.conversion_id,
    credits.model,
    conversions.amount
having sum(credits.amount) <> conversions.amount
