with source as (

    select * from {{ source('bitrix', 'b_crm_order_contact_company') }}

),

renamed as (

    select
        -- ids
        id as order_card_id,
        order_id,
        {{ crm_entity_type('entity_type_id') }} as card_type,
        entity_id as card_id,

        -- numerics
        sort as sort_order,

        -- booleans
        is_primary = 'Y' as is_primary

    from source
    where _deleted_at is null

)

select * from renamed
