{#- The value of one parameter of a query string or URL, as written; null when absent or empty. -#}
{% macro query_parameter(column, name) -%}
    {{ return(adapter.dispatch('query_parameter')(column, name)) }}
{%- endmacro %}

{% macro default__query_parameter(column, name) -%}
    nullif(substring({{ column }} from '(?:^|[?&;]){{ name }}=([^&#]*)'), '')
{%- endmacro %}
