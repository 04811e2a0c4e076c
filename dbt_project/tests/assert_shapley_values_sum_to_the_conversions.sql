-- Efficiency: the Shapley values of a conversion type's units, sampled ones too, sum to the conversions with touches.
with converted as (

    select
        conversion_type,
        sum(conversion_count) as conversion_count

    from {{ ref('int_path_sequences') }}
    where sequence_number is not null
        and conversion_count + non_conversion_count > 0
    group by conversion_type

),

shapley_values as (

    select
        conversion_type,
        sum(shapley_value) as shapley_value

    from {{ ref('fct_attribution_data_driven') }}
    where model = 'shapley'
        and unit is not null
    group by conversion_type

)

select
    converted.*,
    shapley_values.shapley_value

from converted
left join shapley_values
    on converted.conversion_type = shapley_values.conversion_type
where abs(converted.conversion_count - coalesce(shapley_values.shapley_value, 0)) > 0.00000001
