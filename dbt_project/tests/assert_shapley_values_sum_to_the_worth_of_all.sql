-- Efficiency: the Shapley values of a conversion type's units, sampled ones too, sum to what all units together are worth.
with worths as (

    select
        conversion_type,
        {{ shapley_worth('sum(conversion_count)', 'sum(conversion_count + non_conversion_count)') }} as worth

    from {{ ref('int_path_sequences') }}
    where sequence_key is not null
    group by conversion_type

),

shapley_values as (

    select
        conversion_type,
        sum(shapley_value) as worth

    from {{ ref('fct_attribution_data_driven') }}
    where model = 'shapley'
        and unit is not null
    group by conversion_type

)

select
    worths.*,
    shapley_values.worth as found_worth

from worths
left join shapley_values
    on worths.conversion_type = shapley_values.conversion_type
where abs(worths.worth - coalesce(shapley_values.worth, 0)) > 0.00000001
