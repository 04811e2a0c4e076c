{#-
    A join that gives one row per link of an HTML text: `<alias>.href` as written (not decoded) and `<alias>.position`
    from 1. Comments are no HTML; the order of attributes and the kind of quotes do not matter.
-#}
{% macro join_html_links(column, alias) -%}
    {{ return(adapter.dispatch('join_html_links')(column, alias)) }}
{%- endmacro %}

{% macro default__join_html_links(column, alias) -%}
    {#- one attribute: a name, and perhaps a value in either kind of quotes or in none -#}
    {%- set attribute = '[^[:space:]"\'\'>=]+(?:[[:space:]]*=[[:space:]]*(?:"[^"]*"|\'\'[^\'\']*\'\'|[^[:space:]"\'\'>]+))?' -%}
    {%- set value = '(?:"([^"]*)"|\'\'([^\'\']*)\'\'|([^[:space:]"\'\'>]+)(?=[[:space:]>]))' -%}
    cross join lateral (
        select
            coalesce(found[1], found[2], found[3]) as href,
            position
        from regexp_matches(
            regexp_replace({{ column }}, '<!--.*?-->', '', 'g'),
            '<(?:a|area)(?:[[:space:]]+{{ attribute }})*?[[:space:]]+href[[:space:]]*=[[:space:]]*{{ value }}',
            'gi'
        ) with ordinality as links (found, position)
    ) as {{ alias }}
{%- endmacro %}

{#- Text with its HTML entities decoded: the five of XML, the hard space, and all numbers. -#}
{% macro decode_html_entities(column) -%}
    {{ return(adapter.dispatch('decode_html_entities')(column)) }}
{%- endmacro %}

{% macro default__decode_html_entities(column) -%}
    {%- set decimal_code = 'cast(substring(token[1] from 3 for length(token[1]) - 3) as integer)' -%}
    {%- set hexadecimal_code = "cast(cast('x' || lpad(substring(token[1] from 4 for length(token[1]) - 4), 8, '0') as bit(32)) as integer)" -%}
    case
        when {{ column }} like '%&%;%' then (
            select
                string_agg(
                    case
                        when token[1] = '&amp;' then '&'
                        when token[1] = '&lt;' then '<'
                        when token[1] = '&gt;' then '>'
                        when token[1] = '&quot;' then '"'
                        when token[1] in ('&apos;', '&#39;') then ''''
                        when token[1] = '&nbsp;' then ' '
                        {%- for shape, code in [('^&#[0-9]+;$', decimal_code), ('^&#[xX][0-9a-fA-F]+;$', hexadecimal_code)] %}
                        when token[1] ~ '{{ shape }}' then
                            case
                                when {{ code }} between 1 and 55295 or {{ code }} between 57344 and 1114111
                                    then chr({{ code }})
                                else token[1]
                            end
                        {%- endfor %}
                        else token[1]
                    end,
                    '' order by position
                )
            from regexp_matches(
                {{ column }}, '&#[0-9]{1,7};|&#[xX][0-9a-fA-F]{1,6};|&[a-zA-Z]+;|[^&]+|&', 'g'
            ) with ordinality as tokens (token, position)
        )
        else {{ column }}
    end
{%- endmacro %}
