-- Whatever the model, its credits over all units and none are the conversions, its amounts their value.
{%- set models = attribution_models().keys() | list + data_driven_models() %}

with credited as (

    select
        conversion_type,
        {%- for model in models %}
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
    {%- for model in models %}
    or credited.credit_{{ model }} <> converted.conversion_count
    or credited.amount_{{ model }} <> converted.amount
    {%- endfor %}
