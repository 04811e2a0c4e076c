{#- The day of `moment` on the site's calendar, in `var('source_timezone')`. -#}
{% macro source_date(moment) -%}
    {{ return(adapter.dispatch('source_date')(moment)) }}
{%- endmacro %}

{% macro default__source_date(moment) -%}
    cast({{ moment }} at time zone '{{ var("source_timezone") }}' as date)
{%- endmacro %}
