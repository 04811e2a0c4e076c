{%- set credit_units = 10000000000 -%}

with path_sequences as (

    select * from {{ ref('int_path_sequences') }}

),

sequence_steps as (

    select * from {{ ref('int_sequence_steps') }}

),

markov_removals as (

    select * from {{ ref('int_markov_removals') }}

),

shapley_exact as (

    select * from {{ ref('int_shapley_exact') }}

),

shapley_sampled as (

    select * from {{ ref('int_shapley_sampled') }}

),

units as (

    select distinct
        unit_id,
        unit

    from sequence_steps

),

shapley_parts as (

    select
        conversion_type,
        unit,
        shapley_value,
        cast(0 as numeric) as sampling_error
    from shapley_exact
    union all
    select
        conversion_type,
        unit,
        shapley_value,
        sampling_error
    from shapley_sampled
    union all
    -- a unit none of whose paths is worth anything
    select distinct
        conversion_type,
        unit,
        cast(0 as numeric) as shapley_value,
        cast(0 as numeric) as sampling_error
    from sequence_steps

),

shapley_values as (

    select
        conversion_type,
        unit,
        sum(shapley_value) as shapley_value,
        sum(sampling_error) as sampling_error

    from shapley_parts
    group by
        conversion_type,
        unit

),

weights as (

    select
        markov_removals.conversion_type,
        markov_removals.model,
        units.unit,
        markov_removals.lost_conversions as weight,
        markov_removals.removal_effect,
        cast(null as numeric) as shapley_value,
        cast(0 as numeric) as sampling_error

    from markov_removals
    inner join units
        on markov_removals.unit_id = units.unit_id

    union all

    -- a unit with which fewer paths convert has a value below zero, but nothing to be taken from it
    select
        conversion_type,
        'shapley',
        unit,
        case when shapley_value > 0 then shapley_value else 0 end,
        null,
        shapley_value,
        sampling_error

    from shapley_values

),

totals as (

    select
        conversion_type,
        sum(conversion_count) as conversion_count,
        sum(value) as value

    from path_sequences
    where sequence_number is not null
    group by conversion_type

),

shares as (

    select
        weights.*,
        totals.conversion_count,
        totals.value,
        coalesce(
            weights.weight / nullif(sum(weights.weight) over (partition by weights.conversion_type, weights.model), 0),
            0
        ) as share

    from weights
    inner join totals
        on weights.conversion_type = totals.conversion_type

),

-- largest remainder: the units left over go to the largest rests
whole_units as (

    select
        *,
        floor(share * conversion_count * {{ credit_units }}) as credit_floor,
        floor(share * value * 100) as amount_floor

    from shares

),

leftovers as (

    select
        *,
        conversion_count * {{ credit_units }} - sum(credit_floor) over (
            partition by conversion_type, model
        ) as credit_left,
        value * 100 - sum(amount_floor) over (
            partition by conversion_type, model
        ) as amount_left,
        row_number() over (
            partition by conversion_type, model
            order by share * conversion_count * {{ credit_units }} - credit_floor desc, unit
        ) as credit_place,
        row_number() over (
            partition by conversion_type, model
            order by share * value * 100 - amount_floor desc, unit
        ) as amount_place

    from whole_units

),

touched_credits as (

    select
        conversion_type,
        model,
        unit,
        (credit_floor + case when credit_place <= credit_left then 1 else 0 end) / {{ credit_units }} as credit,
        (amount_floor + case when amount_place <= amount_left then 1 else 0 end) / 100 as amount,
        removal_effect,
        shapley_value,
        sampling_error

    from leftovers

),

untouched_credits as (

    {% for model in data_driven_models() -%}
    select
        conversion_type,
        '{{ model }}' as model,
        cast(null as {{ dbt.type_string() }}) as unit,
        cast(conversion_count as numeric) as credit,
        value as amount,
        cast(null as numeric) as removal_effect,
        cast(null as numeric) as shapley_value,
        cast(null as numeric) as sampling_error
    from path_sequences
    where sequence_number is null
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

credits as (

    select * from touched_credits
    union all
    select * from untouched_credits

),

final as (

    select
        conversion_type,
        model,
        unit,
        cast(credit as numeric(28, 10)) as credit,
        cast(amount as numeric(18, 2)) as amount,
        cast(removal_effect as numeric(13, 12)) as removal_effect,
        cast(shapley_value as numeric(28, 12)) as shapley_value,
        cast(sampling_error as numeric(28, 12)) as sampling_error,
        {{ run_at() }} as as_of

    from credits

)

select * from final
