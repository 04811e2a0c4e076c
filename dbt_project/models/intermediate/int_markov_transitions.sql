{%- set states_per_unit = 1000000 -%}
{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with sequence_steps as (

    select * from {{ ref('int_sequence_steps') }}

),

neighbours as (

    select
        conversion_type,
        unit_id,
        unit_number,
        conversion_count,
        non_conversion_count,
        lag(unit_id) over (partition by sequence_number order by step) as previous_unit_id,
        lead(unit_id) over (partition by sequence_number order by step) as next_unit_id

    from sequence_steps

),

-- first order: a state is a unit, and staying there is no step; second order: a state is a unit and the one before it
moves as (

    select
        'markov_1' as model,
        conversion_type,
        -unit_id as state,
        unit_id,
        unit_number,
        -next_unit_id as next_state,
        next_unit_id,
        conversion_count,
        non_conversion_count

    from neighbours
    where next_unit_id is null
        or next_unit_id <> unit_id

    union all

    select
        'markov_2' as model,
        conversion_type,
        coalesce(previous_unit_id, 0) * {{ states_per_unit }} + unit_id as state,
        unit_id,
        unit_number,
        unit_id * {{ states_per_unit }} + next_unit_id as next_state,
        next_unit_id,
        conversion_count,
        non_conversion_count

    from neighbours

),

transitions as (

    select
        model,
        conversion_type,
        state,
        unit_id,
        unit_number,
        next_state,
        next_unit_id,
        sum(conversion_count + non_conversion_count) as path_count,
        sum(case when next_state is null then conversion_count else 0 end) as conversion_count

    from moves
    group by
        model,
        conversion_type,
        state,
        unit_id,
        unit_number,
        next_state,
        next_unit_id

),

shares as (

    select
        *,
        cast(path_count as numeric(38, 20)) / sum(path_count) over (partition by state) as share,
        cast(conversion_count as numeric(38, 20)) / sum(path_count) over (partition by state) as conversion_share

    from transitions

),

final as (

    select
        model,
        conversion_type,
        state,
        unit_id,
        unit_number,
        next_state,
        next_unit_id,
        path_count,
        conversion_count,
        cast(share as numeric(38, 20)) as share,
        cast(conversion_share as numeric(38, 20)) as conversion_share

    from shares

)

select * from final
