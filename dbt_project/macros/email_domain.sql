{#- The part of a normalised address behind the @. -#}
{% macro email_domain(column) -%}
    {{ dbt.split_part(column, "'@'", 2) }}
{%- endmacro %}
