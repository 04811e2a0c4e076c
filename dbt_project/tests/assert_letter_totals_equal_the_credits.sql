-- Leads, deals and revenue of all letters together are the credits that went to letters, model by model.
with credit_totals as (

    {% for model in attribution_models() -%}
    select
        '{{ model }}' as model,
        coalesce(sum(case when conversion_type = 'lead_created' then credit end), 0) as leads,
        coalesce(sum(case when conversion_type = 'deal_won' then credit end), 0) as deals,
        coalesce(sum(case when conversion_type = 'deal_won' then amount end), 0) as revenue
    from {{ ref('fct_attribution_credits') }}
    where model = '{{ model }}'
        and letter_id is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

letter_totals as (

    {% for model in attribution_models() -%}
    select
        '{{ model }}' as model,
        coalesce(sum(leads_{{ model }}), 0) as leads,
        coalesce(sum(deals_{{ model }}), 0) as deals,
        coalesce(sum(revenue_{{ model }}), 0) as revenue
    from {{ ref('mart_letter_performance') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select *

from credit_totals
inner join letter_totals
    on credit_totals.model = letter_totals.model
where credit_totals.leads <> letter_totals.leads
    or credit_totals.deals <> letter_totals.deals
    or credit_totals.revenue <> letter_totals.revenue
