-- Whatever the model, its credits over all units and none are the conversions, its amounts their value.
{%- set rule_models = attribution_models().keys() | list %}

with credited as (

    select
        conversion_type,
        {%- for model in rule_models + data_driven_models() %}
        sum(credit_{{ model }}) as credit_{{ model }},
        sum(amount_{{ model }}) as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from {{ ref('mart_attribution_by_model') }}
    group by conversion_type

),

converted as (

    select
        conversion_type,
        count(*) as conversion_count,
        sum(amount) as amount

    from {{ ref('fct_conversions') }}
    group by conversion_type

)

select *

from converted
left join credited
    on converted.conversion_type = credited.conversion_type
where credited.conversion_type is null
    {%- for model in rule_models %}
    or credited.credit_{{ model }} <> converted.conversion_count
    or credited.amount_{{ model }} <> converted.amount
    {%- endfor %}
    or (
        {{ is_data_driven('converted.conversion_type') }}
        and (
            false
            {%- for model in data_driven_models() %}
            or coalesce(credited.credit_{{ model }}, -1) <> converted.conversion_count
            or coalesce(credited.amount_{{ model }}, -1) <> converted.amount
            {%- endfor %}
        )
    )
