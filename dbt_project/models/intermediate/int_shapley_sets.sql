{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with sequence_steps as (

    select * from {{ ref('int_sequence_steps') }}

),

sequence_units as (

    select distinct
        conversion_type,
        sequence_number,
        unit_id,
        unit,
        conversion_count,
        non_conversion_count

    from sequence_steps

),

sequence_sets as (

    select
        conversion_type,
        sequence_number,
        conversion_count,
        non_conversion_count,
        {{ dbt.listagg('cast(unit_id as ' ~ dbt.type_string() ~ ')', "','", 'order by unit_id') }} as units

    from sequence_units
    group by
        conversion_type,
        sequence_number,
        conversion_count,
        non_conversion_count

),

sets as (

    select
        units,
        row_number() over (order by units) as set_id,
        min(sequence_number) as example_sequence_number,
        sum(conversion_count) as conversion_count,
        sum(conversion_count + non_conversion_count) as path_count

    from sequence_sets
    group by units

),

final as (

    select
        sequence_units.conversion_type,
        sets.set_id,
        sets.units,
        sequence_units.unit_id,
        sequence_units.unit,
        row_number() over (
            partition by sets.set_id
            order by sequence_units.unit_id
        ) as place,
        count(*) over (partition by sets.set_id) as size,
        sets.conversion_count,
        sets.path_count

    from sets
    inner join sequence_units
        on sets.example_sequence_number = sequence_units.sequence_number

)

select * from final
