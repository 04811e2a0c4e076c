with source as (

    select * from {{ source('bitrix', 'b_crm_webform_result_entity') }}

),

renamed as (

    select
        -- ids
        result_id as form_result_id,
        lower(entity_name) as card_type,
        item_id as card_id

    from source
    where _deleted_at is null

)

select * from renamed
