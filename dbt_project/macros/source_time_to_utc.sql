{#- A naive Bitrix time, which is wall time in `var('source_timezone')`, as a moment in UTC. -#}
{% macro source_time_to_utc(column) -%}
    {{ return(adapter.dispatch('source_time_to_utc')(column)) }}
{%- endmacro %}

{% macro default__source_time_to_utc(column) -%}
    ({{ column }} at time zone '{{ var("source_timezone") }}')
{%- endmacro %}
