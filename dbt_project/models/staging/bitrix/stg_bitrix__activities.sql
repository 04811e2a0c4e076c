with source as (

    select * from {{ source('bitrix', 'b_crm_act') }}

),

renamed as (

    select
        -- ids
        id as activity_id,
        {{ crm_entity_type('owner_type_id') }} as card_type,
        owner_id as card_id,

        -- text
        case type_id
            when 1 then 'meeting'
            when 2 then 'call'
            when 3 then 'task'
            when 4 then 'email'
            when 5 then 'list'
            when 6 then 'by_provider'
            else 'unknown'
        end as activity_type,
        case direction
            when 1 then 'incoming'
            when 2 then 'outgoing'
            else 'undefined'
        end as direction,
        provider_id as provider,

        -- timestamps
        {{ source_time_to_utc('created') }} as created_at

    from source
    where _deleted_at is null

)

select * from renamed
