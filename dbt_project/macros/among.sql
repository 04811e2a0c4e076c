{#-
    Whether `column` is one of the few values that `query`, a select of one column, gives. To an index it is a list of constants, and so it
    also reaches through views that join, rank and unite. Only for what has an index: otherwise every row is held against every value. A
    list of unknown length is taken for a short one; a model that joins what it finds so should plan_for_bulk(always=true).
-#}
{% macro among(column, query) -%}
    {{ return(adapter.dispatch('among')(column, query)) }}
{%- endmacro %}

{% macro default__among(column, query) -%}
    {{ column }} in ({{ query }})
{%- endmacro %}

{% macro postgres__among(column, query) -%}
    {{ column }} = any (array({{ query }}))
{%- endmacro %}
