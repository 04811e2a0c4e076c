with conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone

),

final as (

    select
        conversion_id,
        conversion_type,
        person_id,
        converted_at,
        amount

    from conversions
    where {{ is_data_driven('conversion_type') }}

)

select * from final
