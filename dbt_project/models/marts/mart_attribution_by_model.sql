with credits as (

    select * from {{ ref('fct_attribution_credits') }}

),

data_driven as (

    select * from {{ ref('fct_attribution_data_driven') }}

),

touch_units as (

    select * from {{ ref('int_touch_units') }}

),

{%- set models = attribution_models().keys() | list + data_driven_models() %}

unit_credits as (

    select
        credits.conversion_type,
        touch_units.unit,
        credits.model,
        credits.credit,
        credits.amount

    from credits
    left join touch_units
        on credits.touch_event_id = touch_units.touch_event_id

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
        cast(sum(case when model = '{{ model }}' then credit else 0 end) as numeric(28, 10)) as credit_{{ model }},
        cast(sum(case when model = '{{ model }}' then amount else 0 end) as numeric(18, 2)) as amount_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from unit_credits
    group by
        conversion_type,
        unit

)

select * from final
