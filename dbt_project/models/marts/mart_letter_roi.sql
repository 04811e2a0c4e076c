with letters as (

    select * from {{ ref('dim_letter') }}

),

letter_campaigns as (

    select * from {{ ref('int_letter_campaigns') }}

),

letter_credits as (

    select * from {{ ref('mart_letter_credits') }}

),

currency_rates as (

    select * from {{ ref('int_currency_rates') }}

),

models as (

    {%- for model in attribution_models() %}
    select '{{ model }}' as model
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

earned as (

    select
        letter_id,
        model,
        sum(case when conversion_type = 'lead_created' then credit else 0 end) as leads,
        sum(case when conversion_type = 'deal_won' then credit else 0 end) as deals,
        sum(case when conversion_type = 'order_paid' then credit else 0 end) as orders,
        sum(revenue) as revenue

    from letter_credits
    group by
        letter_id,
        model

),

-- what a letter cost on the day it was first sent; one that was not sent yet is worth the latest rate
costs as (

    select
        letters.letter_id,
        letters.cost * currency_rates.base_rate as cost

    from letters
    inner join currency_rates
        on letters.cost_currency = currency_rates.currency
            and coalesce({{ source_date('letters.sent_at') }}, cast('9999-12-30' as date)) >= currency_rates.valid_from
            and coalesce({{ source_date('letters.sent_at') }}, cast('9999-12-30' as date)) < currency_rates.valid_to
    where letters.cost is not null

),

figures as (

    select
        letters.letter_id,
        letters.source,
        letter_campaigns.campaign,
        letters.title,
        letters.sent_at,
        models.model,
        cast(costs.cost as numeric(18, 2)) as cost,
        cast(coalesce(earned.leads, 0) as numeric(28, 10)) as leads,
        cast(coalesce(earned.deals, 0) as numeric(28, 10)) as deals,
        cast(coalesce(earned.orders, 0) as numeric(28, 10)) as orders,
        cast(coalesce(earned.revenue, 0) as numeric(18, 2)) as revenue

    from letters
    cross join models
    left join letter_campaigns
        on letters.letter_id = letter_campaigns.letter_id
    left join earned
        on letters.letter_id = earned.letter_id
            and models.model = earned.model
    left join costs
        on letters.letter_id = costs.letter_id

),

final as (

    select
        letter_id || ':' || model as letter_roi_id,
        letter_id,
        source,
        campaign,
        title,
        sent_at,
        model,
        cost,
        leads,
        deals,
        orders,
        revenue,
        cast(revenue - cost as numeric(18, 2)) as profit,
        cast((revenue - cost) / nullif(cost, 0) as numeric(18, 6)) as roi,
        cast(cost / nullif(leads, 0) as numeric(28, 2)) as cost_per_lead,
        cast(cost / nullif(deals + orders, 0) as numeric(28, 2)) as cost_per_sale

    from figures

)

select * from final
