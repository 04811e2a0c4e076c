{#-
    A pre-hook: tells the planner that the model reads whole tables, so that it does not join row by row because it takes a set for
    small that is not. What it knows of columns worked out on the way is a guess of a few rows, and a loop within a loop over a million
    of them never ends. `always`: also when an incremental model has something to add to, because it is worked out whole even then, or
    because it takes all it needs out of large tables by `among`, so that what is joined are lists of a day.
-#}
{% macro plan_for_bulk(always=false) -%}
    {%- if always or (model.config.materialized in ['table', 'incremental'] and not is_incremental()) -%}
        {{ return(adapter.dispatch('plan_for_bulk')()) }}
    {%- endif -%}
{%- endmacro %}

{% macro default__plan_for_bulk() -%}
{%- endmacro %}

{#-
    Until the end of the model's transaction; what can only be done row by row still is. An increment is worked out without helpers: they
    read whole tables, and hold each row against every value that `among` gives, where an index would be asked for the few.
-#}
{% macro postgres__plan_for_bulk() -%}
    set local enable_nestloop = off
    {%- if is_incremental() %}; set local max_parallel_workers_per_gather = 0{% endif %}
{%- endmacro %}

{#-
    A pre-hook after plan_for_bulk (which comes from dbt_project.yml), for a model that looks up few rows of large tables by their keys:
    the planner may do so again.
-#}
{% macro plan_for_few() -%}
    {{ return(adapter.dispatch('plan_for_few')()) }}
{%- endmacro %}

{% macro default__plan_for_few() -%}
{%- endmacro %}

{% macro postgres__plan_for_few() -%}
    set local enable_nestloop = on
{%- endmacro %}
