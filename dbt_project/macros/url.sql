{#-
    Text out of a query string: `+` is a space and `%D0%96` is what its bytes say in UTF-8. Bytes that are no UTF-8 stay as
    written, since a foreign link must not stop a build.
-#}
{% macro url_decode(column) -%}
    {{ return(adapter.dispatch('url_decode')(column)) }}
{%- endmacro %}

{% macro default__url_decode(column) -%}
    {%- set tail = '[89ab][0-9a-f]' -%}
    {%- set shapes = [
        '0[1-9a-f]|[1-7][0-9a-f]',
        '(?:c[2-9a-f]|d[0-9a-f])' ~ tail,
        'e0[ab][0-9a-f]' ~ tail,
        'ed[89][0-9a-f]' ~ tail,
        'e[1-9a-cef]' ~ tail ~ tail,
        'f0[9ab][0-9a-f]' ~ tail ~ tail,
        'f[1-3]' ~ tail ~ tail ~ tail,
        'f48[0-9a-f]' ~ tail ~ tail,
    ] -%}
    case
        when {{ column }} like '%\%%' then (
            select
                string_agg(
                    case
                        when token[1] ~ '^(?:%[0-9a-fA-F]{2})+$'
                            and lower(replace(token[1], '%', '')) ~ '^(?:{{ shapes | join("|") }})+$'
                            then convert_from(decode(replace(token[1], '%', ''), 'hex'), 'UTF8')
                        else token[1]
                    end,
                    '' order by position
                )
            from regexp_matches(
                replace({{ column }}, '+', ' '), '(?:%[0-9a-fA-F]{2})+|[^%]+|%', 'g'
            ) with ordinality as tokens (token, position)
        )
        else replace({{ column }}, '+', ' ')
    end
{%- endmacro %}

{#- What stands behind the question mark of a URL; null when there is none. -#}
{% macro url_query(column) -%}
    {{ return(adapter.dispatch('url_query')(column)) }}
{%- endmacro %}

{% macro default__url_query(column) -%}
    substring(({{ column }}) from '[?]([^#]*)')
{%- endmacro %}

{#- The host of a URL in lower case without `www.`; null when it is no web address. -#}
{% macro url_host(column) -%}
    {{ return(adapter.dispatch('url_host')(column)) }}
{%- endmacro %}

{% macro default__url_host(column) -%}
    lower(substring({{ column }} from '^[hH][tT][tT][pP][sS]?://(?:[^/?#@]*@)?(?:[wW][wW][wW][.])?([^/?#:]+)'))
{%- endmacro %}

{#- Whether a text matches a regular expression that stands in another column; case does not matter. -#}
{% macro matches_pattern(column, pattern) -%}
    {{ return(adapter.dispatch('matches_pattern')(column, pattern)) }}
{%- endmacro %}

{% macro default__matches_pattern(column, pattern) -%}
    {{ column }} ~* {{ pattern }}
{%- endmacro %}

{#- What the first group of a regular expression, which stands in another column, finds in a text; null when nothing. -#}
{% macro first_group(column, pattern) -%}
    {{ return(adapter.dispatch('first_group')(column, pattern)) }}
{%- endmacro %}

{% macro default__first_group(column, pattern) -%}
    (regexp_match({{ column }}, {{ pattern }}, 'i'))[1]
{%- endmacro %}
