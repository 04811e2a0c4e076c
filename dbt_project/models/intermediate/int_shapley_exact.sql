{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}
{%- set most_units = [var('shapley_exact_units'), 2] | max %}

with set_units as (

    select * from {{ ref('int_shapley_sets') }}
    where unit_count <= {{ most_units }}

),

series as (

    {{ dbt.generate_series(2 ** most_units) }}

),

numbers as (

    select cast(generated_number as bigint) - 1 as number
    from series

),

-- how a coalition's worth is shared out: unit_count orders of joining, times the ways to choose who was there before
join_weights as (

    {%- for unit_count in range(1, most_units + 1) %}
    {%- set ways = namespace(count=1) %}
    {%- for others in range(unit_count) %}
    select {{ unit_count }} as unit_count, {{ others }} as others_count, {{ unit_count * ways.count }} as orders
    {{ 'union all' if unit_count < most_units or not loop.last }}
    {%- set ways.count = ways.count * (unit_count - 1 - others) // (others + 1) %}
    {%- endfor %}
    {%- endfor %}

),

types as (

    select distinct
        conversion_type,
        unit_count

    from set_units

),

units as (

    select distinct
        conversion_type,
        unit,
        unit_number

    from set_units

),

sets as (

    select
        conversion_type,
        set_id,
        cast(sum(power(2, unit_number - 1)) as bigint) as coalition,
        max(conversion_count) as conversion_count,
        max(path_count) as path_count

    from set_units
    group by
        conversion_type,
        set_id

),

-- a coalition is a sum of powers of two, one per unit; first with the paths that met exactly its units …
coalitions_0 as (

    select
        types.conversion_type,
        types.unit_count,
        numbers.number as coalition,
        coalesce(sets.conversion_count, 0) as conversion_count,
        coalesce(sets.path_count, 0) as path_count

    from types
    inner join numbers
        on numbers.number < power(2, types.unit_count)
    left join sets
        on types.conversion_type = sets.conversion_type
            and numbers.number = sets.coalition

),

-- … then, unit by unit, with those that met the same units but for this one
{% for unit_number in range(1, most_units + 1) -%}
coalitions_{{ unit_number }} as (

    {%- set is_in = is_in_coalition('coalition', unit_number) %}

    select
        conversion_type,
        unit_count,
        coalition,
        sum(conversion_count) over (
            partition by conversion_type, coalition - {{ 2 ** (unit_number - 1) }} * {{ is_in }}
            order by coalition
        ) as conversion_count,
        sum(path_count) over (
            partition by conversion_type, coalition - {{ 2 ** (unit_number - 1) }} * {{ is_in }}
            order by coalition
        ) as path_count

    from coalitions_{{ unit_number - 1 }}

),

{% endfor -%}
worths as (

    select
        conversion_type,
        unit_count,
        coalition,
        {{ shapley_worth('conversion_count', 'path_count') }} as worth,
        {% for unit_number in range(1, most_units + 1) -%}
        {{ is_in_coalition('coalition', unit_number) }}{{ ' +' if not loop.last }}
        {% endfor -%}
        as member_count

    from coalitions_{{ most_units }}

),

memberships as (

    {% for unit_number in range(1, most_units + 1) -%}
    select
        worths.*,
        {{ unit_number }} as unit_number,
        {{ is_in_coalition('coalition', unit_number) }} as is_in
    from worths
    where unit_count >= {{ unit_number }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

shapley_values as (

    select
        memberships.conversion_type,
        memberships.unit_number,
        sum(
            case when memberships.is_in = 1 then memberships.worth else -memberships.worth end / join_weights.orders
        ) as shapley_value

    from memberships
    inner join join_weights
        on memberships.unit_count = join_weights.unit_count
            and memberships.member_count - memberships.is_in = join_weights.others_count
    group by
        memberships.conversion_type,
        memberships.unit_number

),

final as (

    select
        units.conversion_type,
        units.unit,
        cast(shapley_values.shapley_value as numeric(28, 12)) as shapley_value,
        cast(0 as numeric(28, 12)) as sampling_error

    from shapley_values
    inner join units
        on shapley_values.conversion_type = units.conversion_type
            and shapley_values.unit_number = units.unit_number

)

select * from final
