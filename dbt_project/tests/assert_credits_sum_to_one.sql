-- Per conversion and model, credits sum to exactly 1.
select
    conversion_id,
    model,
    sum(credit) as credit

from {{ ref('fct_attribution_credits') }}
group by
    conversion_id,
    model
having sum(credit) <> 1
