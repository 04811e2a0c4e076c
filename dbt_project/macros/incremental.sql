{#-
    Change tracking. Business time is run_at(); what was built when is built_at(). A table that others read incrementally
    carries `_built_at`, the build that last changed the row, and a reader asks for the rows that are newer than its own newest.

    The build this is: the start of the invocation, as a moment in UTC. It grows from build to build, whatever `run_at` says.
-#}
{% macro built_at() -%}
    cast('{{ run_started_at.isoformat() }}' as {{ timestamp_utc_type() }})
{%- endmacro %}

{#-
    The newest build in the model's own table as a literal, for `_built_at > …` on what it reads; none when the whole table has to
    be built: at the first build, at a full refresh, when it is empty, and when its rows come from other rules than `version` (a SQL
    literal, held against column `version_column` of the newest row). A literal, so that the planner knows how few rows are newer.
-#}
{% macro incremental_since(version_column=none, version=none) -%}
    {%- if not execute or not is_incremental() -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set newest -%}
        select
            cast(_built_at as {{ dbt.type_string() }}),
            {{ version_column ~ ' = ' ~ version if version_column else 'true' }}
        from {{ this }}
        order by _built_at desc
        limit 1
    {%- endset -%}
    {%- set rows = run_query(newest).rows -%}
    {%- if not rows or not rows[0][1] -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return("cast('" ~ rows[0][0] ~ "' as " ~ timestamp_utc_type() ~ ")") }}
{%- endmacro %}

{#-
    A pre-hook of the models that hold what became of messages: drops the rows of the messages that changed since the model was
    built, so that the new ones take their place, and rows that have no successor go too.
-#}
{% macro drop_changed_messages(version_column=none, version=none) -%}
    {%- if execute and is_incremental() -%}
        {%- set since = incremental_since(version_column, version) -%}
        delete from {{ this }}
        {% if since -%}
        where message_key in (select message_key from {{ ref('int_message_changes') }} where _built_at > {{ since }})
        {%- endif %}
    {%- endif -%}
{%- endmacro %}
