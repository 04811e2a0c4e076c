with source as (

    select * from {{ source('bitrix', 'b_sender_mailing') }}

),

renamed as (

    select
        -- ids
        id as campaign_id,

        -- text
        nullif({{ decode_emoji('name') }}, '') as campaign_name,

        -- timestamps
        {{ source_time_to_utc('date_insert') }} as created_at

    from source
    where _deleted_at is null

)

select * from renamed
