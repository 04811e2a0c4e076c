with source as (

    select * from {{ source('bitrix', 'b_crm_deal_stage_history') }}

),

renamed as (

    select
        -- ids
        id as stage_change_id,
        owner_id as deal_id,

        -- text
        stage_id as stage_code,
        case type_id
            when 1 then 'created'
            when 2 then 'moved'
            when 3 then 'won'
            when 4 then 'lost'
            when 5 then 'funnel_changed'
            else 'unknown'
        end as change_type,

        -- timestamps
        {{ source_time_to_utc('created_time') }} as changed_at

    from source
    where _deleted_at is null

)

select * from renamed
