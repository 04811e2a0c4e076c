with source as (

    select * from {{ source('bitrix', 'b_crm_act_bind') }}

),

renamed as (

    select
        -- ids
        id as activity_card_id,
        activity_id,
        {{ crm_entity_type('owner_type_id') }} as card_type,
        owner_id as card_id

    from source
    where _deleted_at is null

)

select * from renamed
