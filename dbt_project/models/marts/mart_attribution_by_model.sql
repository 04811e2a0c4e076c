with credits as (

    select * from {{ ref('fct_attribution_credits') }}

),

data_driven as (

    select * from {{ ref('fct_attribution_data_driven') }}

),

{%- set models = attribution_models().keys() | list + data_driven_models() %}

unit_credits as (

    select
        conversion_type,
        case when touch_event_id is not null then {{ data_driven_unit() }} end as unit,
        model,
        credit,
        amount

    from credits

    union all

    select
        conversion_type,
        unit,
        model,
        credit,
        amount

    from data_driven

),

final as (

    select
        conversion_type,
        unit,
        {%- for model in models %}
        {%- for measure, type in {'credit': 'numeric(28, 10)', 'amount': 'numeric(18, 2)'}.items() %}
        {%- set summed = "coalesce(sum(case when model = '" ~ model ~ "' then " ~ measure ~ " end), 0)" %}
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
