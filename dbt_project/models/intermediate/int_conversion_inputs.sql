{#-
    Which conversions have to be credited anew: those that changed themselves, whose person had a touch come, go or change before them, or
    to whose person another letter was the first. The credits may come out as they were; fct_attribution_ledger compares them.

    A conversion that is no longer one stays here as `is_gone`, because that is a change too. The rows say what changed when and
    cannot be made again, so neither a full refresh nor a crash may drop them.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='conversion_id',
    full_refresh=false,
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['conversion_id'], 'unique': true}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set since = incremental_since() -%}
{%- set settings = local_md5(tojson([var('lookback_days'), attribution_models()], sort_keys=true)) %}

with conversion_changes as (

    select * from {{ ref('int_conversion_changes') }}

),

touch_changes as (

    select * from {{ ref('int_touch_changes') }}

),

person_engagement as (

    select * from {{ ref('int_person_engagement') }}

),

position_shares as (

    select * from {{ ref('attribution_position_shares') }}

),

-- what the models are told by vars and the seed
settings as (

    select {{ text_fingerprint("'" ~ settings ~ "|' || coalesce(cast(shares.fingerprint as " ~ dbt.type_string() ~ "), '')") }} as fingerprint
    from (
        select {{ set_fingerprint(text_fingerprint(row_text(['model', 'position', 'share']))) }} as fingerprint
        from position_shares
    ) as shares

),

conversions as (

    select
        conversion_changes.conversion_id,
        conversion_changes.person_id,
        conversion_changes.converted_at,
        settings.fingerprint,
        person_engagement.first_sent_at

    from conversion_changes
    cross join settings
    left join person_engagement
        on conversion_changes.person_id = person_engagement.person_id
    where not conversion_changes.is_gone

),

{%- if is_incremental() %}

held as (

    select * from {{ this }}

),

news as (

    select conversion_id
    from conversion_changes
    where {{ newer_than(since) }}

    union

    select conversion_changes.conversion_id
    from touch_changes
    inner join conversion_changes
        on touch_changes.person_id = conversion_changes.person_id
            and touch_changes.touched_at <= conversion_changes.converted_at
    where {{ newer_than(since, 'touch_changes._built_at') }}
        and not conversion_changes.is_gone

    union

    select conversions.conversion_id
    from conversions
    left join held
        on conversions.conversion_id = held.conversion_id
    where held.conversion_id is null
        or held.is_gone
        or {{ differs('held.fingerprint', 'conversions.fingerprint') }}
        or {{ differs('held.first_sent_at', 'conversions.first_sent_at') }}

),

changed as (

    select conversions.*
    from conversions
    inner join news
        on conversions.conversion_id = news.conversion_id

),
{%- else %}

changed as (

    select * from conversions

),
{%- endif %}

changed_people as (

    select distinct person_id
    from changed

),

first_touches as (

    select
        touch_changes.person_id,
        min(touch_changes.touched_at) as first_touched_at

    from changed_people
    inner join touch_changes
        on changed_people.person_id = touch_changes.person_id
    where not touch_changes.is_gone
    group by touch_changes.person_id

),

final as (

    select
        changed.conversion_id,
        changed.fingerprint,
        changed.first_sent_at,
        first_touches.first_touched_at,
        false as is_gone,
        {{ built_at() }} as _built_at

    from changed
    left join first_touches
        on changed.person_id = first_touches.person_id
    {%- if is_incremental() %}

    union all

    select
        held.conversion_id,
        held.fingerprint,
        held.first_sent_at,
        held.first_touched_at,
        true as is_gone,
        {{ built_at() }} as _built_at

    from held
    left join conversions
        on held.conversion_id = conversions.conversion_id
    where conversions.conversion_id is null
        and not held.is_gone
    {%- endif %}

)

select * from final
