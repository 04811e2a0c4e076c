{#-
    Bitrix keeps four-byte characters of some columns as their hex code between colons (`:f09f9880:`), so that three-byte
    columns can hold them. Only codes that are valid UTF-8 are decoded; other text between colons stays.
-#}
{% macro decode_emoji(column) -%}
    {{ return(adapter.dispatch('decode_emoji')(column)) }}
{%- endmacro %}

{% macro postgres__decode_emoji(column) -%}
    {%- set code = ':f0[9ab][0-9a-f][89ab][0-9a-f][89ab][0-9a-f]:' -%}
    case
        when {{ column }} ~ '{{ code }}' then (
            select
                string_agg(
                    case
                        when token[1] ~ '^{{ code }}$'
                            then convert_from(decode(trim(both ':' from token[1]), 'hex'), 'UTF8')
                        else token[1]
                    end,
                    '' order by position
                )
            from regexp_matches({{ column }}, '{{ code }}|[^:]+|:', 'g') with ordinality as tokens (token, position)
        )
        else {{ column }}
    end
{%- endmacro %}
