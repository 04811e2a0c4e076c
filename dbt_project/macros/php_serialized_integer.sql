{#-
    The integer under `key` in a PHP-serialized array, written as i:5; or s:1:"5"; null when it is absent, zero or no number.
    The key is sought with its length (`s:14:"CRM_CONTACT_ID";`), so a value that merely mentions it does not match.
-#}
{% macro php_serialized_integer(column, key) -%}
    {{ return(adapter.dispatch('php_serialized_integer')(column, key)) }}
{%- endmacro %}

{% macro default__php_serialized_integer(column, key) -%}
    {#- split first: the pattern then sees a few characters instead of the whole text -#}
    nullif(
        cast(
            substring(
                split_part({{ column }}, 's:{{ key | length }}:"{{ key }}";', 2)
                from '^(?:i:|s:[0-9]+:")([0-9]{1,18})"?;'
            ) as bigint
        ),
        0
    )
{%- endmacro %}
