with source as (

    select * from {{ source('bitrix', 'b_crm_tracking_trace') }}

),

renamed as (

    select
        -- ids
        id as trace_id,
        nullif(source_id, 0) as tracking_source_id,
        nullif(guest_id, 0) as guest_id,
        _load_id,

        -- json
        tags_raw__json as tags,
        pages_raw__json as pages,

        -- booleans
        is_mobile = 'Y' as is_mobile,
        _deleted_at is not null as is_deleted,

        -- timestamps
        {{ source_time_to_utc('date_create') }} as created_at

    from source

)

select * from renamed
