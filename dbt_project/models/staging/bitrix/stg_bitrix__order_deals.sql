with source as (

    select * from {{ source('bitrix', 'b_crm_order_entity') }}

),

renamed as (

    select
        -- ids
        order_id,
        owner_id as deal_id

    from source
    where _deleted_at is null
        and {{ crm_entity_type('owner_type_id') }} = 'deal'

)

select * from renamed
