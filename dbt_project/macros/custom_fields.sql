{#-
    Custom fields come and go with the site: a model cannot name a column that another site lacks. So a row is looked at as
    JSON, and a field is sought by its name. A list is JSON too: not every warehouse has arrays.
-#}
{% macro row_as_json(row) -%}
    {{ return(adapter.dispatch('row_as_json')(row)) }}
{%- endmacro %}

{% macro default__row_as_json(row) -%}
    to_jsonb({{ row }})
{%- endmacro %}

{#- The value under `key` (an expression) as text; null when there is none. -#}
{% macro json_value_text(json, key) -%}
    {{ return(adapter.dispatch('json_value_text')(json, key)) }}
{%- endmacro %}

{% macro default__json_value_text(json, key) -%}
    ({{ json }} ->> {{ key }})
{%- endmacro %}

{#- Whether a JSON list holds a text, in any case of letters. -#}
{% macro json_list_has(list, text) -%}
    {{ return(adapter.dispatch('json_list_has')(list, text)) }}
{%- endmacro %}

{% macro default__json_list_has(list, text) -%}
    exists (
        select 1
        from jsonb_array_elements_text(case jsonb_typeof({{ list }}) when 'array' then {{ list }} else '[]' end) as items (item)
        where lower(item) = lower({{ text }})
    )
{%- endmacro %}

{#- Whether a JSON list or object holds anything. -#}
{% macro json_is_filled(json) -%}
    {{ return(adapter.dispatch('json_is_filled')(json)) }}
{%- endmacro %}

{% macro default__json_is_filled(json) -%}
    {{ json }} not in ('[]', '{}', 'null')
{%- endmacro %}

{#- A yes-or-no field as text, however the site keeps it; null when it says neither. -#}
{% macro text_to_boolean(column) -%}
    case
        when lower({{ column }}) in ('1', 'y', 'true') then true
        when lower({{ column }}) in ('0', 'n', 'false') then false
    end
{%- endmacro %}

{#- A naive time in text (2026-05-01 12:00:00, with a space or a T); null when it is none. -#}
{% macro text_to_timestamp(column) -%}
    {{ return(adapter.dispatch('text_to_timestamp')(column)) }}
{%- endmacro %}

{% macro default__text_to_timestamp(column) -%}
    cast(substring({{ column }} from '^[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?') as timestamp)
{%- endmacro %}
