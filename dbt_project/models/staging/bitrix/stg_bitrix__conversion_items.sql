with source as (

    select * from {{ source('bitrix', 'b_conv_context_entity_item') }}

),

renamed as (

    select
        -- ids
        context_id,
        {{ text_to_integer('item') }} as item_id,

        -- text
        entity as item_type

    from source
    where _deleted_at is null

)

select * from renamed
