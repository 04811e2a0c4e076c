with source as (

    select * from {{ source('bitrix', 'b_crm_tracking_trace_entity') }}

),

renamed as (

    select
        -- ids
        id as trace_card_id,
        trace_id,
        entity_id as card_id,
        _load_id,

        -- text
        {{ crm_entity_type('entity_type_id') }} as card_type

    from source
    where _deleted_at is null

)

select * from renamed
