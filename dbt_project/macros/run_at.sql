{#-
    The run's time as a timestamp literal: `var('run_at')`, or, on the command line, the time this invocation started.
    One value for the whole run; no model asks the database what time it is.
-#}
{% macro run_at() -%}
    cast('{{ var("run_at", none) or run_started_at.isoformat() }}' as {{ timestamp_utc_type() }})
{%- endmacro %}

{#- The type of a moment in time with a zone, held in UTC. -#}
{% macro timestamp_utc_type() -%}
    {{ return(adapter.dispatch('timestamp_utc_type')()) }}
{%- endmacro %}

{% macro default__timestamp_utc_type() -%}
    timestamp with time zone
{%- endmacro %}
