with source as (

    select * from {{ source('bitrix', 'b_sender_message_utm') }}

),

renamed as (

    select
        -- ids
        message_id as message_content_id,
        lower(code) as tag,

        -- text
        nullif(value, '') as tag_value

    from source
    where _deleted_at is null

)

select * from renamed
