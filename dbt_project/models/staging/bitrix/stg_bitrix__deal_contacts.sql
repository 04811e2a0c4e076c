with source as (

    select * from {{ source('bitrix', 'b_crm_deal_contact') }}

),

renamed as (

    select
        -- ids
        deal_id,
        contact_id,

        -- numerics
        sort as sort_order,

        -- booleans
        is_primary = 'Y' as is_primary

    from source
    where _deleted_at is null

)

select * from renamed
