{#-
    An address as a key: trimmed, lower case; null when it cannot be an address (nothing on one side of the @).
    Dots and plus tags stay: only the mail host knows whether they matter.
-#}
{% macro normalize_email(column) -%}
    {{ return(adapter.dispatch('normalize_email')(column)) }}
{%- endmacro %}

{% macro default__normalize_email(column) -%}
    case when {{ column }} like '%_@_%' then lower(trim({{ column }})) end
{%- endmacro %}

{% macro postgres__normalize_email(column) -%}
    case
        when {{ column }} like '%_@_%'
            then lower(btrim({{ column }}, E' \t\r\n\u00a0'))
    end
{%- endmacro %}
