with source as (

    select * from {{ source('bitrix', 'b_sender_group') }}

),

renamed as (

    select
        -- ids
        id as segment_id,

        -- text
        nullif(code, '') as segment_code,
        nullif({{ decode_emoji('name') }}, '') as segment_name,

        -- booleans
        hidden = 'Y' as is_made_for_one_letter

    from source
    where _deleted_at is null

)

select * from renamed
