{#- The text under a path of keys in a JSON column; null when there is none. -#}
{% macro json_text(column, path) -%}
    {{ return(adapter.dispatch('json_text')(column, path)) }}
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    {{ column }} #>> '{ {{- path | join(',') -}} }'
{%- endmacro %}

{#-
    A join that gives one row per element of a JSON array: `<alias>.value` and `<alias>.position` from 1. A PHP array
    with gaps in its keys is an object in JSON; its values are the elements then. Anything else has none.
-#}
{% macro join_json_elements(column, alias) -%}
    {{ return(adapter.dispatch('join_json_elements')(column, alias)) }}
{%- endmacro %}

{% macro default__join_json_elements(column, alias) -%}
    cross join lateral (
        select
            elements.value,
            elements.position
        from jsonb_array_elements(case when jsonb_typeof({{ column }}) = 'array' then {{ column }} else '[]' end)
            with ordinality as elements (value, position)
        union all
        select
            elements.value,
            elements.position
        from jsonb_each(case when jsonb_typeof({{ column }}) = 'object' then {{ column }} else '{}' end)
            with ordinality as elements (key, value, position)
    ) as {{ alias }}
{%- endmacro %}

{#- Seconds since 1970, as text, as a moment; null when it is no such number. -#}
{% macro epoch_to_utc(column) -%}
    {{ return(adapter.dispatch('epoch_to_utc')(column)) }}
{%- endmacro %}

{% macro default__epoch_to_utc(column) -%}
    to_timestamp(cast(substring({{ column }} from '^[0-9]{9,10}$') as double precision))
{%- endmacro %}
