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
            {#- not by its own name, which the order would be by, and no index has it as text #}
            cast(_built_at as {{ dbt.type_string() }}) as newest,
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
    A pre-hook of the models that hold what became of messages, conversions and the like: drops the rows whose `key` changed since the
    model was built, so that the new ones take their place, and rows that have no successor go too.
-#}
{% macro drop_changed_rows(changes, version_column=none, version=none, key='message_key') -%}
    {%- if execute and is_incremental() -%}
        {%- set since = incremental_since(version_column, version) -%}
        delete from {{ this }}
        {% if since -%}
        where {{ among(key, 'select ' ~ key ~ ' from ' ~ ref(changes) ~ ' where _built_at > ' ~ since) }}
        {%- endif %}
    {%- endif -%}
{%- endmacro %}

{#- Whether a row of an upstream table is newer than `since` (of incremental_since()); everything is, to a table that is built whole. -#}
{% macro newer_than(since, column='_built_at') -%}
    {{ column ~ ' > ' ~ since if since else 'true' }}
{%- endmacro %}

{#- Whether two values differ, null being a value. -#}
{% macro differs(one, other) -%}
    {{ return(adapter.dispatch('differs')(one, other)) }}
{%- endmacro %}

{% macro default__differs(one, other) -%}
    {{ one }} is distinct from {{ other }}
{%- endmacro %}

{#- Whether any of `columns` has another value in `one` than in `other`. -#}
{% macro rows_differ(one, other, columns) -%}
    (
    {%- for column in columns %}
        {{ differs(one ~ '.' ~ column, other ~ '.' ~ column) }}
        {{- ' or' if not loop.last }}
    {%- endfor %}
    )
{%- endmacro %}

{#-
    A CTE `changed`: the rows of `current`, another CTE of the model, that differ from what the table held in any of `columns`, and those
    it held that are no more, marked `is_gone`, so that readers hear of them. `held` is what to compare with when that is not the whole
    table; `carried` columns go along and belong to the key; of `previous` columns the held value is told too.
-#}
{% macro changed_cte(current, key, columns, held=none, carried=[], previous=[]) -%}
changed as (

    select
        current_rows.{{ key }},
        {%- for column in carried + columns %}
        current_rows.{{ column }},
        {%- endfor %}
        {%- for column in previous %}
        {{ 'held.' ~ column if is_incremental() else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as previous_{{ column }},
        {%- endfor %}
        false as is_gone

    from {{ current }} as current_rows
    {%- if is_incremental() %}
    left join {{ held or this }} as held
        on current_rows.{{ key }} = held.{{ key }}
    where held.{{ key }} is null
        or held.is_gone
        or {{ rows_differ('current_rows', 'held', columns) }}

    union all

    select
        held.{{ key }},
        {%- for column in carried + columns %}
        held.{{ column }},
        {%- endfor %}
        {%- for column in previous %}
        held.{{ column }} as previous_{{ column }},
        {%- endfor %}
        true as is_gone

    from {{ held or this }} as held
    left join {{ current }} as current_rows
        on held.{{ key }} = current_rows.{{ key }}
    where current_rows.{{ key }} is null
        and not held.is_gone
    {%- endif %}

)
{%- endmacro %}

{#- The end of a table that is written only where it differs from what it held; see changed_cte. -#}
{% macro changed_rows(current, key, columns, held=none) -%}
{{ changed_cte(current, key, columns, held=held) }}

select
    changed.*,
    {{ built_at() }} as _built_at

from changed
{%- endmacro %}

{#- The recipient row behind the key of a message of Bitrix that exists, `bitrix:<recipient id>`. -#}
{% macro recipient_of(message_key) -%}
    cast({{ dbt.split_part(message_key, "':'", 2) }} as bigint)
{%- endmacro %}
