{#- A text as a 64-bit number that is the same on every run; joins of millions of rows are quicker over numbers. -#}
{% macro hash_to_number(expression) -%}
    {{ return(adapter.dispatch('hash_to_number')(expression)) }}
{%- endmacro %}

{% macro default__hash_to_number(expression) -%}
    hashtextextended({{ expression }}, 0)
{%- endmacro %}
