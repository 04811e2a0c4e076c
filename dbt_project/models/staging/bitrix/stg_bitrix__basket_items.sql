with source as (

    select * from {{ source('bitrix', 'b_sale_basket') }}

),

renamed as (

    select
        -- ids
        id as basket_item_id,
        nullif(order_id, 0) as order_id,
        fuser_id,
        product_id,
        set_parent_id,

        -- text
        name as product_name,
        trim(currency) as currency,

        -- numerics
        quantity,
        price,

        -- booleans
        delay = 'Y' as is_delayed,
        can_buy = 'Y' as is_available,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at,
        {{ source_time_to_utc('date_update') }} as updated_at

    from source
    where _deleted_at is null

)

select * from renamed
