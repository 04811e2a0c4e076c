with source as (

    select * from {{ source('bitrix', 'b_sale_order_change') }}

),

renamed as (

    select
        -- ids
        id as order_change_id,
        order_id,
        case when entity = 'PAYMENT' then entity_id end as payment_id,

        -- text
        type as change_type,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as changed_at

    from source
    where _deleted_at is null

)

select * from renamed
