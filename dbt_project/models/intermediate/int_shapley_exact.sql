{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}
{%- set most_units = var('shapley_exact_units') %}

with recursive set_units as (

    select * from {{ ref('int_shapley_sets') }}

),

{%- if var('shapley_worth') == 'conversions' %}

-- a conversion is worth nothing until all units of its path are there, so they are equal
gains as (

    select
        conversion_type,
        unit,
        cast(conversion_count as numeric(38, 20)) / size as gain

    from set_units

),
{%- else %}

rates as (

    select distinct
        units,
        cast(conversion_count as numeric(38, 20)) / path_count as conversion_rate

    from set_units
    where conversion_count > 0

),

-- in how many orders of joining, of all, just these members are there before: size of the set times ways to choose them
join_weights as (

    {%- for size in range(1, most_units + 1) %}
    {%- set ways = namespace(count=1) %}
    {%- for others in range(size) %}
    select {{ size }} as size, {{ others }} as others_count, {{ size * ways.count }} as orders
    {{ 'union all' if size < most_units or not loop.last }}
    {%- set ways.count = ways.count * (size - 1 - others) // (others + 1) %}
    {%- endfor %}
    {%- endfor %}

),

choices as (

    select 0 as is_in
    union all
    select 1 as is_in

),

-- all subsets of each set, place by place with the unit and without it; `members` is a sum of powers of two, one per place
subsets as (

    select
        set_id,
        conversion_type,
        path_count,
        size,
        0 as place,
        0 as member_count,
        0 as members,
        cast('' as {{ dbt.type_string() }}) as units

    from set_units
    where place = 1
        and size <= {{ most_units }}

    union all

    select
        subsets.set_id,
        subsets.conversion_type,
        subsets.path_count,
        subsets.size,
        subsets.place + 1 as place,
        subsets.member_count + choices.is_in as member_count,
        subsets.members + choices.is_in * cast(power(2, subsets.place) as integer) as members,
        case
            when choices.is_in = 0 then subsets.units
            when subsets.units = '' then cast(set_units.unit_id as {{ dbt.type_string() }})
            else subsets.units || ',' || set_units.unit_id
        end as units

    from subsets
    inner join set_units
        on subsets.set_id = set_units.set_id
            and subsets.place + 1 = set_units.place
    cross join choices

),

-- only what some path met alone, and converted, is worth anything
worths as (

    select
        subsets.*,
        subsets.path_count * rates.conversion_rate as worth

    from subsets
    inner join rates
        on subsets.units = rates.units
    where subsets.place = subsets.size

),

memberships as (

    select
        worths.conversion_type,
        worths.size,
        worths.member_count,
        worths.worth,
        set_units.unit,
        mod(cast(floor(worths.members / power(2, set_units.place - 1)) as integer), 2) as is_in

    from worths
    inner join set_units
        on worths.set_id = set_units.set_id

),

gains as (

    select
        memberships.conversion_type,
        memberships.unit,
        case when memberships.is_in = 1 then memberships.worth else -memberships.worth end / join_weights.orders as gain

    from memberships
    inner join join_weights
        on memberships.size = join_weights.size
            and memberships.member_count - memberships.is_in = join_weights.others_count

),
{%- endif %}

final as (

    select
        conversion_type,
        unit,
        cast(sum(gain) as numeric(28, 12)) as shapley_value

    from gains
    group by
        conversion_type,
        unit

)

select * from final
