with multi_fields as (

    select * from {{ ref('stg_bitrix__multi_fields') }}
    where identifier_type = 'phone'
        and not is_deleted

),

renamed as (

    select
        -- ids
        multi_field_id,
        entity_id,

        -- text
        case when entity_type like 'recycled%' then 'recycled' else entity_type end as entity_type,
        value_type,
        identifier as phone

    from multi_fields

)

select * from renamed
