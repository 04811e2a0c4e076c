{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with paths as (

    select * from {{ ref('int_paths') }}

),

final as (

    select
        conversion_type,
        sequence_number,
        max(path) as path,
        min(path_id) as example_path_id,
        count(*) as path_count,
        sum(case when converted then 1 else 0 end) as conversion_count,
        sum(case when not converted then 1 else 0 end) as non_conversion_count,
        sum(case when converted is null then 1 else 0 end) as unknown_count,
        cast(coalesce(sum(value), 0) as numeric(18, 2)) as value,
        sum(step_count) as touch_count,
        min(step_count) as least_touches,
        max(step_count) as most_touches

    from paths
    group by
        conversion_type,
        sequence_number

)

select * from final
