{#- A property is the buyer's e-mail when the shop says so; its code is free text. -#}
with source as (

    select * from {{ source('bitrix', 'b_sale_order_props_value') }}

),

properties as (

    select * from {{ source('bitrix', 'b_sale_order_props') }}

),

renamed as (

    select
        -- ids
        source.id as order_property_value_id,
        source.order_id,

        -- text
        {{ normalize_email('source.value') }} as email

    from source
    inner join properties
        on source.order_props_id = properties.id
    where source._deleted_at is null
        and properties._deleted_at is null
        and properties.is_email = 'Y'

)

select * from renamed
