{#-
    Every model of credit, in one place: its name and the weight it gives a touch of `int_touches_ranked`. Weights are
    relative; `fct_attribution_credits` turns them into credits that sum to exactly 1. To add a model, add a line here and its
    columns to the contract of mart_letter_performance.
-#}
{% macro attribution_models() -%}
    {%- set half_life_seconds = var('half_life_days') * 86400 -%}
    {{ return({
        'last_touch': 'case when touch_index = touch_count then 1.0 else 0.0 end',
        'first_touch': 'case when touch_index = 1 then 1.0 else 0.0 end',
        'linear': '1.0',
        'time_decay': 'power(cast(0.5 as double precision), cast(seconds_before_last_touch as double precision) / '
            ~ half_life_seconds ~ ')',
    }) }}
{%- endmacro %}
