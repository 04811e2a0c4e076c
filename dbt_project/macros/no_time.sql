{#- A moment that is not known. -#}
{% macro no_time() -%}
    cast(null as {{ timestamp_utc_type() }})
{%- endmacro %}
