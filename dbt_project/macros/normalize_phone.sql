{#-
    How countries write numbers without a plus: the calling code, how many digits follow it, and the prefix that is dialled instead of
    it inside the country. Of a country that is not here, only numbers that begin with a plus or a whole calling code are read.
-#}
{% macro phone_countries() -%}
    {{ return([
        {'country': 'RU', 'code': '7', 'digits': 10, 'trunk': '8'},
        {'country': 'KZ', 'code': '7', 'digits': 10, 'trunk': '8'},
        {'country': 'BY', 'code': '375', 'digits': 9, 'trunk': '80'},
        {'country': 'UA', 'code': '380', 'digits': 9, 'trunk': '0'},
        {'country': 'UZ', 'code': '998', 'digits': 9, 'trunk': ''},
        {'country': 'KG', 'code': '996', 'digits': 9, 'trunk': '0'},
        {'country': 'AM', 'code': '374', 'digits': 8, 'trunk': '0'},
        {'country': 'AZ', 'code': '994', 'digits': 9, 'trunk': '0'},
        {'country': 'GE', 'code': '995', 'digits': 9, 'trunk': '0'},
        {'country': 'US', 'code': '1', 'digits': 10, 'trunk': '1'},
        {'country': 'GB', 'code': '44', 'digits': 10, 'trunk': '0'},
        {'country': 'PL', 'code': '48', 'digits': 9, 'trunk': ''},
    ]) }}
{%- endmacro %}

{#-
    A telephone number as a key, in E.164 (`+79161234567`); null when it cannot be one. `country` is an SQL expression for the number's
    two-letter country where that is known; where not, the number is of `default_phone_country`. Extensions are cut off.
-#}
{% macro normalize_phone(column, country='null') -%}
    {{ return(adapter.dispatch('normalize_phone')(column, country)) }}
{%- endmacro %}

{% macro default__normalize_phone(column, country) -%}
    {%- set whole = "typed.digits ~ '^[1-9][0-9]{7,14}$' and (typed.digits !~ '^7' or length(typed.digits) = 11)" -%}
    (
        select
            case
                when typed.is_international and {{ whole }}
                    then '+' || typed.digits
                when typed.is_international
                    then null
                {%- for each in phone_countries() %}
                {%- set national = '[1-9][0-9]{' ~ (each.digits - 1) ~ '}' %}
                when typed.country = '{{ each.country }}' and typed.digits ~ '^({{ each.trunk }})?{{ national }}$'
                    then '+{{ each.code }}' || right(typed.digits, {{ each.digits }})
                {%- endfor %}
                -- has its country's code, and no other reading
                when length(typed.digits) > 10 and {{ whole }}
                    then '+' || typed.digits
            end
        from (
            select
                -- an extension begins with a word or a sign after the number
                regexp_replace(
                    regexp_replace(written.number, '[[:alpha:]#;,].*$|[^0-9]', '', 'g'), '^00', ''
                ) as digits,
                written.number ~ '^(\+|00)' as is_international,
                coalesce(upper({{ country }}), '{{ var("default_phone_country") }}') as country
            from (
                select regexp_replace({{ column }}, '^[^0-9+]+', '') as number
            ) as written
        ) as typed
    )
{%- endmacro %}
