{#- Whose paths have to be worked out anew: people whose touches or conversions changed, and all when the vars or conversion types did. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='person_id',
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['person_id'], 'unique': true}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set since = incremental_since() -%}
{%- set settings = local_md5(tojson([var('lookback_days'), var('data_driven_level')], sort_keys=true)) %}

with touch_changes as (

    select * from {{ ref('int_touch_changes') }}

),

conversion_changes as (

    select * from {{ ref('int_conversion_changes') }}
    where {{ is_data_driven('conversion_type') }}

),

conversion_types as (

    select {{ set_fingerprint(text_fingerprint('conversion_type')) }} as fingerprint
    from (
        select distinct conversion_type
        from conversion_changes
        where not is_gone
    ) as types

),

settings as (

    select {{ text_fingerprint(row_text(['fingerprint', "'" ~ settings ~ "'"])) }} as fingerprint
    from conversion_types

),

{%- if is_incremental() %}

known as (

    select * from {{ this }}

),

candidates as (

    select person_id
    from touch_changes
    where {{ newer_than(since) }}

    union

    select person_id
    from conversion_changes
    where {{ newer_than(since) }}
        and person_id is not null

    union

    select known.person_id
    from known
    inner join settings
        on known.fingerprint <> settings.fingerprint
    where not known.is_gone

),

touched as (

    select distinct candidates.person_id
    from candidates
    inner join touch_changes
        on candidates.person_id = touch_changes.person_id
    where not touch_changes.is_gone

),

changed as (

    select
        candidates.person_id,
        touched.person_id is null as is_gone

    from candidates
    left join touched
        on candidates.person_id = touched.person_id
    left join known
        on candidates.person_id = known.person_id
    -- who never touched anything has no paths that could go
    where touched.person_id is not null
        or not known.is_gone

),
{%- else %}

changed as (

    select distinct
        person_id,
        false as is_gone

    from touch_changes
    where not is_gone

),
{%- endif %}

final as (

    select
        changed.person_id,
        settings.fingerprint,
        changed.is_gone,
        {{ built_at() }} as _built_at

    from changed
    cross join settings

)

select * from final
