{#- An id that Bitrix keeps as text, as a number; null when it is zero or no number. -#}
{% macro text_to_integer(column) -%}
    {{ return(adapter.dispatch('text_to_integer')(column)) }}
{%- endmacro %}

{% macro default__text_to_integer(column) -%}
    nullif(cast(substring({{ column }} from '^[0-9]{1,18}$') as bigint), 0)
{%- endmacro %}
