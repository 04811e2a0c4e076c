{#- A number for a text; two texts with the same number are as good as impossible. -#}
{% macro text_fingerprint(text) -%}
    {{ return(adapter.dispatch('text_fingerprint')(text)) }}
{%- endmacro %}

{% macro postgres__text_fingerprint(text) -%}
    hashtextextended({{ text }}, 0)
{%- endmacro %}

{#- One number for a set of fingerprints, an aggregate: the order does not matter, and no fingerprint may be in it twice. -#}
{% macro set_fingerprint(fingerprint) -%}
    {{ return(adapter.dispatch('set_fingerprint')(fingerprint)) }}
{%- endmacro %}

{% macro postgres__set_fingerprint(fingerprint) -%}
    bit_xor({{ fingerprint }})
{%- endmacro %}

{#- `columns` as one text. Each value goes with its length, so that no two different rows look alike. -#}
{% macro row_text(columns) -%}
    {%- for column in columns -%}
    {%- set text = 'cast(' ~ column ~ ' as ' ~ dbt.type_string() ~ ')' -%}
    coalesce(length({{ text }}) || ':' || {{ text }}, '~')
    {{- ' || ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
