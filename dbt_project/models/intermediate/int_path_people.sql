{#-
    Two fingerprints of one person differ when anything differs that their paths are made of: their touches, their conversions, and
    what the vars say of lookback and unit.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='person_id',
    on_schema_change='append_new_columns',
    unlogged=false,
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set settings = local_md5(tojson([var('lookback_days'), var('data_driven_level')], sort_keys=true)) -%}

with touches as (

    select * from {{ ref('int_touch_units') }}

),

conversions as (

    select * from {{ ref('int_path_conversions') }}

),

conversion_types as (

    select {{ set_fingerprint(text_fingerprint('conversion_type')) }} as fingerprint
    from (
        select distinct conversion_type
        from conversions
    ) as types

),

facts as (

    select
        person_id,
        1 as is_touch,
        {{ text_fingerprint(row_text(['touch_event_id', 'touched_at', 'source', 'event_number', 'letter_id', 'unit'])) }} as fingerprint

    from touches

    union all

    select
        person_id,
        0 as is_touch,
        {{ text_fingerprint(row_text(['conversion_id', 'converted_at'])) }} as fingerprint

    from conversions
    where person_id is not null

),

people as (

    select
        person_id,
        {{ set_fingerprint('fingerprint') }} as fingerprint

    from facts
    group by person_id
    having max(is_touch) = 1

),

fingerprinted as (

    select
        people.person_id,
        {{ text_fingerprint(row_text(['people.fingerprint', 'conversion_types.fingerprint', "'" ~ settings ~ "'"])) }} as fingerprint,
        false as is_gone

    from people
    cross join conversion_types

),

{%- if is_incremental() %}

known as (

    select * from {{ this }}

),

changed as (

    select fingerprinted.*
    from fingerprinted
    left join known
        on fingerprinted.person_id = known.person_id
    where known.person_id is null
        or known.is_gone
        or known.fingerprint <> fingerprinted.fingerprint

    union all

    select
        known.person_id,
        known.fingerprint,
        true as is_gone

    from known
    left join fingerprinted
        on known.person_id = fingerprinted.person_id
    where fingerprinted.person_id is null
        and not known.is_gone

),
{%- else %}

changed as (

    select * from fingerprinted

),
{%- endif %}

final as (

    select
        person_id,
        fingerprint,
        is_gone,
        {{ built_at() }} as _built_at

    from changed

)

select * from final
