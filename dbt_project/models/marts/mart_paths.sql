{#- Sequences are fewer than paths, so what can be added up is added up over them; a median cannot. -#}
with path_sequences as (

    select * from {{ ref('int_path_sequences') }}

),

conversions as (

    select * from {{ ref('int_path_conversions') }}

),

path_summaries as (

    select * from {{ ref('int_path_summaries') }}

),

counted as (

    select
        conversion_type,
        path,
        sum(path_count) as path_count,
        sum(conversion_count) as conversion_count,
        sum(non_conversion_count) as non_conversion_count,
        sum(unknown_count) as unknown_count,
        sum(value) as value,
        min(least_touches) as least_touches,
        max(most_touches) as most_touches,
        sum(touch_count) as touch_count

    from path_sequences
    group by
        conversion_type,
        path

),

timed as (

    select
        conversions.conversion_type,
        path_summaries.path,
        {{ seconds_between('path_summaries.first_touched_at', 'conversions.converted_at') }} / 86400 as days_to_conversion

    from conversions
    inner join path_summaries
        on conversions.conversion_id = path_summaries.conversion_id

),

times as (

    select
        conversion_type,
        path,
        {{ median('days_to_conversion') }} as median_days_to_conversion,
        max(days_to_conversion) as most_days_to_conversion

    from timed
    group by
        conversion_type,
        path

),

final as (

    select
        {{ dbt.hash("counted.conversion_type || '|' || coalesce(counted.path, '')") }} as path_key,
        counted.conversion_type,
        counted.path,
        cast(counted.path_count as bigint) as path_count,
        cast(counted.conversion_count as bigint) as conversion_count,
        cast(counted.non_conversion_count as bigint) as non_conversion_count,
        cast(counted.unknown_count as bigint) as unknown_count,
        cast(
            cast(counted.conversion_count as numeric)
            / nullif(counted.conversion_count + counted.non_conversion_count, 0) as numeric(9, 6)
        ) as conversion_rate,
        cast(counted.value as numeric(18, 2)) as value,
        cast(counted.touch_count as bigint) as touch_count,
        cast(counted.least_touches as integer) as least_touches,
        cast(counted.most_touches as integer) as most_touches,
        cast(times.median_days_to_conversion as numeric(12, 4)) as median_days_to_conversion,
        cast(times.most_days_to_conversion as numeric(12, 4)) as most_days_to_conversion

    from counted
    left join times
        on counted.conversion_type = times.conversion_type
            and counted.path = times.path

)

select * from final
