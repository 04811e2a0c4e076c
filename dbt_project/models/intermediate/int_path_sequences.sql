{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with paths as (

    select * from {{ ref('int_paths') }}

),

final as (

    select
        conversion_type,
        sequence_key,
        max(path) as path,
        min(path_id) as example_path_id,
        sum(case when converted then 1 else 0 end) as conversion_count,
        sum(case when not converted then 1 else 0 end) as non_conversion_count,
        sum(case when converted is null then 1 else 0 end) as unknown_count,
        cast(coalesce(sum(value), 0) as numeric(18, 2)) as value

    from paths
    group by
        conversion_type,
        sequence_key

)

select * from final
