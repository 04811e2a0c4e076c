{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['person_id']}, {'columns': ['_built_at']}],
    pre_hook="{{ drop_changed_people() }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- depends_on: {{ ref('int_path_people') }}
{%- set since = incremental_since() %}

with path_steps as (

    select * from {{ ref('int_path_steps') }}
    {%- if since %}
    where _built_at > {{ since }}
    {%- endif %}

),

paths as (

    select
        path_id,
        conversion_type,
        person_id,
        conversion_id,
        count(*) as step_count,
        min(touched_at) as first_touched_at,
        max(touched_at) as last_touched_at,
        {{ dbt.listagg('case when not is_repeat then unit end', "' > '", 'order by step') }} as path,
        -- a chain of second order sees two of a kind, but not whether more of it followed
        {{ dbt.listagg('case when not is_further_repeat then unit end', 'chr(31)', 'order by step') }} as sequence

    from path_steps
    group by
        path_id,
        conversion_type,
        person_id,
        conversion_id

),

final as (

    select
        path_id,
        conversion_type,
        person_id,
        conversion_id,
        step_count,
        first_touched_at,
        last_touched_at,
        path,
        {{ text_fingerprint("conversion_type || '|' || sequence") }} as sequence_number,
        {{ built_at() }} as _built_at

    from paths

)

select * from final
