{#-
    Every model of credit, in one place: its name and the weight it gives a touch of `int_touches_ranked`, which has these
    columns beside the touch itself: touch_index and touch_count, seconds_before_last_touch, last_non_direct_index, and
    lead_touch_index and deal_touch_index, the last touch before the lead and the deal were made (null when there is none).
    `shares` are those of the seed attribution_position_shares, one column `<model>_<position>` each.

    Weights are relative: `attribution_credit_ctes` turns them into credits that sum to exactly 1, so a place that a path does not have
    leaves its share to the others; where all weights are 0 every touch gets the same. To add a model, add it here and its columns
    to the contract of mart_letter_performance.
-#}
{% macro attribution_models() -%}
    {%- set half_life_seconds = var('half_life_days') * 86400 -%}
    {%- set is_lead_touch = 'touch_index = coalesce(lead_touch_index, 0)' -%}
    {%- set is_deal_touch = 'touch_index = coalesce(deal_touch_index, 0)' -%}
    {{ return({
        'last_touch': 'case when touch_index = touch_count then 1.0 else 0.0 end',
        'first_touch': 'case when touch_index = 1 then 1.0 else 0.0 end',
        'linear': '1.0',
        'position_based': 'case when touch_index = 1 then position_based_first else 0.0 end'
            ~ ' + case when touch_index = touch_count then position_based_last else 0.0 end'
            ~ ' + case when touch_index > 1 and touch_index < touch_count then position_based_middle / (touch_count - 2) else 0.0 end',
        'time_decay': 'power(cast(0.5 as double precision), cast(seconds_before_last_touch as double precision) / '
            ~ half_life_seconds ~ ')',
        'w_shape': 'case when touch_index = 1 then w_shape_first else 0.0 end'
            ~ ' + case when ' ~ is_lead_touch ~ ' then w_shape_lead else 0.0 end'
            ~ ' + case when ' ~ is_deal_touch ~ ' then w_shape_deal else 0.0 end'
            ~ ' + case when touch_index > 1 and not ' ~ is_lead_touch ~ ' and not ' ~ is_deal_touch
            ~ ' then w_shape_others / (touch_count - 1'
            ~ ' - case when lead_touch_index > 1 then 1 else 0 end'
            ~ ' - case when deal_touch_index > 1 and deal_touch_index <> coalesce(lead_touch_index, 0) then 1 else 0 end)'
            ~ ' else 0.0 end',
        'last_non_direct': 'case when touch_index = coalesce(last_non_direct_index, touch_count) then 1.0 else 0.0 end',
    }) }}
{%- endmacro %}

{#- The positions of the seed attribution_position_shares, by model. -#}
{% macro attribution_positions() -%}
    {{ return({
        'position_based': ['first', 'middle', 'last'],
        'w_shape': ['first', 'lead', 'deal', 'others'],
    }) }}
{%- endmacro %}

{#- The seed as one row, a column `<model>_<position>` for each share; what the seed leaves out is 0. -#}
{% macro attribution_shares(seed) -%}
    select
        {%- for model, positions in attribution_positions().items() %}
        {%- set model_loop = loop %}
        {%- for position in positions %}
        coalesce(max(case when model = '{{ model }}' and position = '{{ position }}' then share end), 0)
            as {{ model }}_{{ position }}{{ ',' if not (loop.last and model_loop.last) }}
        {%- endfor %}
        {%- endfor %}
    from {{ seed }}
{%- endmacro %}

{#-
    The part of `units` that `part` of `total` makes, rounded to a whole unit. Where no touch has any weight, all have the same.
-#}
{% macro units_dealt(units, part, total, even_part) -%}
    floor(
        {{ units }} * case when {{ total }} > 0 then {{ part }} else {{ even_part }} end
        / case when {{ total }} > 0 then {{ total }} else touch_count end + 0.5
    )
{%- endmacro %}

{#-
    CTEs that end with `touches_credited`: one row per touch and model, with all columns of `touches` (rows of
    int_touches_ranked with the `amount` of their conversion) and credit and credited_amount. `shares` is a CTE of
    attribution_shares.

    Credit and amount are dealt out along the path: what the touches up to one have together, rounded to the unit, less what those
    before it had. So they sum exactly, no touch is further than one unit from its share, and a touch without weight gets nothing.
    The units are ten-billionths of a conversion and hundredths of the base currency.
-#}
{% macro attribution_credit_ctes(touches, shares, columns) -%}
{%- set models = attribution_models() -%}
{%- set path = 'partition by conversion_id order by touch_index rows between unbounded preceding and' -%}
touches_weighted as (

    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        amount,
        cast(amount * 100 as {{ dbt.type_float() }}) as amount_units,
        {%- for model, weight in models.items() %}
        cast({{ weight }} as {{ dbt.type_float() }}) as weight_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from {{ touches }}
    cross join {{ shares }}

),

touches_summed as (

    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        amount_units,
        {%- for model in models %}
        sum(weight_{{ model }}) over ({{ path }} current row) as upto_{{ model }},
        sum(weight_{{ model }}) over ({{ path }} 1 preceding) as before_{{ model }},
        sum(weight_{{ model }}) over (partition by conversion_id) as total_{{ model }}{{ ',' if not loop.last }}
        {%- endfor %}

    from touches_weighted

),

touches_credited as (

    {%- for model in models %}
    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        '{{ model }}' as model,
        {%- for units, unit, name in [('1e10', '0.0000000001', 'credit'), ('amount_units', '0.01', 'credited_amount')] %}
        cast(
            case
                when touch_index = touch_count then {{ units }}
                else {{ units_dealt(units, 'upto_' ~ model, 'total_' ~ model, 'touch_index') }}
            end
            - case
                when touch_index = 1 then 0
                else {{ units_dealt(units, 'before_' ~ model, 'total_' ~ model, '(touch_index - 1)') }}
            end
            as bigint
        ) * {{ unit }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from touches_summed
    {{ 'union all' if not loop.last }}
    {%- endfor %}

)
{%- endmacro %}
