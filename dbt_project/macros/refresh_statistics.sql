{#- Tells the planner what is in a table that was just built; nothing to do where the warehouse needs no telling. -#}
{% macro refresh_statistics(relation) -%}
    {{ return(adapter.dispatch('refresh_statistics')(relation)) }}
{%- endmacro %}

{% macro default__refresh_statistics(relation) -%}
    select 1
{%- endmacro %}

{#- A sample of a large table costs more than a day's few rows; what they change bit by bit is left to autovacuum. -#}
{% macro postgres__refresh_statistics(relation) -%}
    {%- set grown -%}
        select 1
        from pg_catalog.pg_class
        where oid = cast('{{ relation }}' as regclass)
            and (reltuples < 1000 or pg_relation_size(oid) > 1.1 * relpages * current_setting('block_size')::bigint)
    {%- endset -%}
    {{ 'analyze ' ~ relation if execute and run_query(grown).rows else 'select 1' }}
{%- endmacro %}
