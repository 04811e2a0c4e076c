{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with all_set_units as (

    select * from {{ ref('int_shapley_sets') }}

),

set_units as (

    select *
    from all_set_units
    where size > {{ var('shapley_exact_units') }}
        and '{{ var('shapley_worth') }}' <> 'conversions'

),

rates as (

    select distinct
        units,
        cast(conversion_count as numeric(38, 20)) / path_count as conversion_rate

    from all_set_units
    where conversion_count > 0

),

series as (

    {{ dbt.generate_series(var('shapley_samples')) }}

),

-- an order in which the units of a set join, drawn by a hash; each is used forwards and backwards
draws as (

    select
        set_units.*,
        cast(series.generated_number as integer) as draw,
        row_number() over (
            partition by set_units.set_id, series.generated_number
            order by
                {{ dbt.hash("'" ~ var('shapley_seed') ~ "|' || series.generated_number || '|' || set_units.units || '|' || set_units.unit") }},
                set_units.place
        ) as forward_place

    from set_units
    cross join series

),

orders as (

    {% for direction, joins_at in {'forward': 'forward_place', 'backward': 'size + 1 - forward_place'}.items() -%}
    select
        set_id,
        conversion_type,
        unit_id,
        unit,
        size,
        path_count,
        draw,
        '{{ direction }}' as direction,
        {{ joins_at }} as joins_at
    from draws
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

-- who is there once a unit has joined
coalitions as (

    select
        joined.set_id,
        joined.draw,
        joined.direction,
        joined.joins_at,
        {{ dbt.listagg('cast(present.unit_id as ' ~ dbt.type_string() ~ ')', "','", 'order by present.unit_id') }} as units

    from orders as joined
    inner join orders as present
        on joined.set_id = present.set_id
            and joined.draw = present.draw
            and joined.direction = present.direction
            and joined.joins_at >= present.joins_at
    group by
        joined.set_id,
        joined.draw,
        joined.direction,
        joined.joins_at

),

worths as (

    select
        orders.set_id,
        orders.conversion_type,
        orders.unit,
        orders.path_count,
        orders.draw,
        orders.direction,
        orders.joins_at,
        orders.path_count * coalesce(rates.conversion_rate, 0) as worth

    from orders
    inner join coalitions
        on orders.set_id = coalitions.set_id
            and orders.draw = coalitions.draw
            and orders.direction = coalitions.direction
            and orders.joins_at = coalitions.joins_at
    left join rates
        on coalitions.units = rates.units

),

gains as (

    select
        set_id,
        conversion_type,
        unit,
        path_count,
        draw,
        worth - coalesce(
            lag(worth) over (
                partition by set_id, draw, direction
                order by joins_at
            ),
            0
        ) as gain

    from worths

),

-- the two directions of a draw hang together, so a pair is one observation
pairs as (

    select
        set_id,
        conversion_type,
        unit,
        path_count,
        draw,
        avg(gain) as gain

    from gains
    group by
        set_id,
        conversion_type,
        unit,
        path_count,
        draw

),

-- where a gain is rare, few draws or none meet it and they differ little; so a draw is reckoned with in which the unit gains all that
-- these paths can be worth
set_values as (

    select
        set_id,
        conversion_type,
        unit,
        avg(gain) as shapley_value,
        var_samp(gain) / count(*) + power(cast(path_count as numeric) / count(*), 2) as variance

    from pairs
    group by
        set_id,
        conversion_type,
        unit,
        path_count

),

final as (

    select
        conversion_type,
        unit,
        cast(sum(shapley_value) as numeric(28, 12)) as shapley_value,
        cast(3 * sqrt(sum(variance)) as numeric(28, 12)) as sampling_error

    from set_values
    group by
        conversion_type,
        unit

)

select * from final
