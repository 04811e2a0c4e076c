{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with set_units as (

    select * from {{ ref('int_shapley_sets') }}
    where unit_count > {{ [var('shapley_exact_units'), 2] | max }}

),

series as (

    {{ dbt.generate_series(var('shapley_samples')) }}

),

draws as (

    select cast(generated_number as integer) as draw
    from series

),

units as (

    select distinct
        conversion_type,
        unit,
        unit_number,
        unit_count

    from set_units

),

sets as (

    select
        conversion_type,
        set_id,
        count(*) as size,
        min(unit_number) as first_number,
        max(unit_number) as last_number,
        max(conversion_count) as conversion_count,
        max(path_count) as path_count

    from set_units
    group by
        conversion_type,
        set_id

),

totals as (

    select
        conversion_type,
        sum(conversion_count) as conversion_count,
        sum(path_count) as path_count,
        count(*) as set_count

    from sets
    group by conversion_type

),

-- who joins first, second or last adds what few sets tell, so these places need no drawing
unit_sets as (

    select
        set_units.conversion_type,
        set_units.unit_number,
        sum(set_units.conversion_count) as conversion_count,
        sum(set_units.path_count) as path_count,
        sum(case when sets.size = 1 then set_units.conversion_count else 0 end) as own_conversion_count,
        sum(case when sets.size = 1 then set_units.path_count else 0 end) as own_path_count

    from set_units
    inner join sets
        on set_units.set_id = sets.set_id
    group by
        set_units.conversion_type,
        set_units.unit_number

),

second_gains as (

    select
        later.conversion_type,
        later.unit_number,
        {{ shapley_worth(
            'earlier.own_conversion_count + later.own_conversion_count + coalesce(sets.conversion_count, 0)',
            '(earlier.own_path_count + later.own_path_count + coalesce(sets.path_count, 0))'
        ) }}
            - {{ shapley_worth('earlier.own_conversion_count', 'earlier.own_path_count') }} as gain

    from unit_sets as later
    inner join unit_sets as earlier
        on later.conversion_type = earlier.conversion_type
            and later.unit_number <> earlier.unit_number
    left join sets
        on later.conversion_type = sets.conversion_type
            and sets.size = 2
            and case when earlier.unit_number < later.unit_number then earlier.unit_number else later.unit_number end = sets.first_number
            and case when earlier.unit_number < later.unit_number then later.unit_number else earlier.unit_number end = sets.last_number

),

mean_second_gains as (

    select
        conversion_type,
        unit_number,
        avg(gain) as gain

    from second_gains
    group by
        conversion_type,
        unit_number

),

known_gains as (

    select
        unit_sets.conversion_type,
        unit_sets.unit_number,
        {{ shapley_worth('unit_sets.own_conversion_count', 'unit_sets.own_path_count') }}
            + mean_second_gains.gain
            + {{ shapley_worth('totals.conversion_count', 'totals.path_count') }}
            - {{ shapley_worth(
                '(totals.conversion_count - unit_sets.conversion_count)', '(totals.path_count - unit_sets.path_count)'
            ) }} as gain

    from unit_sets
    inner join mean_second_gains
        on unit_sets.conversion_type = mean_second_gains.conversion_type
            and unit_sets.unit_number = mean_second_gains.unit_number
    inner join totals
        on unit_sets.conversion_type = totals.conversion_type

),

-- an order in which the units join, drawn by a hash; each is used forwards and backwards
orders as (

    select
        units.conversion_type,
        units.unit_number,
        units.unit_count,
        draws.draw,
        row_number() over (
            partition by units.conversion_type, draws.draw
            order by
                {{ dbt.hash("'" ~ var('shapley_seed') ~ "|' || draws.draw || '|' || units.unit") }},
                units.unit_number
        ) as place

    from units
    inner join totals
        on units.conversion_type = totals.conversion_type
    inner join draws
        on draws.draw <= 20
            or draws.draw <= {{ var('shapley_sample_rows') }} / totals.set_count

),

-- a set of units is complete when the last of them has joined
completions as (

    select
        set_units.conversion_type,
        orders.draw,
        set_units.set_id,
        set_units.conversion_count,
        set_units.path_count,
        max(orders.place) as forward_place,
        set_units.unit_count + 1 - min(orders.place) as backward_place

    from set_units
    inner join orders
        on set_units.conversion_type = orders.conversion_type
            and set_units.unit_number = orders.unit_number
    group by
        set_units.conversion_type,
        orders.draw,
        set_units.set_id,
        set_units.unit_count,
        set_units.conversion_count,
        set_units.path_count

),

{%- set directions = {'forward': 'orders.place', 'backward': 'orders.unit_count + 1 - orders.place'} %}

completed as (

    {% for direction in directions -%}
    select
        conversion_type,
        draw,
        '{{ direction }}' as direction,
        {{ direction }}_place as place,
        sum(conversion_count) as conversion_count,
        sum(path_count) as path_count
    from completions
    group by
        conversion_type,
        draw,
        {{ direction }}_place
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

places as (

    {% for direction, place in directions.items() -%}
    select
        orders.conversion_type,
        orders.draw,
        orders.unit_number,
        '{{ direction }}' as direction,
        {{ place }} as place
    from orders
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

grown as (

    select
        places.conversion_type,
        places.draw,
        places.direction,
        places.unit_number,
        places.place,
        sum(coalesce(completed.conversion_count, 0)) over (
            partition by places.conversion_type, places.draw, places.direction
            order by places.place
        ) as conversion_count,
        sum(coalesce(completed.path_count, 0)) over (
            partition by places.conversion_type, places.draw, places.direction
            order by places.place
        ) as path_count

    from places
    left join completed
        on places.conversion_type = completed.conversion_type
            and places.draw = completed.draw
            and places.direction = completed.direction
            and places.place = completed.place

),

worths as (

    select
        conversion_type,
        draw,
        direction,
        unit_number,
        place,
        {{ shapley_worth('conversion_count', 'path_count') }} as worth

    from grown

),

gains as (

    select
        conversion_type,
        draw,
        unit_number,
        place,
        worth - coalesce(
            lag(worth) over (
                partition by conversion_type, draw, direction
                order by place
            ),
            0
        ) as gain

    from worths

),

-- the two directions of a draw hang together, so a pair is one observation
pairs as (

    select
        gains.conversion_type,
        gains.unit_number,
        gains.draw,
        avg(case when gains.place between 3 and units.unit_count - 1 then gains.gain else 0 end) as gain

    from gains
    inner join units
        on gains.conversion_type = units.conversion_type
            and gains.unit_number = units.unit_number
    group by
        gains.conversion_type,
        gains.unit_number,
        gains.draw

),

drawn_gains as (

    select
        conversion_type,
        unit_number,
        avg(gain) as gain,
        3 * stddev_samp(gain) / sqrt(cast(count(*) as numeric)) as sampling_error

    from pairs
    group by
        conversion_type,
        unit_number

),

estimates as (

    select
        units.conversion_type,
        units.unit,
        units.unit_count,
        known_gains.gain / units.unit_count + drawn_gains.gain as shapley_value,
        drawn_gains.sampling_error

    from units
    inner join known_gains
        on units.conversion_type = known_gains.conversion_type
            and units.unit_number = known_gains.unit_number
    inner join drawn_gains
        on units.conversion_type = drawn_gains.conversion_type
            and units.unit_number = drawn_gains.unit_number

),

-- all together are worth what all units are; the little that drawing missed is shared by all alike
sums as (

    select
        conversion_type,
        sum(shapley_value) as shapley_value

    from estimates
    group by conversion_type

),

final as (

    select
        estimates.conversion_type,
        estimates.unit,
        cast(
            estimates.shapley_value
            - (sums.shapley_value - {{ shapley_worth('totals.conversion_count', 'totals.path_count') }}) / estimates.unit_count
            as numeric(28, 12)
        ) as shapley_value,
        cast(estimates.sampling_error as numeric(28, 12)) as sampling_error

    from estimates
    inner join sums
        on estimates.conversion_type = sums.conversion_type
    inner join totals
        on estimates.conversion_type = totals.conversion_type

)

select * from final
