with source as (

    select * from {{ source('bitrix', 'b_conv_context_attribute') }}

),

renamed as (

    select
        -- ids
        context_id,

        -- text
        name as attribute_name,
        nullif(value, '') as attribute_value

    from source
    where _deleted_at is null

)

select * from renamed
