{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with path_sequences as (

    select * from {{ ref('int_path_sequences') }}

),

path_steps as (

    select * from {{ ref('int_path_steps') }}

),

-- what is not yet known is in neither count
known_sequences as (

    select *
    from path_sequences
    where sequence_number is not null
        and conversion_count + non_conversion_count > 0

),

final as (

    select
        known_sequences.conversion_type,
        known_sequences.sequence_number,
        row_number() over (
            partition by known_sequences.sequence_number
            order by path_steps.step
        ) as step,
        path_steps.unit,
        dense_rank() over (
            order by known_sequences.conversion_type, path_steps.unit
        ) as unit_id,
        dense_rank() over (
            partition by known_sequences.conversion_type
            order by path_steps.unit
        ) as unit_number,
        known_sequences.conversion_count,
        known_sequences.non_conversion_count

    from known_sequences
    inner join path_steps
        on known_sequences.example_path_id = path_steps.path_id
    where not path_steps.is_further_repeat

)

select * from final
