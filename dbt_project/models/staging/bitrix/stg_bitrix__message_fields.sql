with source as (

    select * from {{ source('bitrix', 'b_sender_message_field') }}

),

renamed as (

    select
        -- ids
        message_id as message_content_id,
        code as field_code,

        -- text
        nullif({{ decode_emoji('value') }}, '') as field_value

    from source
    where _deleted_at is null

)

select * from renamed
