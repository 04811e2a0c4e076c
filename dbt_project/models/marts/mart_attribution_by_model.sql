with letter_conversions as (

    select * from {{ ref('fct_letter_conversions') }}

),

data_driven as (

    select * from {{ ref('fct_attribution_data_driven') }}

),

{%- set rule_models = attribution_models().keys() | list %}
{%- set models = rule_models + data_driven_models() %}

rule_credits as (

    select
        conversion_type,
        case when touch_count > 0 then {{ data_driven_unit() }} end as unit,
        {%- for model in rule_models %}
        sum(credit_{{ model }}) as credit_{{ model }},
        sum(amount_{{ model }}) as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letter_conversions
    group by
        conversion_type,
        case when touch_count > 0 then {{ data_driven_unit() }} end

),

data_driven_credits as (

    select
        conversion_type,
        unit,
        {%- for model in data_driven_models() %}
        sum(case when model = '{{ model }}' then credit else 0 end) as credit_{{ model }},
        sum(case when model = '{{ model }}' then amount else 0 end) as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from data_driven
    group by
        conversion_type,
        unit

),

unit_credits as (

    select
        conversion_type,
        unit,
        {%- for model in models %}
        {{ 'credit_' ~ model if model in rule_models else '0' }} as credit_{{ model }},
        {{ 'amount_' ~ model if model in rule_models else '0' }} as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}
    from rule_credits

    union all

    select
        conversion_type,
        unit,
        {%- for model in models %}
        {{ '0' if model in rule_models else 'credit_' ~ model }} as credit_{{ model }},
        {{ '0' if model in rule_models else 'amount_' ~ model }} as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}
    from data_driven_credits

),

final as (

    select
        conversion_type,
        unit,
        {%- for model in models %}
        {%- for measure, type in {'credit': 'numeric(28, 10)', 'amount': 'numeric(18, 2)'}.items() %}
        {%- set summed = 'sum(' ~ measure ~ '_' ~ model ~ ')' %}
        {%- if model in data_driven_models() %}
        {%- set summed = 'case when ' ~ is_data_driven('conversion_type') ~ ' then ' ~ summed ~ ' end' %}
        {%- endif %}
        cast({{ summed }} as {{ type }}) as {{ measure }}_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}{{ ',' if not loop.last }}
        {%- endfor %}

    from unit_credits
    group by
        conversion_type,
        unit

)

select * from final
