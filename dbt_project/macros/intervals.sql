{#- `moment` moved by a number of seconds (may be negative). Days are 86 400 seconds here: a session's zone must not matter. -#}
{% macro add_seconds(moment, seconds) -%}
    {{ return(adapter.dispatch('add_seconds')(moment, seconds)) }}
{%- endmacro %}

{% macro default__add_seconds(moment, seconds) -%}
    {{ dbt.dateadd('second', seconds, moment) }}
{%- endmacro %}

{#- Seconds from `start` to `finish`, with fractions. -#}
{% macro seconds_between(start, finish) -%}
    {{ return(adapter.dispatch('seconds_between')(start, finish)) }}
{%- endmacro %}

{% macro default__seconds_between(start, finish) -%}
    extract(epoch from {{ finish }} - {{ start }})
{%- endmacro %}

{#- The first day of the UTC month of `moment`. -#}
{% macro utc_month(moment) -%}
    {{ return(adapter.dispatch('utc_month')(moment)) }}
{%- endmacro %}

{% macro default__utc_month(moment) -%}
    cast({{ dbt.date_trunc('month', moment ~ " at time zone 'UTC'") }} as date)
{%- endmacro %}

{#- The UTC date of `moment`. -#}
{% macro utc_date(moment) -%}
    {{ return(adapter.dispatch('utc_date')(moment)) }}
{%- endmacro %}

{% macro default__utc_date(moment) -%}
    cast({{ moment }} at time zone 'UTC' as date)
{%- endmacro %}

{#- How many rows of the `partition` lie from this row's `moment` to `seconds` after it, this one and its equals among them. -#}
{% macro count_within(partition, moment, seconds) -%}
    {{ return(adapter.dispatch('count_within')(partition, moment, seconds)) }}
{%- endmacro %}

{% macro default__count_within(partition, moment, seconds) -%}
    count(*) over (
            partition by {{ partition }}
            order by {{ moment }}
            range between current row and interval '{{ seconds }} seconds' following
        )
{%- endmacro %}

{#- `moment` as seconds since 1970. -#}
{% macro epoch_seconds(moment) -%}
    {{ seconds_between("cast('1970-01-01T00:00:00+00:00' as " ~ timestamp_utc_type() ~ ")", moment) }}
{%- endmacro %}
