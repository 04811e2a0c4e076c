with paths as (

    select * from {{ ref('int_paths') }}

),

timed as (

    select
        *,
        {{ seconds_between('first_touched_at', 'converted_at') }} / 86400 as days_to_conversion

    from paths

),

counted as (

    select
        conversion_type,
        path,
        count(*) as path_count,
        sum(case when converted then 1 else 0 end) as conversion_count,
        sum(case when not converted then 1 else 0 end) as non_conversion_count,
        sum(case when converted is null then 1 else 0 end) as unknown_count,
        coalesce(sum(value), 0) as value,
        min(step_count) as least_touches,
        max(step_count) as most_touches,
        sum(step_count) as touch_count,
        {{ median('days_to_conversion') }} as median_days_to_conversion,
        max(days_to_conversion) as most_days_to_conversion

    from timed
    group by
        conversion_type,
        path

),

final as (

    select
        {{ dbt.hash("conversion_type || '|' || coalesce(path, '')") }} as path_key,
        conversion_type,
        path,
        cast(path_count as bigint) as path_count,
        cast(conversion_count as bigint) as conversion_count,
        cast(non_conversion_count as bigint) as non_conversion_count,
        cast(unknown_count as bigint) as unknown_count,
        cast(
            cast(conversion_count as numeric) / nullif(conversion_count + non_conversion_count, 0) as numeric(9, 6)
        ) as conversion_rate,
        cast(value as numeric(18, 2)) as value,
        cast(touch_count as bigint) as touch_count,
        cast(least_touches as integer) as least_touches,
        cast(most_touches as integer) as most_touches,
        cast(median_days_to_conversion as numeric(12, 4)) as median_days_to_conversion,
        cast(most_days_to_conversion as numeric(12, 4)) as most_days_to_conversion

    from counted

)

select * from final
