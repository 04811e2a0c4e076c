{#-
    The run's time as a timestamp literal: `var('run_at')`, or LETTERTRAIL_RUN_AT of the environment, or, on the command line, the time
    this invocation started. One value for the whole run; no model asks the database what time it is.

    Airflow uses the environment: with another `--vars` than the last time dbt reads the whole project anew, which takes longer than an
    hour's increment. What is only looked at when a model is run is no reason to.
-#}
{% macro run_at() -%}
    {%- set told = var("run_at", none) or (env_var("LETTERTRAIL_RUN_AT", "") if execute else none) -%}
    cast('{{ told or run_started_at.isoformat() }}' as {{ timestamp_utc_type() }})
{%- endmacro %}

{#- The type of a moment in time with a zone, held in UTC. -#}
{% macro timestamp_utc_type() -%}
    {{ return(adapter.dispatch('timestamp_utc_type')()) }}
{%- endmacro %}

{% macro default__timestamp_utc_type() -%}
    timestamp with time zone
{%- endmacro %}
