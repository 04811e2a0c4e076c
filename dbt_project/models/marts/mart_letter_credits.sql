with letter_conversions as (

    select * from {{ ref('fct_letter_conversions') }}
    where letter_id is not null

),

summed as (

    select
        letter_id,
        campaign,
        conversion_type,
        {%- for model in attribution_models() %}
        sum(credit_{{ model }}) as credit_{{ model }},
        sum(amount_{{ model }}) as amount_{{ model }},
        sum(case when is_revenue then amount_{{ model }} else 0 end) as revenue_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letter_conversions
    group by
        letter_id,
        campaign,
        conversion_type

),

by_model as (

    {%- for model in attribution_models() %}
    select
        letter_id,
        campaign,
        '{{ model }}' as model,
        conversion_type,
        credit_{{ model }} as credit,
        amount_{{ model }} as amount,
        revenue_{{ model }} as revenue
    from summed
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

final as (

    select
        letter_id || ':' || model || ':' || conversion_type as letter_credit_id,
        letter_id,
        campaign,
        model,
        conversion_type,
        cast(credit as numeric(28, 10)) as credit,
        cast(amount as numeric(18, 2)) as amount,
        cast(revenue as numeric(18, 2)) as revenue

    from by_model

)

select * from final
