with conversions as (

    select * from {{ ref('int_path_conversions') }}

),

paths as (

    select * from {{ ref('int_path_summaries') }}

),

open_outcomes as (

    select * from {{ ref('int_open_outcomes') }}

),

first_opened as (

    select
        conversion_type,
        person_id,
        min(opened_at) as opened_at

    from open_outcomes
    group by
        conversion_type,
        person_id

),

converting as (

    select
        conversions.conversion_id as path_id,
        conversions.conversion_type,
        conversions.person_id,
        conversions.conversion_id,
        'converted' as outcome,
        conversions.amount as value,
        conversions.converted_at,
        coalesce(paths.step_count, 0) as step_count,
        paths.first_touched_at,
        paths.last_touched_at,
        paths.path,
        paths.sequence_number

    from conversions
    left join paths
        on conversions.conversion_id = paths.conversion_id

),

not_converting as (

    select
        paths.path_id,
        paths.conversion_type,
        paths.person_id,
        paths.conversion_id,
        case
            when {{ add_seconds('paths.last_touched_at', lookback_seconds('paths.conversion_type')) }} > {{ run_at() }}
                then 'window_running'
            when {{ add_seconds('paths.last_touched_at', lookback_seconds('paths.conversion_type')) }} >= first_opened.opened_at
                then 'still_open'
            else 'not_converted'
        end as outcome,
        cast(null as numeric(18, 2)) as value,
        cast(null as {{ timestamp_utc_type() }}) as converted_at,
        paths.step_count,
        paths.first_touched_at,
        paths.last_touched_at,
        paths.path,
        paths.sequence_number

    from paths
    left join first_opened
        on paths.conversion_type = first_opened.conversion_type
            and paths.person_id = first_opened.person_id
    where paths.conversion_id is null

),

all_paths as (

    select * from converting
    union all
    select * from not_converting

),

final as (

    select
        path_id,
        conversion_type,
        person_id,
        conversion_id,
        outcome,
        case outcome
            when 'converted' then true
            when 'not_converted' then false
        end as converted,
        value,
        converted_at,
        step_count,
        first_touched_at,
        last_touched_at,
        path,
        sequence_number

    from all_paths

)

select * from final
