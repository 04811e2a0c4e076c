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
        case entity_type_id
            when 1 then 'lead'
            when 2 then 'deal'
            when 3 then 'contact'
            when 4 then 'company'
            when 14 then 'order'
            else 'other'
        end as card_type

    from source
    where _deleted_at is null

)

select * from renamed
