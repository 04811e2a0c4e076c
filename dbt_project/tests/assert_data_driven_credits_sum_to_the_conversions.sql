-- Per conversion type and data-driven model, credits sum to exactly the number of conversions and amounts to exactly their value.
with expected as (

    {% for model in data_driven_models() -%}
    select
        conversion_type,
        '{{ model }}' as model,
        count(*) as credit,
        sum(amount) as amount
    from {{ ref('fct_conversions') }}
    where {{ is_data_driven('conversion_type') }}
    group by conversion_type
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

found as (

    select
        conversion_type,
        model,
        sum(credit) as credit,
        sum(amount) as amount

    from {{ ref('fct_attribution_data_driven') }}
    group by
        conversion_type,
        model

)

select
    expected.*,
    found.credit as found_credit,
    found.amount as found_amount

from expected
left join found
    on expected.conversion_type = found.conversion_type
        and expected.model = found.model
where found.model is null
    or expected.credit <> found.credit
    or expected.amount <> found.amount
