{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['load_id']}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- A load takes its number when it starts and shows when it is committed, so numbers do not tell what is new; this table does.
with loads as (

    select * from {{ ref('stg_ops__loads') }}

),

unseen as (

    select
        loads.load_id,
        loads.target,
        {{ built_at() }} as _built_at

    from loads
    {%- if is_incremental() %}
    left join {{ this }} as seen
        on loads.load_id = seen.load_id
    where seen.load_id is null
    {%- endif %}

)

select * from unseen
